"""The types of google.protobuf that JSON has in forms of their own (the protobuf project's ProtoJSON document)."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable
from typing import Final

from edgewise.protocols.protobuf.errors import InvalidValue, MalformedMessage
from edgewise.protocols.protobuf.messages import Message
from edgewise.protocols.protobuf.scalars import Double, Integer, Type, from_base64
from edgewise.protocols.protobuf.times import read_duration, read_timestamp, write_duration, write_timestamp
from edgewise.protocols.protobuf.wire import DEEPEST, encode_delimited, encode_tag, fields_of, read_varint, skip

_INT64 = Integer(64, signed=True)
_INT32 = Integer(32, signed=True)
_DOUBLE = Double()
_WORD: Final = 1 << 64
_CAMEL = re.compile(r"[A-Z]")
_SNAKE = re.compile(r"_([a-z])")
_MASK = re.compile(r"[a-zA-Z0-9_.,]*")


class Special(Message):
    """A message that is no object of its fields in JSON."""

    special = True

    def __init__(self, full_name: str) -> None:
        super().__init__(full_name)


class Moment(Special):
    """Timestamp and Duration: seconds and nanoseconds, a text in JSON."""

    bindable = True

    def __init__(
        self, full_name: str, read: Callable[[str], tuple[int, int]], write: Callable[[int, int], str]
    ) -> None:
        super().__init__(full_name)
        self._read = read
        self._write = write

    def content(self, value: object, depth: int = 0) -> bytes:
        """Raises InvalidValue."""
        if not isinstance(value, str):
            raise InvalidValue("not a string")
        seconds, nanos = self._read(value)
        content = b"\x08" + _INT64.encode(seconds, 0) if seconds else b""
        return content + b"\x10" + _INT32.encode(nanos, 0) if nanos else content

    def read(self, data: bytes, at: int, end: int, depth: int) -> object:
        """Raises MalformedMessage."""
        seconds = nanos = 0
        while at < end:
            tag, at = read_varint(data, at)
            if tag == 0x08:
                seconds, at = _read_signed(data, at)
            elif tag == 0x10:
                nanos, at = _read_signed(data, at)
            else:
                at = skip(data, at, end, tag, depth)
        if at != end:
            raise MalformedMessage("a field is longer than its message")
        return self._write(seconds, nanos)


def _read_signed(data: bytes, at: int) -> tuple[int, int]:
    number, at = read_varint(data, at)
    return (number - _WORD if number >= _WORD >> 1 else number), at


class FieldMask(Special):
    """Paths of fields: in camel case and with commas between them."""

    bindable = True

    def content(self, value: object, depth: int = 0) -> bytes:
        """Raises InvalidValue."""
        if not isinstance(value, str) or not _MASK.fullmatch(value):
            raise InvalidValue("not a list of fields with commas between them")
        if "_" in value:
            raise InvalidValue("fields of a mask are written in camel case")
        paths = [_CAMEL.sub(lambda match: "_" + match[0].lower(), path) for path in value.split(",")] if value else []
        return b"".join([b"\x0a" + encode_delimited(path.encode()) for path in paths])

    def parse(self, text: str) -> object:
        """Take the names as the schema has them too."""
        return _SNAKE.sub(lambda match: match[1].upper(), text)

    def read(self, data: bytes, at: int, end: int, depth: int) -> object:
        """Raises MalformedMessage for a path that camel case cannot tell."""
        paths = []
        for tag, start, stop in fields_of(data, at, end):
            if tag == 0x0A:
                paths.append(_camel(data[start:stop].decode("utf-8", "replace")))
        return ",".join(paths)


def _camel(path: str) -> str:
    camel = _SNAKE.sub(lambda match: match[1].upper(), path)
    if "_" in camel or _CAMEL.search(path):
        raise MalformedMessage(f"a field mask has {path[:64]!r}, which JSON cannot have")
    return camel


class Wrapper(Special):
    """A scalar that can be missing: the value itself in JSON."""

    def __init__(self, full_name: str, inner: Type) -> None:
        super().__init__(full_name)
        self._inner = inner
        self._tag = encode_tag(1, inner.wire_type)
        self._number = 1 << 3 | inner.wire_type
        self.bindable = True

    def content(self, value: object, depth: int = 0) -> bytes:
        """Raises InvalidValue."""
        return self._tag + self._inner.encode(value, depth)

    def parse(self, text: str) -> object:
        """As the scalar."""
        return self._inner.parse(text)

    def read(self, data: bytes, at: int, end: int, depth: int) -> object:
        """Raises MalformedMessage."""
        value = self._inner.default
        while at < end:
            tag, at = read_varint(data, at)
            if tag == self._number:
                value, at = self._inner.decode(data, at, end, depth)
            else:
                at = skip(data, at, end, tag, depth)
        if at != end:
            raise MalformedMessage("a field is longer than its message")
        return value


class Value(Special):
    """google.protobuf.Value: any JSON."""

    bindable = True
    takes_null = True

    def content(self, value: object, depth: int = 0) -> bytes:
        """Raises InvalidValue."""
        if depth > DEEPEST:
            raise InvalidValue("too many values within values")
        if value is None:
            return b"\x08\x00"
        if isinstance(value, bool):
            return b"\x20\x01" if value else b"\x20\x00"
        if isinstance(value, int | float):
            return b"\x11" + _DOUBLE.encode(value, depth)
        if isinstance(value, str):
            return b"\x1a" + encode_delimited(value.encode())
        if isinstance(value, list):
            return b"\x32" + encode_delimited(list_content(value, depth + 1))
        return b"\x2a" + encode_delimited(struct_content(value, depth + 1))

    def read(self, data: bytes, at: int, end: int, depth: int) -> object:
        """Raises MalformedMessage. Null where it says nothing."""
        return read_value(data, at, end, depth)


class Struct(Special):
    """google.protobuf.Struct: any object."""

    def content(self, value: object, depth: int = 0) -> bytes:
        """Raises InvalidValue."""
        return struct_content(value, depth)

    def read(self, data: bytes, at: int, end: int, depth: int) -> object:
        """Raises MalformedMessage."""
        return read_struct(data, at, end, depth)


class ListValue(Special):
    """google.protobuf.ListValue: any list."""

    def content(self, value: object, depth: int = 0) -> bytes:
        """Raises InvalidValue."""
        return list_content(value, depth)

    def read(self, data: bytes, at: int, end: int, depth: int) -> object:
        """Raises MalformedMessage."""
        return read_list(data, at, end, depth)


_VALUE = Value("google.protobuf.Value")


def struct_content(value: object, depth: int) -> bytes:
    """Return a Struct. Raises InvalidValue."""
    if not isinstance(value, dict):
        raise InvalidValue("not an object")
    parts = []
    for name, item in value.items():
        entry = b"\x0a" + encode_delimited(name.encode()) + b"\x12" + _VALUE.encode(item, depth)
        parts.append(b"\x0a" + encode_delimited(entry))
    return b"".join(parts)


def list_content(value: object, depth: int) -> bytes:
    """Return a ListValue. Raises InvalidValue."""
    if not isinstance(value, list):
        raise InvalidValue("not a list")
    return b"".join([b"\x0a" + _VALUE.encode(item, depth) for item in value])


def read_value(data: bytes, at: int, end: int, depth: int) -> object:
    """Return what a Value says. Raises MalformedMessage."""
    if depth > DEEPEST:
        raise MalformedMessage("too many values within values")
    value: object = None
    for tag, start, stop in fields_of(data, at, end):
        if tag == 0x08:
            value = None
        elif tag == 0x11:
            value = _DOUBLE.decode(data, start, stop, 0)[0]
            if isinstance(value, str):
                raise MalformedMessage(f"{value} in a value, where JSON cannot have it")
            if isinstance(value, float) and value.is_integer() and abs(value) < 1 << 53:
                value = int(value)
        elif tag == 0x1A:
            value = _text(data, start, stop)
        elif tag == 0x20:
            value = read_varint(data, start)[0] != 0
        elif tag == 0x2A:
            value = read_struct(data, start, stop, depth + 1)
        elif tag == 0x32:
            value = read_list(data, start, stop, depth + 1)
    return value


def read_struct(data: bytes, at: int, end: int, depth: int) -> dict[str, object]:
    """Return what a Struct says. Raises MalformedMessage."""
    found: dict[str, object] = {}
    for tag, start, stop in fields_of(data, at, end):
        if tag != 0x0A:
            continue
        name, value = "", None
        for inner, begin, finish in fields_of(data, start, stop):
            if inner == 0x0A:
                name = _text(data, begin, finish)
            elif inner == 0x12:
                value = read_value(data, begin, finish, depth + 1)
        found[name] = value
    return found


def read_list(data: bytes, at: int, end: int, depth: int) -> list[object]:
    """Return what a ListValue says. Raises MalformedMessage."""
    fields = fields_of(data, at, end)
    return [read_value(data, start, stop, depth + 1) for tag, start, stop in fields if tag == 0x0A]


def _text(data: bytes, start: int, stop: int) -> str:
    try:
        return data[start:stop].decode()
    except UnicodeDecodeError:
        raise MalformedMessage("a string is not UTF-8") from None


class Any(Special):
    """google.protobuf.Any: a message of any type, which "@type" names.

    What is of a type that nobody knows is passed on in base64, and taken back so.
    """

    def __init__(self, find: Callable[[str], Message | None]) -> None:
        """`find` a type by its full name."""
        super().__init__("google.protobuf.Any")
        self._find = find

    def content(self, value: object, depth: int = 0) -> bytes:
        """Raises InvalidValue."""
        if not isinstance(value, dict):
            raise InvalidValue("not an object")
        if not value:
            return b""
        if depth > DEEPEST:
            raise InvalidValue("too many messages within messages")
        url = value.get("@type")
        if not isinstance(url, str) or "/" not in url:
            raise InvalidValue('"@type" is no URL of a type')
        others = {name: item for name, item in value.items() if name != "@type"}
        content = self._inner(self._find(url.rpartition("/")[2]), others, depth + 1)
        told = b"\x0a" + encode_delimited(url.encode())
        return told + b"\x12" + encode_delimited(content) if content else told

    def _inner(self, message: Message | None, others: dict[str, object], depth: int) -> bytes:
        if message is not None and not message.special:
            return message.content(others, depth)
        if others.keys() != {"value"}:
            raise InvalidValue('this type has its "value" and nothing else')
        value = others["value"]
        if message is not None:
            return message.content(value, depth)
        if not isinstance(value, str):
            raise InvalidValue("not a string in base64")
        return from_base64(value)

    def read(self, data: bytes, at: int, end: int, depth: int) -> object:
        """Raises MalformedMessage."""
        if depth > DEEPEST:
            raise MalformedMessage("too many messages within messages")
        url, start, stop = "", 0, 0
        for tag, begin, finish in fields_of(data, at, end):
            if tag == 0x0A:
                url = _text(data, begin, finish)
            elif tag == 0x12:
                start, stop = begin, finish
        if not url:
            return {}
        message = self._find(url.rpartition("/")[2])
        if message is None:
            return {"@type": url, "value": base64.b64encode(data[start:stop]).decode()}
        value = message.read(data, start, stop, depth + 1)
        if message.special or not isinstance(value, dict):
            return {"@type": url, "value": value}
        return {"@type": url, **value}


_WRAPPED = {
    "DoubleValue": "double", "FloatValue": "float", "Int64Value": "int64", "UInt64Value": "uint64",
    "Int32Value": "int32", "UInt32Value": "uint32", "BoolValue": "bool", "StringValue": "string",
    "BytesValue": "bytes",
}  # fmt: skip


def well_known(full_name: str, scalars: dict[str, Type], find: Callable[[str], Message | None]) -> Message | None:
    """Return the codec of a type that JSON has in a form of its own; None for all others."""
    package, _, name = full_name.rpartition(".")
    if package != "google.protobuf":
        return None
    if name in _WRAPPED:
        return Wrapper(full_name, scalars[_WRAPPED[name]])
    if name == "Timestamp":
        return Moment(full_name, read_timestamp, write_timestamp)
    if name == "Duration":
        return Moment(full_name, read_duration, write_duration)
    if name == "Any":
        return Any(find)
    kinds: dict[str, type[Special]] = {
        "FieldMask": FieldMask, "Struct": Struct, "Value": Value, "ListValue": ListValue,
    }  # fmt: skip
    return kinds[name](full_name) if name in kinds else None
