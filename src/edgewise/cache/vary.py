"""Which variant of a response a request asks for (RFC 9111 section 4.1)."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from hashlib import blake2b

from edgewise.cache.cookies import Counting
from edgewise.cache.device import SAYING, Device
from edgewise.cache.directives import joined
from edgewise.http.head import Field
from edgewise.protocols.memo import Memo

MOST_NAMES = 16
"""Of fields in Vary; a response with more is not stored."""
CODINGS = (b"br", b"gzip", b"zstd")
"""Content codings that tell variants apart."""
_TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]++")
_COMMA = re.compile(rb"[ \t]*,[ \t,]*")
_WEIGHT = re.compile(rb"[ \t]*;[ \t]*[qQ]=(0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?)")


def vary_names(lines: tuple[Field, ...]) -> tuple[bytes, ...] | None:
    """Return the lower-case names in Vary, sorted; None where no request ever matches: `*`, malformed, too many."""
    value = joined(lines, b"vary")
    if value is None:
        return ()
    names = {name for item in value.lower().split(b",") if (name := item.strip(b" \t"))}
    if b"*" in names or len(names) > MOST_NAMES or not all(map(_TOKEN.fullmatch, names)):
        return None
    return tuple(sorted(names))


class Variants:
    """Makes the key of a variant; each field is normalised, so that what means the same shares an object."""

    __slots__ = ("_normal",)

    def __init__(self, counting: Counting, languages: tuple[bytes, ...] = (), device: Device | None = None) -> None:
        """`languages`: those there are, lower-case, the default first; without them Accept-Language is only tidied.

        `device` tells kinds of devices, which is all that fields that speak of them then say.
        """
        language = partial(best_language, languages=languages) if languages else tidy_language
        self._normal: dict[bytes, Callable[[tuple[Field, ...]], bytes | None]] = {
            b"cookie": counting.of,
            b"accept-encoding": partial(_memoised, Memo(codings, entries=256, longest=128), b"accept-encoding"),
            b"accept-language": partial(_memoised, Memo(language, entries=256, longest=128), b"accept-language"),
        }
        if device is not None:
            self._normal.update(dict.fromkeys(SAYING, device))

    def key(self, names: tuple[bytes, ...], lines: tuple[Field, ...]) -> bytes:
        """Return 16 bytes that are the same for requests that the same variant answers.

        A digest: the values may be secrets, and keys outlive requests. A field that is missing matches only one that is
        missing too.
        """
        digest = blake2b(digest_size=16)
        for name in names:
            normal = self._normal.get(name)
            value = _plain(name, lines) if normal is None else normal(lines)
            digest.update(b"%b\n" % name if value is None else b"%b=%b\n" % (name, value))
        return digest.digest()


def _memoised(memo: Memo[bytes], name: bytes, lines: tuple[Field, ...]) -> bytes | None:
    value = joined(lines, name)
    return None if value is None else memo[value]


def _plain(name: bytes, lines: tuple[Field, ...]) -> bytes | None:
    """Combine lines and drop white space around commas, except where strings are quoted."""
    value = joined(lines, name)
    return value if value is None or b'"' in value else _COMMA.sub(b",", value)


# ---- normal forms ----------------------------------------------------------------------------------------------------


def codings(value: bytes) -> bytes:
    """Return which of CODINGS an Accept-Encoding accepts, sorted; weights other than 0 make no difference."""
    weights = dict(_weighted(value.lower()))
    others = weights.get(b"*", 0.0)
    accepted = [coding for coding in CODINGS if weights.get(coding, weights.get(b"x-" + coding, others))]
    if weights.get(b"identity") == 0.0:
        accepted.append(b"identity;q=0")
    return b",".join(accepted)


def tidy_language(value: bytes) -> bytes:
    """Return an Accept-Language in lower case and without white space; order stays, since apps go by it."""
    return _COMMA.sub(b",", re.sub(rb"[ \t]*;[ \t]*", b";", value.lower()))


def best_language(value: bytes, languages: tuple[bytes, ...]) -> bytes:
    """Return which of `languages` an Accept-Language prefers, the first where none fits (RFC 4647 section 3.4)."""
    for tag, weight in sorted(_weighted(value.lower()), key=lambda item: -item[1]):
        if not weight:
            continue
        if tag == b"*":
            return languages[0]
        while tag:
            if tag in languages:
                return tag
            tag = tag.rpartition(b"-")[0]
    return languages[0]


def _weighted(value: bytes) -> list[tuple[bytes, float]]:
    """Return the items of a list with their weights, those with a malformed weight as refused (RFC 9110 12.4.2)."""
    found = []
    for item in value.split(b","):
        name, semicolon, _ = item.strip(b" \t").partition(b";")
        match = _WEIGHT.fullmatch(item.strip(b" \t")[len(name) :]) if semicolon else None
        weight = float(match[1]) if match else 0.0 if semicolon else 1.0
        if name.strip(b" \t"):
            found.append((name.strip(b" \t"), weight))
    return found
