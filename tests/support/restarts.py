"""What tests of answers on disk share: an edgewise that is stopped or killed and started anew, and a telling origin."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

from support.edgewise_process import EdgewiseProcess, free_port, wait_until
from support.origin import OriginConnection
from support.raw_http import get

_NUMBERS = re.compile(rb"(/[^ ]*) (\d+) (\d+)\n")


class Site:
    """An edgewise with a directory of its own, on the same ports each time."""

    def __init__(self, toml: str, directory: Path) -> None:
        self._toml = toml
        self._directory = directory
        self._ports = (free_port(), free_port(), free_port())
        self.cache = directory / "cache"
        directory.mkdir()
        self.edgewise = self._started()

    def _started(self) -> EdgewiseProcess:
        edgewise = EdgewiseProcess(self._toml, self._directory, ports=self._ports)
        wait_until(lambda: "listening on" in edgewise.log, "all of its processes serve")
        return edgewise

    def restart(self, *, kill: bool = False) -> None:
        """Stop all of its processes, or kill them where they are, and start anew."""
        if kill and self.edgewise.alive():
            self.kill()
        elif not kill:
            assert self.edgewise.stop() == 0
        self.edgewise = self._started()

    def kill(self) -> None:
        """End all of its processes by SIGKILL."""
        kill_all(self.edgewise)

    def ask(self, path: str) -> bytes:
        """Return the content of an answer, asked for by a connection of its own."""
        with self.edgewise.client() as client:
            body: bytes = client.ask(get(path)).body
        return body

    def files(self) -> int:
        """Return the number of entries, and files of content, on disk."""
        return sum(not name.endswith(".tmp") for name in _names(self.cache / "v1"))

    def bytes(self) -> int:
        """Return what all files of answers take."""
        total = 0
        for directory, _, names in os.walk(self.cache / "v1"):
            for name in names:
                with contextlib.suppress(FileNotFoundError):
                    total += os.stat(os.path.join(directory, name)).st_size
        return total


class Versions:
    """An origin whose answers say which request they are for, and of which version: never two the same."""

    def __init__(self) -> None:
        self.version = 0
        self._lock = threading.Lock()
        self.count = 0
        """Requests so far."""

    def __call__(self, connection: OriginConnection) -> None:
        while True:
            path = connection.read_request().split()[1]
            with self._lock:
                self.count += 1
                body = content(path, self.version, self.count)
            lines = b"Cache-Control: max-age=600\r\nSurrogate-Key: all\r\nContent-Length: %d\r\n" % len(body)
            connection.send(b"HTTP/1.1 200 OK\r\n%b\r\n%b" % (lines, body))


def content(path: bytes, version: int, number: int) -> bytes:
    """Return content that tells what it is, with a digest; of a path that begins with /large 400 kB of it."""
    line = b"%b %d %d\n" % (path, version, number)
    padding = line * (400_000 // len(line) if path.startswith(b"/large") else 20)
    return hashlib.sha256(padding).hexdigest().encode() + padding


def version_of(path: str, body: bytes) -> int:
    """Return the version of which content is; fails where it is not whole, or of something else."""
    digest, padding = body[:64], body[64:]
    assert hashlib.sha256(padding).hexdigest().encode() == digest, f"{path}: {len(body)} bytes that are not whole"
    found = _NUMBERS.match(padding)
    assert found is not None
    assert found[1] == path.encode(), f"{path} got what is of {found[1]!r}"
    return int(found[2])


def kill_all(edgewise: EdgewiseProcess) -> None:
    """End all processes of an edgewise by SIGKILL, and wait until they are gone."""
    pids = edgewise.tree()
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    edgewise.process.wait()
    wait_until(lambda: not any(map(_runs, pids)), "all of its processes are gone")


def _names(directory: Path) -> Iterator[str]:
    for _, _, names in os.walk(directory):
        yield from names


def _runs(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in ("Z", "X")
    return False
