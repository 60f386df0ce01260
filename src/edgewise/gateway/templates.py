"""Text with fields such as {identity} or {header:X-Tenant}, filled from a request, for one place at a time.

No value reaches beyond its place: in fields it has no control characters, in a path it is one segment (but for what was
the path before), in a query it is one value. A template that lacks a value makes nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote, unquote_to_bytes

from edgewise.gateway.claims import ABSENT, claim
from edgewise.http.queries import parameters

if TYPE_CHECKING:
    from edgewise.contracts.exchange import Exchange
    from edgewise.http.head import RequestHead

_FIELD = re.compile(r"\{([A-Za-z_][A-Za-z0-9_-]*)(?::([^{}]+))?\}")
_CONTROLS = re.compile(rb"[\x00-\x1f\x7f]+")
_OUTSIDE_PATH = re.compile(rb"%(?![0-9A-Fa-f]{2})|[^A-Za-z0-9._~!$&'()*+,;=:@/%-]")
_OUTSIDE_QUERY = re.compile(rb"%(?![0-9A-Fa-f]{2})|[^A-Za-z0-9._~!$&'()*+,;=:@/?%-]")


class TemplateError(ValueError):
    """A template that cannot be filled."""


class Known(NamedTuple):
    """What is known of a request."""

    head: RequestHead
    params: Mapping[str, bytes]
    """Parameters of the route's path, percent-encoded as sent."""
    scheme: bytes
    exchange: Exchange | None
    """None where only what follows from the head may be asked for."""


Ask = Callable[[Known, str], Any]


class _Field(NamedTuple):
    """A field of a template."""

    ask: Ask
    """Returns a value: bytes, text, a number, a list; None for none."""
    argument: str
    encoded: bool = False
    """The value is percent-encoded as it was sent, and whole: slashes stay."""
    of_head: bool = True
    """It follows from the head alone."""


class Template:
    """A compiled template."""

    __slots__ = ("_parts", "of_head", "text", "wants_params")

    def __init__(self, text: str) -> None:
        """Raises TemplateError."""
        self.text = text
        pieces = _FIELD.split(text)
        if any("{" in literal or "}" in literal for literal in pieces[::3]):
            raise TemplateError(f'"{text}": a brace without a name')
        parts: list[bytes | _Field] = []
        for literal, name, argument in zip(pieces[::3], [*pieces[1::3], None], [*pieces[2::3], None], strict=True):
            parts += [literal.encode()] if literal else []
            parts += [_field(name, argument, text)] if name is not None else []
        self._parts = tuple(parts)
        fields = [part for part in parts if isinstance(part, _Field)]
        self.of_head = all(field.of_head for field in fields)
        """Does all of it follow from the head, the path's parameters and the scheme?"""
        self.wants_params = any(field.ask is _parameter for field in fields)

    @property
    def fixed(self) -> bool:
        """Has it no fields?"""
        return not any(isinstance(part, _Field) for part in self._parts)

    def in_field(self, known: Known) -> bytes:
        """Return the value of a header field, b"" for none."""
        return self._filled(known, bytes, _plain).strip(b" ")

    def in_path(self, known: Known) -> bytes:
        """Return a path, b"" for none."""
        return self._filled(known, _path_literal, _segment)

    def in_query(self, known: Known) -> bytes:
        """Return the value of a parameter, b"" for none."""
        return self._filled(known, _value_literal, _value)

    def in_json(self, known: Known) -> Any:
        """Return a text, None for none; of a template that is one field alone, its value as it is."""
        if len(self._parts) == 1 and isinstance(self._parts[0], _Field):
            value = self._parts[0].ask(known, self._parts[0].argument)
            return _decoded(self._parts[0], value) if isinstance(value, bytes) else value
        return self._filled(known, bytes, _plain).decode("utf-8", "replace") or None

    def _filled(
        self, known: Known, literal: Callable[[bytes], bytes], of_value: Callable[[_Field, bytes], bytes]
    ) -> bytes:
        filled = []
        for part in self._parts:
            if isinstance(part, bytes):
                filled.append(literal(part))
                continue
            value = _bytes(part.ask(known, part.argument))
            if not value:
                return b""
            filled.append(of_value(part, value))
        return b"".join(filled)


# ---- values in their places ------------------------------------------------------------------------------------------


