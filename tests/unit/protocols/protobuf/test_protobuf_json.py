"""Messages to JSON and back: as protobuf's own library has it, for messages of any content."""

from __future__ import annotations

import re
from typing import Any

import msgspec
import pytest
from google.protobuf import json_format
from hypothesis import given, settings
from hypothesis import strategies as st

from edgewise.protocols.protobuf.errors import InvalidValue, MalformedMessage
from edgewise.protocols.protobuf.types import Style, Types
from support.compiled_protos import message_class, pool
from support.random_messages import messages

NAMES = ["edgewise.test.EveryType", "edgewise.test.Older", "edgewise.test.Newer"]
TYPES = {name: Types(pool(), Style()).find(name) for name in NAMES}
PRINTING = Types(pool(), Style(original_names=True, print_defaults=True, enums_as_numbers=True))


def any_message(name: str) -> st.SearchStrategy[Any]:
    return messages(message_class(name).DESCRIPTOR)


def oracle(message: Any, **options: Any) -> Any:
    """Return protobuf's own JSON of a message."""
    return json_format.MessageToDict(message, descriptor_pool=pool(), **options)


def to_wire(value: object, name: str = NAMES[0]) -> Any:
    """Return the message that our codec makes of JSON, as protobuf reads it."""
    codec = TYPES[name]
    assert codec is not None
    return message_class(name).FromString(codec.content(value))


def json_of(content: bytes, name: str = NAMES[0]) -> Any:
    codec = TYPES[name]
    assert codec is not None
    return codec.json(content)


@pytest.mark.parametrize("name", NAMES)
def test_messages_are_written_in_json_as_protobuf_writes_them(name: str) -> None:
    @settings(deadline=None, max_examples=100)
    @given(any_message(name))
    def check(message: Any) -> None:
        assert json_of(message.SerializeToString(), name) == oracle(message)

    check()


@pytest.mark.parametrize("name", NAMES)
def test_json_is_read_back_to_the_same_message(name: str) -> None:
    @settings(deadline=None, max_examples=100)
    @given(any_message(name))
    def check(message: Any) -> None:
        text = msgspec.json.encode(json_of(message.SerializeToString(), name))
        again = to_wire(msgspec.json.decode(text), name)
        assert again.SerializeToString(deterministic=True) == json_format.Parse(
            text, message_class(name)(), descriptor_pool=pool()
        ).SerializeToString(deterministic=True)

    check()


@settings(deadline=None, max_examples=80)
@given(any_message(NAMES[0]))
def test_all_fields_are_printed_as_protobuf_prints_them(message: Any) -> None:
    """Null stays null: protobuf has a number in its place then, against its own document."""
    codec = PRINTING.find(NAMES[0])
    assert codec is not None
    told = oracle(
        message,
        preserving_proto_field_name=True,
        always_print_fields_with_no_presence=True,
        use_integers_for_enums=True,
    )
    made = msgspec.json.decode(msgspec.json.encode(codec.json(message.SerializeToString())))
    assert made == msgspec.json.decode(msgspec.json.encode(told).replace(b'"chosen_null":0', b'"chosen_null":null'))


@settings(deadline=None, max_examples=300)
@given(st.binary(max_size=40))
def test_bytes_that_are_no_message_are_told_and_raise_nothing_else(content: bytes) -> None:
    for name in NAMES:
        try:
            json_of(content, name)
        except MalformedMessage:
            continue


@settings(deadline=None, max_examples=200)
@given(any_message(NAMES[0]), st.data())
def test_a_message_that_is_cut_off_is_malformed_or_a_shorter_one(message: Any, data: st.DataObject) -> None:
    whole = message.SerializeToString()
    part = whole[: data.draw(st.integers(0, len(whole)))]
    try:
        expected = oracle(message_class(NAMES[0]).FromString(part))
    except Exception:
        with pytest.raises(MalformedMessage):
            json_of(part)
    else:
        assert json_of(part) == expected


