"""Messages: fields by name in JSON, by tag on the wire."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from edgewise.protocols.protobuf.errors import InvalidValue, MalformedMessage
from edgewise.protocols.protobuf.scalars import Boolean, Type
from edgewise.protocols.protobuf.wire import (
    DEEPEST,
    DELIMITED,
    GROUP,
    encode_delimited,
    encode_tag,
    encode_varint,
    read_size,
    read_varint,
    skip,
)

_NO_FIELDS: Mapping[str, object] = {}
_END_OF_GROUP: Final = 1
"""What a group's last tag has more than its first."""


class Field:
    """A field of a message."""

    def __init__(self, name: str, number: int, type: Type) -> None:
        self.name = name
        """As it is written in JSON."""
        self.number = number
        self.type = type
        self.oneof = 0
        """One bit for the oneof it belongs to; 0 for none."""
        self.rivals: tuple[str, ...] = ()
        """Names of the others in its oneof: the last that comes on the wire counts."""
        self.tag = encode_tag(number, type.wire_type)

    def write(self, value: object, depth: int) -> bytes:
        """Return tag and value; b"" for what is not there. Raises InvalidValue."""
        raise NotImplementedError

    def read(self, out: dict[str, object], data: bytes, at: int, end: int, depth: int) -> int:
        """Put the value at `at` into `out`; return where it ends. Raises MalformedMessage or IndexError."""
        raise NotImplementedError

    @property
    def repeated(self) -> bool:
        """May it come more than once?"""
        return False

    @property
    def blank(self) -> object:
        """What JSON has for it where it is not there, None for nothing."""
        return None


class Singular(Field):
    """A field that has one value."""

    def __init__(self, name: str, number: int, type: Type, *, omitted: bool = False, blank: object = None) -> None:
        """`omitted`: its default is not written in JSON (fields without presence)."""
        super().__init__(name, number, type)
        self._omitted = omitted
        self._default = type.default
        self._blank = blank

    def write(self, value: object, depth: int) -> bytes:
        """Null stands for nothing, but where it is a value."""
        if value is None and not self.type.takes_null:
            return b""
        return self.tag + self.type.encode(value, depth)

    def read(self, out: dict[str, object], data: bytes, at: int, end: int, depth: int) -> int:
        """The last one counts; messages are merged."""
        name = self.name
        value, at = self.type.decode(data, at, end, depth)
        if self._omitted and value == self._default and str(value) != "-0.0":
            out.pop(name, None)
            return at
        if value is None and not self.type.takes_null:
            return at
        for rival in self.rivals:
            out.pop(rival, None)
        if isinstance(value, dict) and name in out:
            value = _merged(out[name], value)
        out[name] = value
        return at

    @property
    def blank(self) -> object:
        """The default, where all fields are to be printed."""
        return self._blank


def _merged(present: object, value: dict[str, object]) -> object:
    """Return two parts of one message as one (the wire format's document: "Last One Wins")."""
    if not isinstance(present, dict):
        return value
    merged = {**present, **value}
    for name in present.keys() & value.keys():
        old, new = present[name], value[name]
        if isinstance(old, list) and isinstance(new, list):
            merged[name] = old + new
        elif isinstance(new, dict):
            merged[name] = _merged(old, new)
    return merged


class Repeated(Field):
    """A field that has any number of values, one behind each tag."""

    def __init__(self, name: str, number: int, type: Type, *, printed: bool = False) -> None:
        super().__init__(name, number, type)
        self._printed = printed

    def write(self, value: object, depth: int) -> bytes:
        """Null stands for none."""
        if value is None:
            return b""
        if not isinstance(value, list):
            raise InvalidValue("not a list")
        return self._written([self._element(item, index, depth) for index, item in enumerate(value)])

    def _element(self, item: object, index: int, depth: int) -> bytes:
        if item is None and not self.type.takes_null:
            raise InvalidValue("null in a list")
        try:
            return self.type.encode(item, depth)
        except InvalidValue as error:
            error.within(f"[{index}]")
            raise

    def _written(self, parts: list[bytes]) -> bytes:
        tag = self.tag
        return tag + tag.join(parts) if parts else b""

    def read(self, out: dict[str, object], data: bytes, at: int, end: int, depth: int) -> int:
        """One more value."""
        value, at = self.type.decode(data, at, end, depth)
        if value is not None or self.type.takes_null:
            self._items(out).append(value)
        return at

    def _items(self, out: dict[str, object]) -> list[object]:
        items = out.get(self.name)
        if not items:  # what is blank is shared by all
            items = out[self.name] = []
        assert isinstance(items, list)
        return items

    @property
    def repeated(self) -> bool:
        """It is."""
        return True

    @property
    def blank(self) -> object:
        """No values."""
        return () if self._printed else None


