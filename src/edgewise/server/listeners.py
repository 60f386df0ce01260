"""Listening sockets: opened by the supervisor before it forks, one a worker slot."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from edgewise.config import Config

Kind = Literal["plain", "tls", "tcp"]
_BACKLOG = 4096
_UNIX_MODE = 0o660


class Listener(NamedTuple):
    """What is listened on. `address` is as configured and names a `tcp` listener's entry in the configuration."""

    kind: Kind
    address: str


class ListenError(Exception):
    """An address cannot be listened on; the text says which and why."""


@dataclass
class Listening:
    """The open sockets of one listener: one a worker slot, the same one for all where it is a Unix socket."""

    listener: Listener
    sockets: list[socket.socket]
    inode: tuple[int, int] | None = None
    """Device and inode of a Unix socket's file, so that another process's file is never removed."""

    def close(self) -> None:
        """Close every socket and remove the file of a Unix socket."""
        for sock in set(self.sockets):
            sock.close()
        if self.inode is not None:
            path = self.listener.address.removeprefix("unix:")
            with contextlib.suppress(OSError):
                found = os.stat(path)
                if (found.st_dev, found.st_ino) == self.inode:
                    os.unlink(path)


def wanted(config: Config) -> list[Listener]:
    """Return the listeners that a configuration asks for, in its order."""
    found = [Listener("plain", address) for address in config.server.listen]
    found += [Listener("tls", address) for address in config.server.tls_listen]
    found += [Listener("tcp", entry.listen) for entry in config.tcp]
    return found


def open_listener(listener: Listener, slots: int) -> Listening:
    """Open one socket for each of `slots` workers. Raises ListenError."""
    try:
        if listener.address.startswith("unix:"):
            path = listener.address.removeprefix("unix:")
            sock = open_unix(path, _UNIX_MODE)
            found = os.stat(path)
            return Listening(listener, [sock] * slots, (found.st_dev, found.st_ino))
        return Listening(listener, _open_tcp(listener.address, slots))
    except OSError as error:
        raise ListenError(f"cannot listen on {listener.address}: {error.strerror or error}") from error


def split_address(address: str) -> tuple[str, int]:
    """Split "host:port", "[v6]:port" or ":port" (all IPv4 addresses). Raises ListenError."""
    host, colon, port = address.rpartition(":")
    if not colon or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise ListenError(f"cannot listen on {address}: not host:port")
    return host.removeprefix("[").removesuffix("]") or "0.0.0.0", int(port)


def _open_tcp(address: str, slots: int) -> list[socket.socket]:
    host, port = split_address(address)
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    family, _type, _protocol, _name, target = found[0]
    sockets: list[socket.socket] = []
    try:
        _refuse_when_in_use(family, target)
        for _slot in range(slots):
            sock = socket.socket(family, socket.SOCK_STREAM)
            sockets.append(sock)
            if family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            sock.bind(target)
            if port == 0:
                target = (target[0], sock.getsockname()[1], *target[2:])
        for sock in sockets:
            sock.listen(_BACKLOG)
            sock.setblocking(False)
    except OSError:
        for sock in sockets:
            sock.close()
        raise
    return sockets


def _refuse_when_in_use(family: int, target: tuple[object, ...]) -> None:
    """Raise OSError when another process of this user already listens here.

    SO_REUSEPORT alone would quietly share the port with it, and half of the requests would go astray.
    """
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        if family == socket.AF_INET6:
            probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(target)


def open_unix(path: str, mode: int, *, listen: bool = True) -> socket.socket:
    """Bind a Unix socket at `path` with file mode `mode`; a stale one left by a dead process is replaced.

    Raises OSError: EADDRINUSE when a live process listens there, EEXIST when the path is no socket.
    """
    _remove_stale(path)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o777 & ~mode)
    try:
        sock.bind(path)
    except OSError as error:
        sock.close()
        raise OSError(error.errno, f"{path}: {error.strerror or error}") from error
    finally:
        os.umask(before)
    if listen:
        sock.listen(_BACKLOG)
    sock.setblocking(False)
    return sock


def _remove_stale(path: str) -> None:
    try:
        found = os.stat(path)
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(found.st_mode):
        raise OSError(errno.EEXIST, "a file that is not a socket is in the way")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(path)
        except (ConnectionRefusedError, FileNotFoundError):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
            return
        except BlockingIOError:
            pass
    raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))


class ListenerSet:
    """The listeners that are open, by what they are."""

    def __init__(self, slots: int) -> None:
        self.slots = slots
        self.open: dict[Listener, Listening] = {}

    def add(self, listeners: list[Listener]) -> list[Listening]:
        """Open those of `listeners` that are not open yet, all or none. Raises ListenError."""
        added: list[Listening] = []
        try:
            for listener in listeners:
                if listener not in self.open:
                    added.append(open_listener(listener, self.slots))
        except ListenError:
            for listening in added:
                listening.close()
            raise
        self.open.update((listening.listener, listening) for listening in added)
        return added

    def remove(self, listeners: list[Listener]) -> None:
        """Close `listeners` in this process."""
        for listener in listeners:
            self.open.pop(listener).close()

    def not_in(self, listeners: list[Listener]) -> list[Listener]:
        """Return the open listeners that are not in `listeners`."""
        return [listener for listener in self.open if listener not in set(listeners)]

    def of_slot(self, slot: int) -> list[tuple[Listener, socket.socket]]:
        """Return the sockets that worker `slot` accepts on."""
        return [(listening.listener, listening.sockets[slot]) for listening in self.open.values()]

    def keep_only(self, slot: int | None) -> None:
        """In a fork: close every socket that is not worker `slot`'s, so that a port closes when its owners close it."""
        for listening in self.open.values():
            mine = listening.sockets[slot] if slot is not None else None
            for sock in set(listening.sockets):
                if sock is not mine:
                    sock.close()

    def close(self) -> None:
        """Close everything, and remove the files of Unix sockets."""
        self.remove(list(self.open))
