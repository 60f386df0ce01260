"""The fields RateLimit and RateLimit-Policy (draft-ietf-httpapi-ratelimit-headers-10), rendered once a value."""

from __future__ import annotations

_STEPS = 64
"""A quota above this is told in so many steps, rounded down: fewer different lines, which HTTP/2 compresses better."""
_MOST_LINES = 8192


class LimitFields(dict[int, bytes]):
    """Lines of a limit at one rate, by what they tell: both fields, each with its CRLF."""

    __slots__ = ("_name", "_policy", "step")

    def __init__(self, name: str, limit: int, window: int) -> None:
        super().__init__()
        self._name = b'"' + name.replace("\\", "\\\\").replace('"', '\\"').encode("ascii", "replace") + b'"'
        self._policy = b"RateLimit-Policy: %b;q=%d;w=%d\r\n" % (self._name, limit, window)
        self.step = max(1, limit // _STEPS)
        """What is left is told in multiples of this, rounded down, but for what is less."""

    def add(self, key: int, left: int, reset: int) -> bytes:
        """Return the lines that tell of `left` requests now, and of the whole quota in `reset` seconds."""
        lines = self._policy + b"RateLimit: %b;r=%d;t=%d\r\n" % (self._name, left, reset)
        if len(self) >= _MOST_LINES:
            self.clear()
        self[key] = lines
        return lines