class Packed(Repeated):
    """Values behind one tag. A sender may also write them each behind its own: `Repeated` reads that."""

    def __init__(self, name: str, number: int, type: Type, *, printed: bool = False) -> None:
        super().__init__(name, number, type, printed=printed)
        self.tag = encode_tag(number, DELIMITED)

    def _written(self, parts: list[bytes]) -> bytes:
        return self.tag + encode_delimited(b"".join(parts)) if parts else b""

    def read(self, out: dict[str, object], data: bytes, at: int, end: int, depth: int) -> int:
        """The values of one tag."""
        at, stop = read_size(data, at, end)
        if at == stop:
            return stop
        items = self._items(out)
        while at < stop:
            value, at = self.type.decode(data, at, stop, depth)
            if value is not None or self.type.takes_null:
                items.append(value)
        if at != stop:
            raise MalformedMessage("a packed field does not end with a value")
        return stop


class MapField(Field):
    """A field that is an object in JSON; on the wire, messages of key and value."""

    def __init__(self, name: str, number: int, key: Type, value: Type, *, blank: object, printed: bool = False) -> None:
        """`blank`: the value of an entry that has none."""
        super().__init__(name, number, Entry())
        self._key = key
        self._value = value
        self._key_tag = encode_tag(1, key.wire_type)
        self._value_tag = encode_tag(2, value.wire_type)
        self._tags = (1 << 3 | key.wire_type, 2 << 3 | value.wire_type)
        self._blank = blank
        self._printed = printed

    def write(self, value: object, depth: int) -> bytes:
        """Null stands for none."""
        if value is None:
            return b""
        if not isinstance(value, dict):
            raise InvalidValue("not an object")
        return b"".join([self._entry(key, item, depth) for key, item in value.items()])

    def _entry(self, key: str, item: object, depth: int) -> bytes:
        if item is None and not self._value.takes_null:
            raise InvalidValue("null in a map")
        try:
            name = self._key.encode(self._key.parse(key) if isinstance(self._key, Boolean) else key, depth)
            content = self._key_tag + name + self._value_tag + self._value.encode(item, depth)
        except InvalidValue as error:
            error.within(f"[{key[:64]}]")
            raise
        return self.tag + encode_delimited(content)

    def read(self, out: dict[str, object], data: bytes, at: int, end: int, depth: int) -> int:
        """One more entry; the last one of a key counts."""
        at, stop = read_size(data, at, end)
        key, value = self._key.default, self._blank
        while at < stop:
            tag, at = read_varint(data, at)
            if tag == self._tags[0]:
                key, at = self._key.decode(data, at, stop, depth)
            elif tag == self._tags[1]:
                value, at = self._value.decode(data, at, stop, depth)
            else:
                at = skip(data, at, stop, tag, depth)
        if at != stop:
            raise MalformedMessage("a map's entry does not end with a field")
        if value is None and not self._value.takes_null:
            return stop
        entries = out.get(self.name)
        if not entries:  # what is blank is shared by all
            entries = out[self.name] = {}
        assert isinstance(entries, dict)
        entries[("true" if key else "false") if isinstance(key, bool) else str(key)] = value
        return stop

    @property
    def repeated(self) -> bool:
        """It is."""
        return True

    @property
    def blank(self) -> object:
        """No entries."""
        return _NO_FIELDS if self._printed else None


class Entry(Type):
    """What a map's field is to those who look for values in paths and queries: nothing that they could give."""

    bindable = False


