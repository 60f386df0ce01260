"""Templates of rewrites and redirects: text with `{name}` fields, filled so that the result is always a valid target.

A field never reaches beyond its place: a path parameter cannot add a query parameter, leave the path by `..`, or turn
`Location` toward another host.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from edgewise.protocols.errors import ProtocolError

if TYPE_CHECKING:
    from edgewise.http.head import RequestHead

_field = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)\}")
_redirect = re.compile(r"((?:https?|\{scheme\})://)((?:[A-Za-z0-9._:\[\]-]|\{host\})+)((?:[/?#]|\{path\}).*)?")
_outside_path = re.compile(rb"%(?![0-9A-Fa-f]{2})|[^A-Za-z0-9._~!$&'()*+,;=:@/%-]")
_outside_value = re.compile(rb"%(?![0-9A-Fa-f]{2})|[^A-Za-z0-9._~!$'()*,:@/?%-]")
_outside_query = re.compile(rb"%(?![0-9A-Fa-f]{2})|[^A-Za-z0-9._~!$&'()*+,;=:@/?%-]")
_dot_segment = re.compile(rb"/(?:\.|%2[eE]){1,2}(?:/|\Z)").search
_valid_host = re.compile(rb"[a-z0-9_](?:[a-z0-9._-]*[a-z0-9_])?|\[[0-9a-f:.]+\]").fullmatch


class TemplateError(ValueError):
    """A template that could produce an invalid or unsafe target."""


class _Part(NamedTuple):
    """Literal bytes, then a field; the last part of a template has no field."""

    literal: bytes
    name: str


class Template:
    """A compiled template; `render` fills it."""

    __slots__ = ("_authority", "_fragment", "_path", "_query", "_scheme", "text")

    def __init__(self, text: str, scheme: str, authority: str, target: str) -> None:
        self.text = text
        target, _, fragment = target.partition("#")
        path, question_mark, query = target.partition("?")
        if "{query}" in path or "{" in fragment:
            raise TemplateError(f'"{text}": {{query}} belongs after "?", and no field after "#"')
        self._scheme = _parts(scheme)
        self._authority = _parts(authority)
        self._path = _parts(path)
        self._query = _parts(query) if question_mark else None
        self._fragment = _escaped(_outside_query, fragment.encode())

    def render(self, head: RequestHead, parameters: Mapping[str, bytes], scheme: bytes = b"http") -> bytes:
        """Return the target or Location for a request.

        `parameters` are those of the route's path, percent-encoded as matched; one called `path`, `host` or `scheme`
        hides the request's own in path and query. Raises ProtocolError(400) where the result would have dot segments or
        lack a host.
        """
        values: Mapping[str, bytes] = {"path": head.path, "host": head.host, "scheme": scheme, **parameters}
        path = b"/" + _fill(self._path, values, _outside_path).lstrip(b"/")
        if _dot_segment(path):
            raise ProtocolError(400, "the path would have dot segments after the rewrite")
        query = self._filled_query(values, head.query)
        target = path + (b"?" + query if query else b"") + (b"#" + self._fragment if self._fragment else b"")
        return self._origin(head.host, scheme) + target if self._scheme else target

    def _filled_query(self, values: Mapping[str, bytes], query: bytes | None) -> bytes:
        given = _escaped(_outside_query, query or b"")
        if self._query is None:
            return given
        return b"".join(
            part.literal + (given if part.name == "query" else _value(values, part.name, _outside_value))
            for part in self._query
        )

    def _origin(self, host: bytes, scheme: bytes) -> bytes:
        if not _valid_host(host) and any(part.name for part in self._authority):
            raise ProtocolError(400, "a redirect to the request's host needs a valid Host")
        literal = b"".join(part.literal + (scheme if part.name else b"") for part in self._scheme)
        return literal + b"".join(part.literal + (host if part.name else b"") for part in self._authority)


def compile_rewrite(text: str) -> Template:
    """Compile the template of a target to forward, such as `/items/{id}`.

    The request's query is appended unless the template has a `?` of its own. Raises TemplateError.
    """
    if not text.startswith(("/", "{path}")) or "#" in text:
        raise TemplateError(f'"{text}": a rewrite begins with "/" or {{path}} and has no "#"')
    return Template(text, "", "", text)


def compile_redirect(text: str) -> Template:
    """Compile the template of a Location, such as `https://{host}{path}` or `/new/{id}`.

    The request's query is appended unless the template has a `?` of its own. Path parameters cannot be part of the
    host, since a client could then choose where it leads. Raises TemplateError.
    """
    if text.startswith(("/", "{path}")) and not text.startswith("//"):
        return Template(text, "", "", text)
    found = _redirect.fullmatch(text)
    if found is None:
        raise TemplateError(
            f'"{text}": a redirect begins with "/", {{path}}, "https://" or "{{scheme}}://"; '
            "its host is plain text or {host}, followed by a slash or {path}"
        )
    return Template(text, found[1], found[2], found[3] or "")


def early_hints(links: Sequence[str]) -> bytes:
    """Return the head of a 103 with these Link fields (RFC 8297), b"" for none."""
    lines = "".join(f"Link: {link}\r\n" for link in links)
    return f"HTTP/1.1 103 Early Hints\r\n{lines}\r\n".encode("latin-1") if lines else b""


def strip_prefix(path: bytes, prefix: bytes) -> bytes:
    """Return `path` without the leading segments `prefix`; unchanged where it does not begin with them."""
    prefix = prefix.rstrip(b"/")
    if path != prefix and not path.startswith(prefix + b"/"):
        return path
    return b"/" + path[len(prefix) :].lstrip(b"/")


def _parts(text: str) -> tuple[_Part, ...]:
    pieces = _field.split(text)
    if any("{" in literal or "}" in literal for literal in pieces[::2]):
        raise TemplateError(f'"{text}": a brace without a name')
    literals = [_escaped(_outside_query, literal.encode()) for literal in pieces[::2]]
    names = [*pieces[1::2], ""]
    return tuple(_Part(literal, name) for literal, name in zip(literals, names, strict=True) if literal or name)


def _fill(parts: tuple[_Part, ...], values: Mapping[str, bytes], outside: re.Pattern[bytes]) -> bytes:
    return b"".join(part.literal + _value(values, part.name, outside) for part in parts)


def _value(values: Mapping[str, bytes], name: str, outside: re.Pattern[bytes]) -> bytes:
    return _escaped(outside, values.get(name, b"")) if name else b""


def _escaped(outside: re.Pattern[bytes], value: bytes) -> bytes:
    """Percent-encode what `outside` finds; escapes that are there stay (RFC 3986 section 2.4)."""
    return outside.sub(lambda found: b"%%%02X" % found[0][0], value)
