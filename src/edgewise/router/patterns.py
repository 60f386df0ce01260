"""Host and path patterns, compiled for matching; their order says which of two is more specific.

Syntax is the configuration's (`config.patterns`), which has checked it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from edgewise.config.patterns import REST
from edgewise.http.targets import normalise_path

if TYPE_CHECKING:
    from collections.abc import Mapping

EXACT, PARAMETERS, PREFIX = 0, 1, 2
"""Kinds of path pattern, most specific first."""

_parameter = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)(\*?)\}").fullmatch


class PathPattern:
    """One path pattern: exact `/a`, prefix `/a/*`, or with parameters `/users/{id}`; `{rest*}` only last."""

    __slots__ = ("_match", "_rest", "kind", "lead", "names", "order", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        segments = text.split("/")[1:]
        holes = [_parameter(segment) for segment in segments]
        tail = segments[-1] == "*" or bool(holes[-1] and holes[-1][2])
        names = [hole[1] for hole in holes if hole]
        if segments[-1] == "*":
            names.append(REST)
        self.names = tuple(names)
        """Parameters in order; the "*" of a prefix is called `config.patterns.REST`."""
        self.kind = PREFIX if tail else PARAMETERS if names else EXACT
        plain = next((at for at, hole in enumerate(holes) if hole or segments[at] == "*"), len(segments))
        self.lead = b"".join(map(_literal, segments[:plain]))
        """Literal segments before the first parameter or star, without the slash after them; all of an exact one."""
        body = segments[:-1] if tail else segments
        literal = sum(len(segment) for segment, hole in zip(body, holes, strict=False) if not hole)
        self.order: tuple[int, ...] = (EXACT,)
        """Sorts the more specific of two patterns first, for paths that both match."""
        if self.kind == PARAMETERS:
            self.order = (PARAMETERS, len(names), -literal, -len(self.lead))
        elif self.kind == PREFIX:
            self.order = (PREFIX, -len(self.lead), -len(body), len(names), -literal)
        self._rest = len(self.lead) + 1
        self._match = None if plain == len(body) else re.compile(_expression(body, tail), re.DOTALL).fullmatch

    def match(self, path: bytes) -> dict[str, bytes] | None:
        """Return the parameters, still percent-encoded, of a path that begins with `lead`; None where it is another."""
        if self._match is not None:
            found = self._match(path)
            return None if found is None else dict(zip(self.names, found.groups(b""), strict=True))
        return {self.names[0]: path[self._rest :]} if self.names else {}

    def accepts(self, path: bytes) -> bool:
        """Return whether `path` matches, whatever it begins with."""
        if self.kind == EXACT:
            return path == self.lead
        if self._match is None:
            return not self.lead or path == self.lead or path.startswith(self.lead + b"/")
        return self._match(path) is not None


def _literal(segment: str) -> bytes:
    """Return a segment and the slash before it as they stand in a normalised request path."""
    return normalise_path(b"/" + segment.encode(), allow_encoded_slash=True)


def _expression(body: list[str], tail: bool) -> bytes:
    """Return a regular expression that takes linear time: each hole ends at a slash it cannot contain."""
    parts = [b"/([^/]+)" if _parameter(segment) else re.escape(_literal(segment)) for segment in body]
    return b"".join(parts) + (b"(?:/(.*))?" if tail else b"")


class HostPattern:
    """`shop.example.com`, `*.example.com` (any name below it, at any depth, not itself) or any host at all."""

    __slots__ = ("host", "order", "suffix", "text")

    def __init__(self, text: str | None) -> None:
        self.text = text or "*"
        wildcard = text is not None and text.startswith("*.")
        self.host = text.encode("ascii") if text and not wildcard else None
        """The one host this matches."""
        self.suffix = text[1:].encode("ascii") if text and wildcard else None
        """`.example.com`: how hosts end that this matches."""
        self.order = (2, 0) if text is None else (1, -len(text)) if wildcard else (0, 0)
        """Sorts the more specific of two patterns first, for hosts that both match."""

    def accepts(self, host: bytes) -> bool:
        """Return whether `host` (lower-case, no port) matches."""
        if self.host is not None:
            return host == self.host
        return self.suffix is None or (len(host) > len(self.suffix) and host.endswith(self.suffix))


def longest_suffix(host: bytes, suffixes: Mapping[bytes, object]) -> bytes | None:
    """Return the longest of `suffixes` (each begins with a dot) that `host` ends with after at least one byte."""
    at = host.find(b".", 1)
    while at > 0:
        if host[at:] in suffixes:
            return host[at:]
        at = host.find(b".", at + 1)
    return None
