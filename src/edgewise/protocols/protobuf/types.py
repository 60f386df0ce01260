"""Codecs of all message types that a set of descriptors has; made on first use."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from edgewise.protocols.protobuf.messages import Field, Group, MapField, Message, Packed, Repeated, Singular
from edgewise.protocols.protobuf.scalars import (
    Binary,
    Boolean,
    Double,
    Enumeration,
    FixedInteger,
    Float,
    Integer,
    Null,
    Text,
    Type,
)
from edgewise.protocols.protobuf.well_known import well_known
from edgewise.protocols.protobuf.wire import DELIMITED

if TYPE_CHECKING:
    from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor
    from google.protobuf.descriptor_pool import DescriptorPool

SCALARS: dict[str, Type] = {
    "double": Double(),
    "float": Float(),
    "int64": Integer(64, signed=True),
    "uint64": Integer(64, signed=False),
    "int32": Integer(32, signed=True),
    "fixed64": FixedInteger(64, signed=False),
    "fixed32": FixedInteger(32, signed=False),
    "bool": Boolean(),
    "string": Text(),
    "bytes": Binary(),
    "uint32": Integer(32, signed=False),
    "sfixed32": FixedInteger(32, signed=True),
    "sfixed64": FixedInteger(64, signed=True),
    "sint32": Integer(32, signed=True, zigzag=True),
    "sint64": Integer(64, signed=True, zigzag=True),
}
_BY_NUMBER = dict(
    enumerate(("double", "float", "int64", "uint64", "int32", "fixed64", "fixed32", "bool", "string"), start=1)
) | {12: "bytes", 13: "uint32", 15: "sfixed32", 16: "sfixed64", 17: "sint32", 18: "sint64"}
"""Of FieldDescriptorProto.Type."""
_GROUP = 10


class Style(NamedTuple):
    """How messages are written in JSON, and what is taken."""

    original_names: bool = False
    """Names of fields as the schema has them, not in camel case. Both are read."""
    print_defaults: bool = False
    """Write fields without presence that have their default, and empty lists and maps."""
    enums_as_numbers: bool = False
    ignore_unknown: bool = False
    """Leave out fields of JSON that the message does not have."""


class Types:
    """The codecs of a pool's messages in one style."""

    def __init__(self, pool: DescriptorPool, style: Style, others: DescriptorPool | None = None) -> None:
        """`others`: where types are looked for that the pool does not have, such as those of errors' details."""
        self._pool = pool
        self._others = others
        self._style = style
        self._made: dict[str, Message] = {}

    def find(self, full_name: str) -> Message | None:
        """Return the codec of a type; None where nobody knows it."""
        message = self._made.get(full_name)
        if message is not None:
            return message
        for pool in (self._pool, self._others):
            try:
                descriptor = pool.FindMessageTypeByName(full_name) if pool is not None else None
            except KeyError:
                continue
            if descriptor is not None:
                return self.of(descriptor)
        return None

    def of(self, descriptor: Descriptor) -> Message:
        """Return the codec of a message type."""
        name = descriptor.full_name
        message = self._made.get(name)
        if message is None:
            message = well_known(name, SCALARS, self.find)
            if message is not None:
                self._made[name] = message
            else:
                message = self._made[name] = Message(name, ignore_unknown=self._style.ignore_unknown)
                self._fill(message, descriptor)
        return message

    def _fill(self, message: Message, descriptor: Descriptor) -> None:
        fields: dict[str, Field] = {}
        for one in descriptor.fields:
            field = fields[one.name] = self._field(one)
            message.add(field, one.name, one.json_name)
        for index, oneof in enumerate(descriptor.oneofs):
            names = [fields[one.name].name for one in oneof.fields]
            for one in oneof.fields:
                field = fields[one.name]
                field.oneof = 1 << index
                field.rivals = tuple(name for name in names if name != field.name)
        for one in descriptor.file.pool.FindAllExtensions(descriptor) if descriptor.is_extendable else ():
            message.add(self._field(one, f"[{one.full_name}]"))

    def _field(self, one: FieldDescriptor, name: str | None = None) -> Field:
        style = self._style
        told = name or (one.name if style.original_names else one.json_name)
        kind = self._type(one)
        if not one.is_repeated:
            blank = kind.default if style.print_defaults and not one.has_presence else None
            omitted = not (one.has_presence or style.print_defaults)
            return Singular(told, one.number, kind, omitted=omitted, blank=blank)
        entry = one.message_type
        if entry is not None and entry.GetOptions().map_entry:
            key, value = (self._type(entry.fields_by_number[number]) for number in (1, 2))
            blank = kind_of_nothing(value)
            return MapField(told, one.number, key, value, blank=blank, printed=style.print_defaults)
        many = Packed if one.is_packed and kind.wire_type != DELIMITED else Repeated
        return many(told, one.number, kind, printed=style.print_defaults)

    def _type(self, one: FieldDescriptor) -> Type:
        if one.message_type is not None:
            message = self.of(one.message_type)
            return Group(one.number, message) if one.type == _GROUP else message
        return self._enumeration(one.enum_type) if one.enum_type is not None else SCALARS[_BY_NUMBER[one.type]]

    def _enumeration(self, descriptor: EnumDescriptor) -> Type:
        if descriptor.full_name == "google.protobuf.NullValue":
            return Null()
        numbers = {value.name: value.number for value in descriptor.values}
        return Enumeration(numbers, closed=descriptor.is_closed, as_numbers=self._style.enums_as_numbers)


def kind_of_nothing(kind: Type) -> object:
    """Return what a map's entry without a value has: the default, or a message without fields."""
    return kind.read(b"", 0, 0, 0) if isinstance(kind, Message) else kind.default
