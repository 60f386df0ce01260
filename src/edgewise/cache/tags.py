"""Tags of a response, by which it can be purged: Surrogate-Key, Cache-Tag, Cache-Groups (RFC 9875)."""

from __future__ import annotations

import re
from hashlib import blake2b
from struct import Struct

from edgewise.cache.directives import joined
from edgewise.http.head import Field
from edgewise.http.structured import DisplayString, Token, parse_list

MOST_TAGS = 256
"""Of one response; with more it is not stored, since a purge could pass it by."""
LONGEST_TAG = 256
"""Bytes of one tag."""
MOST_BYTES = 32_768
"""Of the fields that carry tags."""
ID_BYTES = 8
"""What a tag costs an object, however long its name."""

_IDS = Struct(f"{ID_BYTES}s")
_SPACES = re.compile(rb"[ \t]+")
_BETWEEN = re.compile(rb"[ \t,]+")
_COMMAS = re.compile(rb"[ \t]*,[ \t]*")


def tags_of(lines: tuple[Field, ...]) -> tuple[bytes, ...]:
    """Return the tags that Surrogate-Key (by spaces) and Cache-Tag (by commas) name.

    Raises ValueError where there are more, or longer ones, than are kept.
    """
    keys = joined(lines, b"surrogate-key")
    listed = joined(lines, b"cache-tag")
    if keys is None and listed is None:
        return ()
    if len(keys or b"") + len(listed or b"") > MOST_BYTES:
        raise ValueError("tags too long")
    # Lines of Surrogate-Key were joined by commas, which stand at the end of a tag then.
    found = [tag.rstrip(b",") for tag in _SPACES.split(keys or b"")] + _COMMAS.split((listed or b"").strip(b" \t"))
    return _bounded(found)


def named_tags(lines: tuple[Field, ...]) -> tuple[bytes, ...]:
    """Return the tags that a PURGE request names, in Surrogate-Key or xkey. Raises ValueError as `tags_of`."""
    named = [joined(lines, name) or b"" for name in (b"surrogate-key", b"xkey")]
    return _bounded([tag for value in named for tag in _BETWEEN.split(value)])


def groups_of(lines: tuple[Field, ...], name: bytes = b"cache-groups") -> tuple[bytes, ...]:
    """Return what a list of strings names: Cache-Groups, or Cache-Group-Invalidation (RFC 9875 sections 2 and 3).

    A field that is malformed or holds anything but strings is ignored. Raises ValueError as `tags_of`.
    """
    value = joined(lines, name)
    if value is None:
        return ()
    if len(value) > MOST_BYTES:
        raise ValueError("cache groups too long")
    try:
        members = [member for member, _ in parse_list(value)]
    except ValueError:
        return ()
    strings = [member for member in members if isinstance(member, str)]
    if len(strings) < len(members) or any(isinstance(member, Token | DisplayString) for member in strings):
        return ()
    return _bounded([member.encode("ascii") for member in strings])


def _bounded(found: list[bytes]) -> tuple[bytes, ...]:
    tags = tuple(dict.fromkeys(filter(None, found)))
    if len(tags) > MOST_TAGS or any(len(tag) > LONGEST_TAG for tag in tags):
        raise ValueError("too many tags, or one too long")
    return tags


def group_tag(origin: bytes, group: bytes) -> bytes:
    """Return the tag of a cache group, which spans one origin only (RFC 9875 section 2.1)."""
    return b"%b\n%b" % (origin, group)  # no tag of a field has a line end in it


def tag_id(tag: bytes) -> bytes:
    """Return what stands for a tag in memory. Two tags with one id are purged together, one in 2**64 pairs."""
    return blake2b(tag, digest_size=ID_BYTES).digest()


def tag_ids(tags: tuple[bytes, ...]) -> bytes:
    """Return the ids of tags, one after the other."""
    return b"".join(map(tag_id, tags))


def split_ids(ids: bytes) -> list[bytes]:
    """Return ids that `tag_ids` put together."""
    return [found for (found,) in _IDS.iter_unpack(ids)]
