"""WebSocket framing (RFC 6455 section 5), as far as a relay needs it: where frames end, and how to say goodbye."""

from __future__ import annotations

import os

_CLOSE = 8
_HEAD_AT_MOST = 14
"""Bytes of a frame's head: two, eight of extended length, four of the masking key."""


class FrameBoundaries:
    """Follows one direction of a WebSocket from head to head; payload is skipped, never looked at.

    A control frame may stand between any two frames, also within a fragmented message (section 5.4).
    """

    __slots__ = ("_head", "_left", "closed")

    def __init__(self) -> None:
        self._head = b""
        """Beginning of a head that came in pieces."""
        self._left = 0
        """Bytes of the present frame still to come, where its head is complete."""
        self.closed = False
        """A close frame went by: no frame may follow it (section 5.5.1)."""

    def between(self) -> bool:
        """May a frame be put in here?"""
        return not (self._left or self._head or self.closed)

    def feed(self, data: bytes | memoryview) -> None:
        """Follow what passes; nothing of it is kept but a copy of a head that is cut off."""
        size = len(data)
        if self._left >= size:
            self._left -= size
        elif self._left or self._head or size < 2:
            self._walk(self._head + data)
        else:
            second = data[1]
            length = second & 0x7F
            # Most reads are one short frame, which needs no walk.
            if length > 125 or size - length != (6 if second & 0x80 else 2) or data[0] & 0x0F == _CLOSE:
                self._walk(data)

    def _walk(self, data: bytes | memoryview) -> None:
        at, size = self._left, len(data)
        while at + 2 <= size:
            first, length = data[at], data[at + 1]
            start = at + (6 if length & 0x80 else 2)
            length &= 0x7F
            if length > 125:
                width = 2 if length == 126 else 8
                length = int.from_bytes(data[at + 2 : at + 2 + width])
                start += width
            if start > size:
                break
            if first & 0x0F == _CLOSE:
                self.closed = True
            at = start + length
        self._left = max(0, at - size)
        self._head = bytes(data[at : at + _HEAD_AT_MOST])


def close_frame(code: int, *, masked: bool) -> bytes:
    """Return a close frame without a reason; `masked` toward a server, as clients must (sections 5.3, 5.5.1)."""
    payload = code.to_bytes(2)
    if not masked:
        return b"\x88\x02" + payload
    key = os.urandom(4)
    return b"\x88\x82" + key + bytes(byte ^ mask for byte, mask in zip(payload, key, strict=False))
