"""Non-blocking sockets, plain or TLS alike, driven by the loop's readers and writers."""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
from typing import Any, Protocol

WOULD_BLOCK = (BlockingIOError, InterruptedError, ssl.SSLWantReadError, ssl.SSLWantWriteError)
"""What recv and send raise when nothing can be moved now; caught before OSError, their base."""

HEAD_READ = 16384
"""Bytes asked of a socket where a head is due: a larger buffer is mapped and unmapped at each read, which costs more
than all of Python's part of a request."""
REQUEST_READ = 65536
"""Bytes asked of a client's socket while it sends content."""
RESPONSE_READ = 262144
"""Bytes asked of an upstream's socket while it sends content: 8 MiB bodies cost a third less CPU than at 64 KiB."""

FOREVER = float("inf")
"""A deadline that never comes."""

_RESET_ON_CLOSE = struct.pack("ii", 1, 0)

Buffer = bytes | bytearray | memoryview


class Source(Protocol):
    """What fills a client's or an upstream's socket, told when there is room again."""

    def pause(self) -> None:
        """Produce no more for now."""

    def resume(self) -> None:
        """Go on; what was produced before is out."""


def kept(data: Buffer, sent: int) -> memoryview:
    """Return what is left of `data` to send, safe to keep: the engine's read buffer is copied out of."""
    rest = memoryview(data)[sent:]
    return memoryview(bytes(rest)) if isinstance(data, memoryview) else rest


def close_quietly(sock: socket.socket) -> None:
    """Close, telling a TLS peer first; errors do not matter any more."""
    if isinstance(sock, ssl.SSLSocket):
        with contextlib.suppress(OSError, ValueError):
            sock.unwrap()
    sock.close()


def end_writing(sock: socket.socket) -> None:
    """Tell the peer that nothing more comes; what is read from here on (as TLS protects it) can only be dropped.

    Raises OSError where the connection is of no use.
    """
    if isinstance(sock, ssl.SSLSocket):
        with contextlib.suppress(OSError, ValueError):
            sock.unwrap()
    sock.shutdown(socket.SHUT_WR)


def reset(sock: socket.socket) -> None:
    """Close with RST, so that a peer cannot take a cut-off answer for a whole one."""
    with contextlib.suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
    sock.close()


def peer_certificate(sock: Any) -> bytes:
    """Return the certificate (DER) that the other end proved to have in its handshake, b"" for none."""
    return (sock.getpeercert(binary_form=True) or b"") if isinstance(sock, ssl.SSLSocket) else b""


def handshake(sock: Any) -> int:
    """Advance a TLS handshake: 0 done, 1 wants to read, 2 wants to write. Raises OSError when it failed."""
    try:
        sock.do_handshake()
    except ssl.SSLWantReadError:
        return 1
    except ssl.SSLWantWriteError:
        return 2
    return 0
