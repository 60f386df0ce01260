"""What the owner of an HTTP/2 connection sees of it: events, limits and the one error."""

from __future__ import annotations

from typing import Any, NamedTuple

Event = tuple[int, int, Any, bool]
"""(kind, stream identifier, value, flag)."""

HEAD, DATA, TRAILERS, RESET, WRITABLE, GOAWAY, SETTLED, PONG = range(1, 9)
"""Kinds of events.

- HEAD: the head in HTTP/1 form through the empty line; flag: END_STREAM.
- DATA: content, to be given back by `consumed`; flag: END_STREAM.
- TRAILERS: field lines, each with its CRLF; flag: True.
- RESET: the error code; flag: did the codec reset the stream, rather than the peer?
- WRITABLE: nothing is kept for the stream any more, so its source may go on.
- GOAWAY: (last stream identifier, error code); streams above it were not processed and get a RESET with REFUSED_STREAM.
- SETTLED: the peer's first SETTINGS came, so `peer_max_streams` is known.
- PONG: our PING came back.
"""


class Http2Limits(NamedTuple):
    """What one connection may take."""

    max_streams: int = 128
    """Streams a client may have open at once."""
    initial_window: int = 262144
    """Bytes of content a stream may bring before the owner has passed them on."""
    connection_window: int = 1 << 20
    """The same for all streams together; at least 65,535, since a window cannot be made smaller."""
    max_frame: int = 16384
    """Bytes of a frame's payload, at least 16,384, taken and, where the peer takes as many, sent."""
    head_bytes: int = 65536
    """Bytes of a head, in its block as well as decoded, where each field counts 32 more (RFC 9113 section 6.5.2)."""
    head_fields: int = 200
    kept_bytes: int = 4 << 20
    """Bytes of content that wait for the peer before its new streams are refused."""
    glitches: int = 256
    """Requests begun in vain, or as much other vain work, before the connection is ended."""
    turn: int = 1 << 30
    """Frames handled by one `receive`, of which heads and content count double; the rest wait for the next."""


class Http2Error(Exception):
    """No stream can be opened: the peer is leaving, has as many as it takes, or the identifiers are used up."""
