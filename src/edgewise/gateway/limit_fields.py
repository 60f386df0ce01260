"""The fields RateLimit and RateLimit-Policy (draft-ietf-httpapi-ratelimit-headers-10), rendered once a value."""

from __future__ import annotations

_STEPS = 64
"""A quota above this is told in so many steps, rounded down: fewer different lines, which HTTP/2 compresses better."""
_MOST_LINES = 4096


class LimitFields:
    """Field lines of one limit at one rate."""

    __slots__ = ("_lines", "_name", "_policy", "_step")

    def __init__(self, name: str, limit: int, window: int) -> None:
        self._name = b'"' + name.replace("\\", "\\\\").replace('"', '\\"').encode("ascii", "replace") + b'"'
        self._policy = b"RateLimit-Policy: %b;q=%d;w=%d\r\n" % (self._name, limit, window)
        self._step = max(1, limit // _STEPS)
        self._lines: dict[int, bytes] = {}

    def lines(self, left: int, reset: int) -> bytes:
        """Return both lines: `left` requests may come now, all of the quota in `reset` seconds."""
        step = self._step
        if left >= step:
            left -= left % step
        known = left << 24 | reset & 0xFFFFFF
        lines = self._lines.get(known)
        if lines is None:
            lines = self._policy + b"RateLimit: %b;r=%d;t=%d\r\n" % (self._name, left, reset)
            if len(self._lines) >= _MOST_LINES:
                self._lines.clear()
            self._lines[known] = lines
        return lines
