"""WebSocket frames (RFC 6455 section 5), as little as the benchmark's own clients and origin need."""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Iterator

GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10


def accept_key(key: str) -> str:
    """The Sec-WebSocket-Accept of a Sec-WebSocket-Key (section 4.2.2)."""
    return base64.b64encode(hashlib.sha1((key + GUID).encode()).digest()).decode()


def handshake(host: str, path: str) -> bytes:
    """A client's opening request."""
    key = base64.b64encode(os.urandom(16)).decode()
    return (
        f"GET {path} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n"
    ).encode()


def frame(payload: bytes, opcode: int = TEXT, mask: bytes = b"") -> bytes:
    """One final frame; masked when a 4-byte mask is given, as a client must."""
    size, bit = len(payload), 0x80 if mask else 0
    if size < 126:
        head = bytes((0x80 | opcode, bit | size))
    elif size < 65536:
        head = bytes((0x80 | opcode, bit | 126)) + size.to_bytes(2, "big")
    else:
        head = bytes((0x80 | opcode, bit | 127)) + size.to_bytes(8, "big")
    return head + mask + (apply_mask(payload, mask) if mask else payload)


def apply_mask(payload: bytes, mask: bytes) -> bytes:
    """Masks or unmasks (section 5.3)."""
    size = len(payload)
    key = (mask * (size // 4 + 1))[:size]
    return (int.from_bytes(payload, "big") ^ int.from_bytes(key, "big")).to_bytes(size, "big")


class FrameReader:
    """Bytes in, (opcode, payload) out; continuation frames come out one by one under opcode 0."""

    def __init__(self) -> None:
        self.buffer = b""

    def feed(self, data: bytes) -> Iterator[tuple[int, bytes]]:
        """The frames that are complete once `data` is added."""
        self.buffer += data
        while (parsed := self._next()) is not None:
            opcode, payload, self.buffer = parsed
            yield opcode, payload

    def _next(self) -> tuple[int, bytes, bytes] | None:
        buffer = self.buffer
        if len(buffer) < 2:
            return None
        size, at = buffer[1] & 0x7F, 2
        if size >= 126:
            width = 2 if size == 126 else 8
            size, at = int.from_bytes(buffer[2 : 2 + width], "big"), 2 + width
        mask = buffer[at : at + 4] if buffer[1] & 0x80 else b""
        at += len(mask) if not buffer[1] & 0x80 else 4
        if len(buffer) < at + size:
            return None
        payload = buffer[at : at + size]
        return buffer[0] & 0x0F, apply_mask(payload, mask) if mask else payload, buffer[at + size :]
