"""How the files below one root are served."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import translate

SUFFIXES = {b"br": b".br", b"zstd": b".zst", b"gzip": b".gz"}
"""Content coding -> end of the names of files that hold it, beside the file they are made of."""
FOREVER = b"public, max-age=31536000, immutable"
"""Cache-Control of what never changes (RFC 8246)."""
_FINGERPRINT = re.compile(rb"[.-](?=[0-9a-f]{0,63}[0-9])(?=[0-9a-f]{0,63}[a-f])[0-9a-f]{8,64}[.-]")


@dataclass(frozen=True)
class StaticSettings:
    """The configuration of one route's files."""

    root: str
    index: tuple[bytes, ...] = (b"index.html",)
    """Names that answer for their directory, the first there is."""
    listing: bool = False
    """List directories that have no index."""
    fallback: bytes = b""
    """Name below the root that answers where there is no file (an app of one page); b"" for none."""
    not_found: bytes = b""
    """Name below the root of the page that goes with 404; b"" for none."""
    hidden: bool = False
    """Serve names with a leading dot."""
    codings: tuple[bytes, ...] = (b"br", b"zstd", b"gzip")
    """Of files compressed beforehand, the best first where a client has no preference."""
    cache_control: bytes = b"no-cache"
    """Of what may change; b"": none is sent."""
    fingerprints: bool = True
    """Names that hold a fingerprint never change."""
    immutable: tuple[re.Pattern[str], ...] = ()
    """Further names that never change."""
    types: Mapping[bytes, bytes] = field(default_factory=dict)
    """Lower-case ending without dot -> media type, before the table of `http.media_types`."""
    charset: bytes = b"utf-8"
    """Charset of text; b"": none is told."""
    memory: int = 16 << 20
    """Bytes of small files that each worker keeps at most."""

    def caching(self, name: bytes) -> bytes:
        """Return the Cache-Control of a file."""
        if self.fingerprints and has_fingerprint(name):
            return FOREVER
        if self.immutable and any(one.match(name.decode("utf-8", "surrogateescape")) for one in self.immutable):
            return FOREVER
        return self.cache_control


def has_fingerprint(name: bytes) -> bool:
    """Does the last part of a name hold a hash of the content: 8 hexadecimal digits or more, letters and figures?

    Figures alone may be a date, letters alone a word.
    """
    return _FINGERPRINT.search(name, name.rfind(b"/") + 1) is not None


def glob(pattern: str) -> re.Pattern[str]:
    """Return a pattern for names below the root; `*` matches slashes too."""
    return re.compile(translate(pattern.lstrip("/")))
