"""From the path of a request to a name below the root: decoded once, and nothing that could mean another place."""

from __future__ import annotations

import re
from typing import NamedTuple
from urllib.parse import unquote_to_bytes

ROOT = b"."
_PLAIN = re.compile(rb"(?:/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)+/?")
"""Paths with nothing to decode and nothing to mind, as most are."""
_WELL_KNOWN = b".well-known"
"""The one name with a leading dot that is meant to be served (RFC 8615)."""


class Target(NamedTuple):
    """What a path asks for."""

    name: bytes
    """Relative to the root, without dot segments, empty segments or a slash at its ends; ROOT for the root itself."""
    slash: bool
    """The path ends with a slash: only a directory can be meant."""


def target(path: bytes, *, hidden: bool) -> Target | None:
    """Return what a normalised, percent-encoded path asks for; None where no file can have such a name.

    Each segment is decoded by itself, so that an encoded slash makes no segment of its own. With `hidden`, names with a
    leading dot are served.
    """
    if _PLAIN.fullmatch(path):
        return Target(path.strip(b"/"), path[-1:] == b"/")
    if path[:1] != b"/":
        return None
    *segments, last = [unquote_to_bytes(segment) for segment in path[1:].split(b"/")]
    slash = not last
    if not slash:
        segments.append(last)
    for index, segment in enumerate(segments):
        if segment in (b"", b".", b"..") or any(byte in segment for byte in b"/\\\0"):
            return None
        if segment[:1] == b"." and not hidden and (index or segment != _WELL_KNOWN):
            return None
    return Target(b"/".join(segments) or ROOT, slash)
