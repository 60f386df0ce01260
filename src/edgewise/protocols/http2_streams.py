"""What one stream of an HTTP/2 connection is known by (RFC 9113 section 5.1)."""

from __future__ import annotations

# Bits of `Stream.state`; a stream with neither END is open, with both it is closed and no longer held.
SENT_END = 1
RECEIVED_END = 2
SENT_HEAD = 4
RECEIVED_HEAD = 8
"""Of a final response."""
HEAD_REQUEST = 16
"""The response has no content whatever its fields say."""
UNHEARD = 32
"""The owner wants to know no more; the stream lives until its answer is out."""


class Stream:
    """An open or half-closed stream."""

    __slots__ = ("credit", "kept", "left", "state", "unread", "window")

    def __init__(self, window: int, credit: int, left: int, state: int) -> None:
        self.window = window
        """Bytes of content we may send; negative after the peer lowered INITIAL_WINDOW_SIZE."""
        self.credit = credit
        """Bytes of content the peer may send."""
        self.unread = 0
        """Bytes of content received that the owner has not passed on."""
        self.left = left
        """Bytes of content still to come; negative where no content-length tells."""
        self.state = state
        self.kept: Kept | None = None
        """What could not go out yet."""


class Kept:
    """Content that waits for a window or for the socket, and what ends it."""

    __slots__ = ("content", "end", "reset", "trailers")

    def __init__(self) -> None:
        self.content = bytearray()
        self.end = False
        """Does the stream end with it?"""
        self.trailers: bytes | None = None
        """Header block to follow the content."""
        self.reset = False
        """Is RST_STREAM with NO_ERROR to follow the end (section 8.1)?"""
