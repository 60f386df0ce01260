"""What Cache-Control says, or a field targeted at this cache in its place (RFC 9111 section 5.2, RFC 9213)."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from edgewise.http.head import Field
from edgewise.http.structured import parse_dictionary
from edgewise.protocols.memo import Memo

MOST_SECONDS = 2**31
"""What larger delta-seconds are taken for (RFC 9111 section 1.2.2)."""
_MOST_DIGITS = 18
_LONGEST_KEPT = 256

# A member ends at a comma outside of a quoted string. No two branches can begin with the same byte.
_MEMBER = re.compile(rb'(?:[^",]|"(?:[^"\\]|\\.)*")+', re.DOTALL)
_WHOLE = re.compile(rb'(?:[^"]|"(?:[^"\\]|\\.)*")*', re.DOTALL)
_TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]++")
_DELTA = re.compile(rb"[0-9]++")
_ESCAPED = re.compile(rb"\\(.)", re.DOTALL)

_SECONDS = {
    b"max-age": "max_age",
    b"s-maxage": "s_maxage",
    b"min-fresh": "min_fresh",
    b"max-stale": "max_stale",
    b"stale-while-revalidate": "stale_while_revalidate",
    b"stale-if-error": "stale_if_error",
}
_RESTRICTING = {
    b"no-store": "no_store",
    b"must-revalidate": "must_revalidate",
    b"proxy-revalidate": "proxy_revalidate",
    b"must-understand": "must_understand",
    b"only-if-cached": "only_if_cached",
}
"""Holds whatever argument it was given: what forbids something is not undone by a mistake beside it."""
_ALLOWING = {b"public": "public", b"immutable": "immutable"}
"""Holds without an argument only."""
_QUALIFIED = {b"no-cache": ("no_cache", "no_cache_fields"), b"private": ("private", "private_fields")}


@dataclass(frozen=True, slots=True)
class Directives:
    """Directives of a request or a response; seconds are None where the directive is not there.

    Seconds that are no number are 0, so that a response is stale rather than fresh (RFC 9111 section 4.2.1).
    """

    no_store: bool = False
    no_cache: bool = False
    """Without field names: the whole response."""
    no_cache_fields: frozenset[bytes] = frozenset()
    """Lower-case names of the fields not to reuse without validation."""
    private: bool = False
    private_fields: frozenset[bytes] = frozenset()
    public: bool = False
    must_revalidate: bool = False
    proxy_revalidate: bool = False
    must_understand: bool = False
    immutable: bool = False
    """RFC 8246."""
    only_if_cached: bool = False
    max_age: int | None = None
    s_maxage: int | None = None
    min_fresh: int | None = None
    max_stale: int | None = None
    """MOST_SECONDS where any staleness will do."""
    stale_while_revalidate: int | None = None
    """RFC 5861 section 3."""
    stale_if_error: int | None = None
    """RFC 5861 section 4."""
    targeted: bool = False
    """From a targeted field: neither Cache-Control nor Expires counts."""

    @property
    def forbids_stale(self) -> bool:
        """Is a shared cache told never to use the response stale, except where the response itself allows it?

        `s-maxage` means `proxy-revalidate` too (RFC 9111 section 5.2.2.10).
        """
        return self.must_revalidate or self.proxy_revalidate or self.no_cache or self.s_maxage is not None


NOTHING = Directives()
"""What a message without directives says."""


def of_request(lines: Iterable[Field]) -> Directives:
    """Return what Cache-Control of a request says; Pragma is ignored (RFC 9111 section 5.4)."""
    value = joined(lines, b"cache-control")
    return NOTHING if value is None else PARSED[value]


def of_response(lines: tuple[Field, ...], targets: tuple[bytes, ...] = ()) -> Directives:
    """Return what the first valid of the fields `targets` (lower-case names) says, else Cache-Control.

    A targeted field that is empty, malformed or has a value of the wrong type counts as absent (RFC 9213 section 2.1).
    """
    for name in targets:
        value = joined(lines, name)
        if value is not None and (directives := parse_targeted(value)) is not None:
            return directives
    return of_request(lines)


def joined(lines: Iterable[Field], name: bytes) -> bytes | None:
    """Return the values of a list-based field in one, None where there is none (RFC 9110 section 5.3)."""
    values = [value for found, value, _ in lines if found == name]
    if not values:
        return None
    return values[0] if len(values) == 1 else b", ".join(values)


def parse_seconds(text: bytes) -> int | None:
    """Return delta-seconds, at most MOST_SECONDS; None where `text` is none (RFC 9111 section 1.2.2)."""
    if not _DELTA.fullmatch(text):
        return None
    return MOST_SECONDS if len(text) > _MOST_DIGITS else min(int(text), MOST_SECONDS)


# ---- Cache-Control ---------------------------------------------------------------------------------------------------


def parse(value: bytes) -> Directives:
    """Parse the value of Cache-Control. Never fails: what is not understood has no say, or forbids what it seems to.

    Of a directive that comes twice the more restrictive holds (RFC 9111 section 4.2.1). A quoted string that does not
    end hides no directive behind it.
    """
    found = _Found()
    members = _MEMBER.findall(value) if _WHOLE.fullmatch(value) else value.split(b",")
    for member in members:
        name, equals, argument = member.strip(b" \t").partition(b"=")
        found.add(name.rstrip(b" \t").lower(), _argument(argument) if equals else None)
    return found.directives()


PARSED: Memo[Directives] = Memo(parse, entries=512, longest=_LONGEST_KEPT)
"""Value of Cache-Control -> its directives."""


def _argument(text: bytes) -> bytes:
    """Return an argument without the quotes it may have; recipients accept both forms (RFC 9111 section 5.2)."""
    if len(text) >= 2 and text[:1] == b'"' == text[-1:]:
        return _ESCAPED.sub(rb"\1", text[1:-1])
    return text


class _Found:
    """Directives while they are read."""

    __slots__ = ("_values",)

    def __init__(self) -> None:
        self._values: dict[str, Any] = {}

    def add(self, name: bytes, argument: bytes | None) -> None:
        """Take a directive: lower-case name, argument without quotes, None where it has none."""
        if name in _SECONDS:
            self._add_seconds(_SECONDS[name], argument)
        elif name in _QUALIFIED:
            self._add_qualified(*_QUALIFIED[name], argument)
        elif name in _RESTRICTING:
            self._values[_RESTRICTING[name]] = True
        elif name in _ALLOWING and argument is None:
            self._values[_ALLOWING[name]] = True

    def _add_seconds(self, name: str, argument: bytes | None) -> None:
        missing = MOST_SECONDS if name == "max_stale" else 0
        seconds = missing if argument is None else parse_seconds(argument) or 0
        before = self._values.get(name)
        stricter: Callable[[int, int], int] = max if name == "min_fresh" else min
        self._values[name] = seconds if before is None else stricter(before, seconds)

    def _add_qualified(self, name: str, listed: str, argument: bytes | None) -> None:
        names = [item.strip(b" \t").lower() for item in (argument or b"").split(b",")]
        names = [item for item in names if item]
        if names and all(map(_TOKEN.fullmatch, names)):
            self._values[listed] = self._values.get(listed, frozenset()) | frozenset(names)
        else:
            self._values[name] = True

    def directives(self, *, targeted: bool = False) -> Directives:
        return Directives(**self._values, targeted=targeted)


# ---- targeted fields -------------------------------------------------------------------------------------------------


def parse_targeted(value: bytes) -> Directives | None:
    """Parse a targeted field, a dictionary of the directives of Cache-Control; None where it is to be ignored."""
    try:
        members = parse_dictionary(value)
    except ValueError:
        return None
    found = _Found()
    for key, (argument, _) in members.items():
        name = key.encode("ascii")
        if argument is True:
            if name in _SECONDS:
                return None
            found.add(name, None)
        elif isinstance(argument, str) and name in _QUALIFIED:
            found.add(name, argument.encode("ascii", "replace"))
        elif type(argument) is int and argument >= 0 and name in _SECONDS:
            found.add(name, b"%d" % argument)
        elif name in _SECONDS or name in _QUALIFIED:
            if argument is not False:
                return None
        elif name in _RESTRICTING and argument is not False:
            found.add(name, None)
    return found.directives(targeted=True) if members else None