def test_parts_of_one_message_are_merged_and_the_last_of_a_oneof_counts() -> None:
    make = message_class(NAMES[0])
    parts = [
        make(scalars={"an_int32": 1, "a_bool": True}, chosen_int32=1, int32s=[1], nested={"strings": ["a"]}),
        make(scalars={"an_int32": 2}, chosen_string="x", int32s=[2], nested={"strings": ["b"]}),
    ]
    content = b"".join(part.SerializeToString() for part in parts)
    assert json_of(content) == oracle(make.FromString(content))


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ({"scalars": {"anInt32": True}}, "scalars.anInt32: not an integer"),
        ({"scalars": {"anInt32": 2147483648}}, "scalars.anInt32: integer out of range"),
        ({"scalars": {"anInt32": "01"}}, "scalars.anInt32: not an integer"),
        ({"scalars": {"anInt32": " 1"}}, "scalars.anInt32: not an integer"),
        ({"scalars": {"anInt32": "1_0"}}, "scalars.anInt32: not an integer"),
        ({"scalars": {"anInt32": "\u0661"}}, "scalars.anInt32: not an integer"),
        ({"scalars": {"aUint32": -1}}, "scalars.aUint32: integer out of range"),
        ({"scalars": {"aUint64": "18446744073709551616"}}, "scalars.aUint64: integer out of range"),
        ({"scalars": {"aFloat": 1e39}}, "scalars.aFloat: number out of range"),
        ({"scalars": {"aDouble": "nan"}}, "scalars.aDouble: not a number"),
        ({"scalars": {"aDouble": "1e999"}}, "scalars.aDouble: number out of range"),
        ({"scalars": {"aBool": 1}}, "scalars.aBool: neither true nor false"),
        ({"scalars": {"aString": 1}}, "scalars.aString: not a string"),
        ({"scalars": {"someBytes": "A"}}, "scalars.someBytes: not base64"),
        ({"scalars": {"someBytes": "AA=A"}}, "scalars.someBytes: not base64"),
        ({"scalars": {"aColour": "red"}}, "scalars.aColour: not a name of the enumeration"),
        ({"scalars": []}, "scalars: not an object"),
        ({"int32s": 1}, "int32s: not a list"),
        ({"int32s": [None]}, "int32s: null in a list"),
        ({"texts": {"a": None}}, "texts: null in a map"),
        ({"byInt32": {"x": {}}}, "byInt32[x]: not an integer"),
        ({"byBool": {"1": "RED"}}, "byBool[1]: neither true nor false"),
        ({"timestamp": "2020-02-30T00:00:00Z"}, "timestamp: no such time"),
        ({"timestamp": "2020-01-01"}, "timestamp: not a time"),
        ({"timestamp": "0001-01-01T00:00:00+01:00"}, "timestamp: time out of range"),
        ({"duration": "1"}, "duration: not a duration"),
        ({"duration": "315576000001s"}, "duration: duration out of range"),
        ({"fieldMask": "a_b"}, "fieldMask: fields of a mask are written in camel case"),
        ({"any": {"@type": "nothing"}}, 'any: "@type" is no URL'),
        ({"any": {"aBool": True}}, 'any: "@type" is no URL'),
        ({"chosenInt32": 1, "chosenString": ""}, "excludes another field"),
        ({"optionalInt32": 1, "optional_int32": 2}, "twice"),
        ({"nested": {"zzz": 1}}, "nested: no field 'zzz'"),
        ([], "not an object"),
    ],
)
def test_json_that_does_not_fit_is_told_with_its_place(value: object, told: str) -> None:
    with pytest.raises(InvalidValue, match=re.escape(told)):
        to_wire(value)


@pytest.mark.parametrize(
    ("value", "field", "expected"),
    [
        ({"anInt32": 1e3}, "an_int32", 1000),
        ({"anInt32": "1e3"}, "an_int32", 1000),
        ({"anInt32": -0.0}, "an_int32", 0),
        ({"an_int32": 5}, "an_int32", 5),
        ({"anInt64": 9007199254740993}, "an_int64", 9007199254740993),
        ({"aDouble": "-1.5e-3"}, "a_double", -0.0015),
        ({"aDouble": 1}, "a_double", 1.0),
        ({"someBytes": "-_8"}, "some_bytes", b"\xfb\xff"),
        ({"aColour": 1}, "a_colour", 1),
        ({"aColour": 77}, "a_colour", 77),
        ({"aString": None}, "a_string", ""),
    ],
)
def test_other_ways_to_write_a_value_are_read_too(value: dict[str, Any], field: str, expected: object) -> None:
    assert getattr(to_wire({"scalars": value}).scalars, field) == expected


def test_messages_within_messages_end_somewhere() -> None:
    deep: dict[str, Any] = {}
    for _ in range(150):
        deep = {"nested": deep}
    with pytest.raises(InvalidValue, match="too many messages"):
        to_wire(deep)
    content = b""
    for _ in range(150):
        content = b"\xb2\x04" + _varint(len(content)) + content
    with pytest.raises(MalformedMessage, match="too many messages"):
        json_of(content)
    values: Any = None
    for _ in range(300):
        values = [values]
    with pytest.raises(InvalidValue, match="too many values"):
        to_wire({"value": values})


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*out, number])


def test_unknown_fields_are_left_out_where_that_is_asked_for() -> None:
    codec = Types(pool(), Style(ignore_unknown=True)).find(NAMES[0])
    assert codec is not None
    assert codec.content({"zzz": 1, "optionalInt32": 3}) == b"\x10\x03"


def test_an_any_of_an_unknown_type_passes_both_ways() -> None:
    value = {"any": {"@type": "example.com/no.Such", "value": "AQI="}}
    assert json_of(to_wire(value).SerializeToString()) == value


def test_extensions_are_named_in_brackets() -> None:
    value = {"[edgewise.test.remark]": "hello", "number": 1}
    assert json_of(to_wire(value, NAMES[1]).SerializeToString(), NAMES[1]) == value
