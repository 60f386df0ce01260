"""What is remembered of keys beside what is stored under them, within bounds."""

from __future__ import annotations

from typing import TypeVar

_T = TypeVar("_T")
_MOST = 8192
"""Keys of which one thing is remembered."""


def remember(known: dict[bytes, _T], key: bytes, value: _T) -> None:
    """Keep what is known of a key, in place of the oldest where there is no room."""
    known.pop(key, None)
    if len(known) >= _MOST:
        del known[next(iter(known))]
    known[key] = value