def _bytes(value: Any) -> bytes:
    """Return a value as text: items of a list between commas, b"" for what is none."""
    if isinstance(value, bytes):
        return value
    if isinstance(value, str):
        return value.encode("utf-8", "replace")
    if isinstance(value, bool):
        return b"true" if value else b"false"
    if isinstance(value, int | float):
        return str(value).encode()
    if isinstance(value, list | tuple | set | frozenset):
        return b",".join(filter(None, map(_bytes, value)))
    return b""


def _plain(field: _Field, value: bytes) -> bytes:
    return _CONTROLS.sub(b" ", unquote_to_bytes(value) if field.ask is _parameter else value)


def _decoded(field: _Field, value: bytes) -> str | None:
    text = (unquote_to_bytes(value) if field.ask is _parameter else value).decode("utf-8", "replace")
    return text or None


def _path_literal(literal: bytes) -> bytes:
    return _escaped(_OUTSIDE_PATH, literal)


def _segment(field: _Field, value: bytes) -> bytes:
    return _escaped(_OUTSIDE_PATH, value) if field.encoded else _quoted(value)


def _value_literal(literal: bytes) -> bytes:
    return quote(literal, safe="-._~!$'()*,:@/").encode()


def _value(field: _Field, value: bytes) -> bytes:
    return _quoted(unquote_to_bytes(value) if field.ask is _parameter else value)


def _quoted(value: bytes) -> bytes:
    """Percent-encode all that is not unreserved (RFC 3986 section 2.3)."""
    return value if value.isalnum() else quote(value, safe="").encode()


def _escaped(outside: re.Pattern[bytes], value: bytes) -> bytes:
    """Percent-encode what `outside` finds; escapes that are there stay (RFC 3986 section 2.4)."""
    return outside.sub(lambda found: b"%%%02X" % found[0][0], value)


# ---- what can be asked for -------------------------------------------------------------------------------------------


def _parameter(known: Known, name: str) -> bytes | None:
    return known.params.get(name)


def _header(known: Known, name: str) -> bytes:
    wanted = name.lower().encode()
    return b", ".join(field.value for field in known.head.fields if field.name == wanted)


def _query(known: Known, name: str) -> bytes | None:
    wanted = name.encode()
    return next((value for key, value in parameters(known.head.query or b"") if key == wanted), None)


def _claim(known: Known, path: str) -> Any:
    identity = known.exchange.identity if known.exchange is not None else None
    found = ABSENT if identity is None else claim(identity.claims, path)
    return None if found is ABSENT else found


def _of_identity(name: str) -> Ask:
    def ask(known: Known, argument: str) -> Any:
        identity = known.exchange.identity if known.exchange is not None else None
        value = None if identity is None else getattr(identity, name)
        return sorted(value) if isinstance(value, frozenset) else value

    return ask


def _client_ip(known: Known, argument: str) -> str:
    assert known.exchange is not None
    ip: str = known.exchange.client.client_ip()
    return ip


def _request_id(known: Known, argument: str) -> str:
    assert known.exchange is not None
    return known.exchange.request_id


_OF_HEAD: dict[str, Ask] = {
    "method": lambda known, _: known.head.method,
    "host": lambda known, _: known.head.host,
    "scheme": lambda known, _: known.scheme,
    "path": lambda known, _: known.head.path,
}
_OF_EXCHANGE: dict[str, Ask] = {
    "client_ip": _client_ip,
    "request_id": _request_id,
    "identity": _of_identity("name"),
    "consumer": _of_identity("consumer"),
    "groups": _of_identity("groups"),
    "scopes": _of_identity("scopes"),
    "auth": _of_identity("method"),
}
_WITH_ARGUMENT: dict[str, Ask] = {"header": _header, "query": _query, "claim": _claim}


def _field(name: str, argument: str | None, text: str) -> _Field:
    if argument is not None:
        if name not in _WITH_ARGUMENT:
            kinds = ", ".join(f"{{{kind}:NAME}}" for kind in _WITH_ARGUMENT)
            raise TemplateError(f'"{text}": there is no {{{name}:...}}, but {kinds}')
        return _Field(_WITH_ARGUMENT[name], argument, of_head=name != "claim")
    if name in _WITH_ARGUMENT:
        raise TemplateError(f'"{text}": {{{name}}} needs a name, such as {{{name}:NAME}}')
    if name in _OF_EXCHANGE:
        return _Field(_OF_EXCHANGE[name], "", of_head=False)
    if name in _OF_HEAD:
        return _Field(_OF_HEAD[name], "", encoded=name == "path")
    return _Field(_parameter, name, encoded=True)
