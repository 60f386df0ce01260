"""How a route's answers are compressed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Compression:
    """Which answers are compressed, and by what. Immutable."""

    codings: tuple[bytes, ...]
    """Content codings, the best first where a client has no preference."""
    levels: Mapping[bytes, int]
    """Level of each of them."""
    types: tuple[bytes, ...] = ()
    """Media types, lower-case; `text/*` for all of `text/`. Empty: those of `http.media_types` that shrink, but not
    text/event-stream."""
    min_size: int = 1024
    """Bytes of content, where its length is known, from which on it is compressed."""
    anonymous: bool = False
    """Only answers to requests without Cookie and Authorization."""
