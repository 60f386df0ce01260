"""Conditional requests (RFC 9110 section 13) and ranges that depend on a validator (section 13.1.5)."""

from __future__ import annotations

import re
from typing import NamedTuple

from edgewise.http.dates import parse_date
from edgewise.http.head import RequestHead

_TAG = re.compile(rb'(?:W/)?"[\x21\x23-\x7e\x80-\xff]*"')
_NAMES = (b"if-match", b"if-none-match", b"if-modified-since", b"if-unmodified-since", b"range", b"if-range")


class Conditions(NamedTuple):
    """The fields of a request that depend on the state of what it asks for; b"" for those that are not there."""

    if_match: bytes
    if_none_match: bytes
    if_modified_since: bytes
    if_unmodified_since: bytes
    range: bytes
    if_range: bytes


def conditions(head: RequestHead) -> Conditions | None:
    """Return the conditions of a request, None where it has none; lines of one name are one list."""
    found: dict[bytes, bytes] = {}
    for field in head.fields:
        if field.name in _NAMES:
            before = found.get(field.name)
            found[field.name] = field.value if before is None else before + b", " + field.value
    return Conditions(*(found.get(name, b"") for name in _NAMES)) if found else None


def outcome(asked: Conditions, etag: bytes, modified: int) -> int:
    """Return 304 or 412 where a GET or HEAD ends by its conditions, else 0 (RFC 9110 section 13.2.2).

    `etag` is the entity tag of what would be sent, `modified` its last change in seconds since the epoch.
    """
    if asked.if_match:
        if asked.if_match != b"*" and not _listed(asked.if_match, etag, strong=True):
            return 412
    elif asked.if_unmodified_since:
        limit = parse_date(asked.if_unmodified_since)
        if limit is not None and modified > limit:
            return 412
    if asked.if_none_match:
        return 304 if asked.if_none_match == b"*" or _listed(asked.if_none_match, etag, strong=False) else 0
    since = parse_date(asked.if_modified_since) if asked.if_modified_since else None
    return 304 if since is not None and modified <= since else 0


def range_applies(asked: Conditions, etag: bytes, modified: int) -> bool:
    """Is the request's Range to be looked at, as far as If-Range says? What is not exactly the same is sent whole.

    A date counts as a validator only where the entity tag is strong, which says that the last change is long past.
    """
    if not asked.if_range:
        return True
    if etag.startswith(b"W/"):
        return False
    return asked.if_range == etag or parse_date(asked.if_range) == modified


def _listed(value: bytes, etag: bytes, *, strong: bool) -> bool:
    """Is `etag` one of a list of entity tags (RFC 9110 section 8.8.3.2)? False for what is no such list."""
    if strong and etag.startswith(b"W/"):
        return False
    tags = _tags(value)
    return etag in tags if strong else etag.removeprefix(b"W/") in [tag.removeprefix(b"W/") for tag in tags]


def _tags(value: bytes) -> list[bytes]:
    """Return the members of a list of entity tags, [] where it is malformed; a comma may stand within a tag."""
    tags: list[bytes] = []
    at, due = 0, True
    while at < len(value):
        if value[at] in b" \t":
            at += 1
        elif value[at] == 0x2C:
            at, due = at + 1, True
        else:
            match = _TAG.match(value, at)
            if match is None or not due:
                return []
            tags.append(match[0])
            at, due = match.end(), False
    return tags
