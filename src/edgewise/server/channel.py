"""Messages between the supervisor and a child over a socket pair, with file descriptors."""

from __future__ import annotations

import array
import contextlib
import socket
import struct
from collections import deque
from typing import Generic, TypeVar

import msgspec

_LENGTH = struct.Struct("!IB")
_MAX_DESCRIPTORS = 250
"""Linux takes at most 253 descriptors a message (SCM_MAX_FD)."""
_READ = 65536
_CLOEXEC = getattr(socket, "MSG_CMSG_CLOEXEC", 0)
"""Linux: no forked program inherits what arrives."""

Received = TypeVar("Received")


class Channel(Generic[Received]):
    """One end of the pair. Never blocks: what the other side does not take yet is kept until `flush`.

    Each message travels as 4 bytes length, 1 byte number of descriptors, then msgpack. The descriptors ride on the
    first bytes of their message, so they arrive no later than it does.
    """

    def __init__(self, sock: socket.socket, receives: type[Received]) -> None:
        sock.setblocking(False)
        self.sock = sock
        self._decoder = msgspec.msgpack.Decoder(receives)
        self._unsent: deque[tuple[bytes, list[int]]] = deque()
        self._received = bytearray()
        self._descriptors: deque[int] = deque()

    def fileno(self) -> int:
        """Return the descriptor to watch."""
        return self.sock.fileno()

    @property
    def pending(self) -> bool:
        """Is anything waiting to be sent?"""
        return bool(self._unsent)

    def send(self, message: msgspec.Struct, descriptors: list[int] | None = None) -> None:
        """Queue `message` and send what can be sent; duplicates of `descriptors` arrive at the other side.

        The caller keeps its descriptors open until nothing is `pending`. A peer that has gone is not an error here:
        `receive` reports it.
        """
        descriptors = descriptors or []
        if len(descriptors) > _MAX_DESCRIPTORS:
            raise ValueError(f"more than {_MAX_DESCRIPTORS} descriptors in one message")
        body = msgspec.msgpack.encode(message)
        self._unsent.append((_LENGTH.pack(len(body), len(descriptors)) + body, descriptors))
        self.flush()

    def flush(self) -> None:
        """Send as much as the other side takes now."""
        while self._unsent:
            data, descriptors = self._unsent[0]
            try:
                sent = socket.send_fds(self.sock, [data], descriptors) if descriptors else self.sock.send(data)
            except BlockingIOError:
                return
            except OSError:
                self._unsent.clear()
                return
            if sent == len(data):
                self._unsent.popleft()
            else:
                self._unsent[0] = (data[sent:], [])

    def receive(self) -> list[tuple[Received, list[int]]]:
        """Return the whole messages that arrived, each with its descriptors.

        Raises EOFError when the other side is gone and every whole message was returned, and `msgspec.DecodeError` on a
        message that is not one of the expected types.
        """
        while True:
            try:
                space = socket.CMSG_SPACE(_MAX_DESCRIPTORS * array.array("i").itemsize)
                data, ancillary, _flags, _address = self.sock.recvmsg(_READ, space, _CLOEXEC)
            except BlockingIOError:
                break
            except ConnectionResetError:
                raise EOFError from None
            self._take_descriptors(ancillary)
            if not data:
                if self._whole():
                    break
                raise EOFError
            self._received += data
        return self._messages()

    def _take_descriptors(self, ancillary: list[tuple[int, int, bytes]]) -> None:
        for level, kind, payload in ancillary:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                numbers = array.array("i")
                numbers.frombytes(payload[: len(payload) - len(payload) % numbers.itemsize])
                self._descriptors.extend(numbers)

    def _whole(self) -> bool:
        """Is at least one whole message held?"""
        if len(self._received) < _LENGTH.size:
            return False
        length: int = _LENGTH.unpack_from(self._received)[0]
        return len(self._received) >= _LENGTH.size + length

    def _messages(self) -> list[tuple[Received, list[int]]]:
        messages = []
        while self._whole():
            length, count = _LENGTH.unpack_from(self._received)
            end = _LENGTH.size + length
            message = self._decoder.decode(bytes(self._received[_LENGTH.size : end]))
            del self._received[:end]
            messages.append((message, [self._descriptors.popleft() for _ in range(count)]))
        return messages

    def close(self) -> None:
        """Close this end."""
        with contextlib.suppress(OSError):
            self.sock.close()