class Message(Type):
    """A type of messages."""

    bindable = False
    special: bool = False
    """Is it no object of its fields in JSON? `Any` has it as a value then."""

    def __init__(self, full_name: str, *, ignore_unknown: bool = False) -> None:
        self.full_name = full_name
        self.fields: dict[str, Field] = {}
        """By each of their names in JSON."""
        self._by_tag: dict[int, Field] = {}
        self._blank: dict[str, object] = {}
        self._ignore_unknown = ignore_unknown

    def add(self, field: Field, *names: str) -> None:
        """Take a field, which JSON may also have by other names."""
        for name in (field.name, *names):
            self.fields[name] = field
        if isinstance(field, Packed):
            loose = Repeated(field.name, field.number, field.type)
            self._by_tag[field.number << 3 | field.type.wire_type] = loose
        wire_type = DELIMITED if isinstance(field, Packed) else field.type.wire_type
        self._by_tag[field.number << 3 | wire_type] = field
        blank = field.blank
        if blank is not None:
            self._blank[field.name] = blank

    # ---- JSON to the wire --------------------------------------------------------------------------------------------

    def encode(self, value: object, depth: int) -> bytes:
        """Return length and content."""
        content = self.content(value, depth + 1)
        return encode_varint(len(content)) + content

    def content(self, value: object, depth: int = 0) -> bytes:
        """Return the message for a JSON object. Raises InvalidValue."""
        if not isinstance(value, dict):
            raise InvalidValue("not an object")
        if depth > DEEPEST:
            raise InvalidValue("too many messages within messages")
        fields = self.fields
        parts: list[bytes] = []
        taken = 0
        for name, item in value.items():
            field = fields.get(name)
            if field is None:
                if self._ignore_unknown:
                    continue
                raise InvalidValue(f"no field {name[:64]!r}")
            if field.name != name and field.name in value:
                raise InvalidValue(f"field {field.name!r} twice")
            try:
                part = field.write(item, depth)
            except InvalidValue as error:
                error.within(name)
                raise
            if part and field.oneof:
                if taken & field.oneof:
                    raise InvalidValue(f"{name!r} excludes another field that is there")
                taken |= field.oneof
            parts.append(part)
        return b"".join(parts)

    # ---- the wire to JSON --------------------------------------------------------------------------------------------

    def decode(self, data: bytes, at: int, end: int, depth: int) -> tuple[object, int]:
        """Read length and content."""
        at, stop = read_size(data, at, end)
        return self.read(data, at, stop, depth + 1), stop

    def read(self, data: bytes, at: int, end: int, depth: int) -> object:
        """Return the JSON value of the message between `at` and `end`. Raises MalformedMessage or IndexError."""
        out = self._blank.copy()
        if self._fill(out, data, at, end, depth, 0) != end:
            raise MalformedMessage("a field is longer than its message")
        return out

    def read_group(self, data: bytes, at: int, end: int, depth: int, last: int) -> tuple[object, int]:
        """The same of one that ends with the tag `last`."""
        out = self._blank.copy()
        at = self._fill(out, data, at, end, depth, last)
        return out, at

    def _fill(self, out: dict[str, object], data: bytes, at: int, end: int, depth: int, last: int) -> int:
        if depth > DEEPEST:
            raise MalformedMessage("too many messages within messages")
        by_tag = self._by_tag
        while at < end:
            tag = data[at]
            if tag < 0x80:
                at += 1
            else:
                tag, at = read_varint(data, at)
            field = by_tag.get(tag)
            if field is not None:
                at = field.read(out, data, at, end, depth)
            elif last and tag == last:
                return at
            else:
                at = skip(data, at, end, tag, depth)
        if last:
            raise MalformedMessage("a group does not end")
        return at

    def json(self, data: bytes) -> object:
        """Return the JSON value of a message. Raises MalformedMessage."""
        try:
            return self.read(data, 0, len(data), 0)
        except IndexError:
            raise MalformedMessage("the message is cut off") from None


class Group(Type):
    """A message that ends with a tag of its own and not by its length."""

    bindable = False

    def __init__(self, number: int, message: Message) -> None:
        self.wire_type = GROUP
        self._message = message
        self._last = (number << 3 | GROUP) + _END_OF_GROUP
        self._end = encode_varint(self._last)

    def encode(self, value: object, depth: int) -> bytes:
        """Content and the last tag."""
        return self._message.content(value, depth + 1) + self._end

    def decode(self, data: bytes, at: int, end: int, depth: int) -> tuple[object, int]:
        """The same back."""
        return self._message.read_group(data, at, end, depth + 1, self._last)
