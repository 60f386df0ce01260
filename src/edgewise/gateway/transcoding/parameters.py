"""Fields of a request's message that paths and queries give."""

from __future__ import annotations

from typing import NamedTuple
from urllib.parse import unquote_plus

from edgewise.protocols.protobuf.errors import InvalidValue
from edgewise.protocols.protobuf.messages import Field, Message, Singular
from edgewise.protocols.protobuf.wire import encode_delimited, encode_tag

_DEEPEST = 32
"""Names in a field's path."""
_MOST = 1000
"""Parameters in a query."""


class Parameter(NamedTuple):
    """A field, and the messages that lead to it.

    Parts of a message are merged by whoever reads them (the wire format's document), so each is written alone.
    """

    field: Field
    outer: tuple[bytes, ...]
    """Tags of the messages around it, from the inner to the outer."""
    name: str
    """Its path, in names of JSON."""

    def encode(self, text: str) -> bytes:
        """Return a part of the message with one value. Raises InvalidValue."""
        kind = self.field.type
        value = kind.parse(text)
        part = encode_tag(self.field.number, kind.wire_type) + kind.encode(value, 0)
        for tag in self.outer:
            part = tag + encode_delimited(part)
        return part


def find_parameter(message: Message, path: str) -> Parameter | None:
    """Return the field that a dotted path names, with names of either spelling; None for none that takes a text."""
    outer: tuple[bytes, ...] = ()
    names: list[str] = []
    *above, last = path.split(".", _DEEPEST)
    inner: Message = message
    for name in above:
        step = inner.fields.get(name)
        if not isinstance(step, Singular) or not isinstance(step.type, Message) or step.type.special:
            return None
        outer = (step.tag, *outer)
        names.append(step.name)
        inner = step.type
    field = inner.fields.get(last)
    if field is None or not field.type.bindable:
        return None
    return Parameter(field, outer, ".".join((*names, field.name)))


class Query:
    """The parameters that queries may have."""

    def __init__(
        self, message: Message, taken: frozenset[str], ignored: frozenset[str], *, ignore_unknown: bool
    ) -> None:
        """`taken`: paths of fields that the request's path gives, and names of one that its content gives; "*": all."""
        self._message = message
        self._taken = taken
        self._ignored = ignored
        self._ignore_unknown = ignore_unknown
        self._known: dict[str, Parameter] = {}

    def encode(self, query: str) -> bytes:
        """Return the part of the message that a query gives. Raises InvalidValue."""
        parts: list[bytes] = []
        seen: set[str] = set()
        pairs = [pair for pair in query.split("&", _MOST) if pair]
        if len(pairs) > _MOST:
            raise InvalidValue("too many parameters in the query")
        for pair in pairs:
            name, _, value = pair.partition("=")
            name = _decoded(name)
            if name in self._ignored:
                continue
            parameter = self._known.get(name) or self._find(name)
            if parameter is None:
                if self._ignore_unknown:
                    continue
                raise InvalidValue(f"no parameter {name[:64]!r}")
            if not parameter.field.repeated and parameter.name in seen:
                raise InvalidValue(f"parameter {name[:64]!r} twice")
            seen.add(parameter.name)
            try:
                parts.append(parameter.encode(_decoded(value)))
            except InvalidValue as error:
                error.within(name)
                raise
        return b"".join(parts)

    def _find(self, name: str) -> Parameter | None:
        parameter = None if "*" in self._taken else find_parameter(self._message, name)
        if parameter is None or self._taken & {parameter.name, parameter.name.partition(".")[0]}:
            return None
        if len(self._known) < _MOST:
            self._known[name] = parameter
        return parameter


def _decoded(text: str) -> str:
    if "%" not in text and "+" not in text:
        return text
    try:
        return unquote_plus(text, errors="strict")
    except UnicodeDecodeError:
        raise InvalidValue("not UTF-8") from None
