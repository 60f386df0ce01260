"""Messages of any content, made by protobuf's own library; for hypothesis."""

from __future__ import annotations

from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message_factory import GetMessageClass
from hypothesis import strategies as st

from support.compiled_protos import message_class

_INTEGERS = {
    FieldDescriptor.CPPTYPE_INT32: st.integers(-(1 << 31), (1 << 31) - 1),
    FieldDescriptor.CPPTYPE_INT64: st.integers(-(1 << 63), (1 << 63) - 1),
    FieldDescriptor.CPPTYPE_UINT32: st.integers(0, (1 << 32) - 1),
    FieldDescriptor.CPPTYPE_UINT64: st.integers(0, (1 << 64) - 1),
}
_OTHERS: dict[int, st.SearchStrategy[Any]] = {
    FieldDescriptor.CPPTYPE_DOUBLE: st.floats(),
    FieldDescriptor.CPPTYPE_FLOAT: st.floats(width=32),
    FieldDescriptor.CPPTYPE_BOOL: st.booleans(),
}
_TEXT = st.text(st.characters(codec="utf-8"), max_size=12)
_NUMBERS = st.integers(-(1 << 53), 1 << 53).map(float) | st.floats(allow_nan=False, allow_infinity=False)
JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | _NUMBERS | _TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_TEXT, inner, max_size=3),
    max_leaves=6,
)


def _scalar(field: FieldDescriptor) -> st.SearchStrategy[Any]:
    kind = field.cpp_type
    if kind == FieldDescriptor.CPPTYPE_STRING:
        return st.binary(max_size=12) if field.type == FieldDescriptor.TYPE_BYTES else _TEXT
    if kind == FieldDescriptor.CPPTYPE_ENUM:
        numbers = st.sampled_from([value.number for value in field.enum_type.values])
        return numbers if field.enum_type.is_closed else numbers | _INTEGERS[FieldDescriptor.CPPTYPE_INT32]
    return _INTEGERS[kind] if kind in _INTEGERS else _OTHERS[kind]


@st.composite
def messages(draw: st.DrawFn, descriptor: Descriptor, depth: int = 0) -> Any:
    """Return a message with some of its fields."""
    made = GetMessageClass(descriptor)()
    known = _well_known(draw, descriptor.full_name, made)
    if known is not None or not descriptor.fields:
        return made
    chosen = draw(st.lists(st.sampled_from(list(descriptor.fields)), max_size=6, unique_by=lambda field: field.name))
    for field in chosen:
        if field.enum_type is not None and field.enum_type.name == "NullValue":
            setattr(made, field.name, 0)
        elif field.message_type is not None and field.message_type.GetOptions().map_entry:
            _fill_map(draw, getattr(made, field.name), field.message_type, depth)
        elif field.message_type is not None and depth < 3:
            for _ in range(draw(st.integers(1, 3)) if field.is_repeated else 1):
                inner = draw(messages(field.message_type, depth + 1))
                target = getattr(made, field.name)
                (target.add() if field.is_repeated else target).CopyFrom(inner)
                if not field.is_repeated:
                    target.SetInParent()
        elif field.message_type is None and field.is_repeated:
            getattr(made, field.name).extend(draw(st.lists(_scalar(field), max_size=4)))
        elif field.message_type is None:
            setattr(made, field.name, draw(_scalar(field)))
    return made


def _fill_map(draw: st.DrawFn, target: Any, entry: Descriptor, depth: int) -> None:
    key, value = entry.fields_by_name["key"], entry.fields_by_name["value"]
    for name in draw(st.lists(_scalar(key), max_size=3, unique=True)):
        if value.message_type is None:
            target[name] = draw(_scalar(value))
        else:
            target[name].CopyFrom(draw(messages(value.message_type, depth + 1)))


def _well_known(draw: st.DrawFn, name: str, made: Any) -> Any | None:
    if name == "google.protobuf.Timestamp":
        made.seconds = draw(st.integers(-62135596800, 253402300799))
        made.nanos = draw(st.sampled_from((0, 1, 120_000_000, 999_999_000)))
    elif name == "google.protobuf.Duration":
        seconds = draw(st.integers(-315576000000, 315576000000))
        made.seconds, made.nanos = seconds, draw(st.sampled_from((0, 1, 500_000_000))) * (-1 if seconds < 0 else 1)
    elif name == "google.protobuf.FieldMask":
        made.paths.extend(draw(st.lists(st.sampled_from(("a", "a_b", "a.b_c", "some_field1")), max_size=3)))
    elif name in ("google.protobuf.Struct", "google.protobuf.Value", "google.protobuf.ListValue"):
        _fill_json(made, draw(JSON))
    elif name == "google.protobuf.Any":
        made.Pack(draw(messages(message_class("edgewise.test.Scalars").DESCRIPTOR, 2)))
    else:
        return None
    return made


def _fill_json(made: Any, value: Any) -> None:
    name = made.DESCRIPTOR.name
    if name == "Struct":
        made.update(value if isinstance(value, dict) else {"a": value})
    elif name == "ListValue":
        made.extend(value if isinstance(value, list) else [value])
    elif value is None:
        made.null_value = 0
    elif isinstance(value, bool):
        made.bool_value = value
    elif isinstance(value, float):
        made.number_value = value
    elif isinstance(value, str):
        made.string_value = value
    else:
        _fill_json(made.struct_value if isinstance(value, dict) else made.list_value, value)
        (made.struct_value if isinstance(value, dict) else made.list_value).SetInParent()
