"""Where log lines go: a file or standard output, never waited for."""

from __future__ import annotations

import errno
import os
import select
import socket
import stat
from collections.abc import Sequence

_PENDING = 1 << 20
"""Bytes kept at most while the destination takes none."""
_PASSING = frozenset((errno.EAGAIN, errno.EWOULDBLOCK, errno.EINTR, errno.ENOSPC, errno.EDQUOT))
"""Errors after which the same bytes are tried again."""


class LogSink:
    """Appends whole lines to a file ("stdout" for standard output) shared with other processes.

    A file gets one write a batch; a pipe gets pieces of at most PIPE_BUF bytes, which no other writer can tear apart.
    What a slow pipe or a full disk does not take is kept up to 1 MiB, then dropped and counted. Raises OSError only
    where the file cannot be opened.
    """

    __slots__ = ("_atomic", "_fd", "_pending", "_socket", "dropped", "path")

    def __init__(self, path: str) -> None:
        self.path = path
        self.dropped = 0
        """Lines lost."""
        self._pending = b""
        self._use(_open(path))

    def write(self, lines: Sequence[str]) -> None:
        """Write ASCII lines, each with its newline, or keep them for the next time; never raises and never waits."""
        if len(self._pending) >= _PENDING:
            self._drain()
        if len(self._pending) >= _PENDING:
            self.dropped += len(lines)
            return
        self._pending += "".join(lines).encode("ascii", "backslashreplace")
        self._drain()

    def flush(self) -> None:
        """Try again to write what is left."""
        if self._pending:
            self._drain()

    def reopen(self) -> None:
        """Open the path anew, for log rotation; keeps the old file and raises OSError where that fails."""
        fd = _open(self.path)
        self._drain()
        self._close()
        self._use(fd)

    def close(self) -> None:
        """Write what is left where that is possible, count the rest as dropped, and close."""
        self._drain()
        self.dropped += self._pending.count(b"\n")
        self._pending = b""
        self._close()

    def _use(self, fd: int) -> None:
        mode = os.fstat(fd).st_mode
        self._fd = fd
        self._atomic = 0 if stat.S_ISREG(mode) else select.PIPE_BUF
        # Standard output may be a socket (under systemd, for one), which cannot be opened anew.
        self._socket = socket.socket(fileno=fd) if stat.S_ISSOCK(mode) else None

    def _close(self) -> None:
        if self._socket is None:
            os.close(self._fd)
        else:
            self._socket.close()

    def _drain(self) -> None:
        data, at = self._pending, 0
        try:
            while at < len(data):
                end = self._end_of_piece(data, at)
                written = self._write_some(data[at:end])
                at += written
                if at < end:
                    break
        except OSError as error:
            if error.errno not in _PASSING:
                self.dropped += data.count(b"\n", at)
                at = len(data)
        self._pending = data[at:]

    def _write_some(self, piece: bytes) -> int:
        if self._socket is None:
            return os.write(self._fd, piece)
        return self._socket.send(piece, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)

    def _end_of_piece(self, data: bytes, start: int) -> int:
        if not self._atomic or len(data) - start <= self._atomic:
            return len(data)
        limit = start + self._atomic
        return data.rfind(b"\n", start, limit) + 1 or limit


def _open(path: str) -> int:
    flags = os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC | os.O_NONBLOCK
    if path != "stdout":
        return os.open(path, flags | os.O_CREAT, 0o640)
    if stat.S_ISREG(os.fstat(1).st_mode):
        return os.dup(1)  # one file position with what else goes to standard output
    try:
        # A new description of the same pipe, so that non-blocking mode is ours alone.
        return os.open("/dev/stdout", flags)
    except OSError:
        return os.dup(1)
