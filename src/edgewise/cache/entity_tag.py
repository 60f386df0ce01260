"""Entity tags for answers whose servers sent none: made of the content alone, so equal in every worker and after a
restart (RFC 9110 section 8.8.3)."""

from __future__ import annotations

from hashlib import blake2b


class ContentTag:
    """Becomes a tag while content comes."""

    __slots__ = ("_hash", "_weak")

    def __init__(self, *, weak: bool) -> None:
        self._hash = blake2b(digest_size=16)
        self._weak = weak

    def update(self, data: bytes) -> None:
        """Take the next part of the content."""
        self._hash.update(data)

    def value(self) -> bytes:
        """Return the tag of the content so far."""
        return b'%b"%b"' % (b"W/" if self._weak else b"", self._hash.hexdigest().encode())
