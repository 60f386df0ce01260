"""Values that are no messages, on the wire and in JSON (the protobuf project's ProtoJSON document)."""

from __future__ import annotations

import base64
import binascii
import math
import re
import struct
from collections.abc import Mapping
from typing import Final

from edgewise.protocols.protobuf.errors import InvalidValue, MalformedMessage
from edgewise.protocols.protobuf.wire import DELIMITED, FIXED32, FIXED64, VARINT, encode_varint, read_size, read_varint

_INTEGER = re.compile(r"-?(?:0|[1-9][0-9]{0,39})")
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]{0,399})(?:\.[0-9]{1,400})?(?:[eE][+-]?[0-9]{1,4})?")
_BASE64 = re.compile(r"[A-Za-z0-9+/]*={0,2}")
_NAMED = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
_WORD: Final = 1 << 64
_FLOAT_DIGITS = (6, 7, 8)
"""Significant digits that may do for a float; nine always do."""
_SINGLE = struct.Struct("<f")
_DOUBLE = struct.Struct("<d")


class Type:
    """A type of values. Messages are types too (`messages.Message`)."""

    wire_type: int = DELIMITED
    bindable: bool = True
    """May a path or a query give a value?"""
    takes_null: bool = False
    """Is null a value in JSON? Else it stands for a field that is not there."""

    def encode(self, value: object, depth: int) -> bytes:
        """Return a JSON value as it stands behind a tag. Raises InvalidValue."""
        raise NotImplementedError

    def decode(self, data: bytes, at: int, end: int, depth: int) -> tuple[object, int]:
        """Return the JSON value of what stands at `at`, and where it ends. Raises MalformedMessage or IndexError."""
        raise NotImplementedError

    def parse(self, text: str) -> object:
        """Return the JSON value for a text of a path or a query. Raises InvalidValue."""
        return text

    @property
    def default(self) -> object:
        """The JSON value of a field that is not there."""
        return None


def as_integer(value: object, low: int, high: int) -> int:
    """Return an integer that JSON has as a number or as a text. Raises InvalidValue."""
    number: int
    if isinstance(value, bool):
        raise InvalidValue("not an integer")
    if isinstance(value, int):
        number = value
    elif isinstance(value, str) and _INTEGER.fullmatch(value):
        number = int(value)
    else:
        number = _whole(value)
    if not low <= number <= high:
        raise InvalidValue("integer out of range")
    return number


def _whole(value: object) -> int:
    """Return an integer that is written like a fraction or with an exponent."""
    if isinstance(value, str) and _NUMBER.fullmatch(value):
        value = float(value)
    if isinstance(value, float) and value.is_integer():
        return int(value)
    raise InvalidValue("not an integer")


class Integer(Type):
    """Integers as varints. Those of 64 bits are texts in JSON, since many readers would round them."""

    def __init__(self, bits: int, *, signed: bool, zigzag: bool = False) -> None:
        self.wire_type = VARINT
        self._low = -(1 << (bits - 1)) if signed else 0
        self._high = (1 << (bits - 1)) - 1 if signed else (1 << bits) - 1
        self._zigzag = zigzag
        self._has_sign = signed
        self._mask = (1 << bits) - 1
        self._wraps = 1 << bits
        self._text = bits == 64

    def encode(self, value: object, depth: int) -> bytes:
        """Negative ones take ten bytes where they are not zigzag."""
        number = as_integer(value, self._low, self._high)
        if self._zigzag:
            return encode_varint(number << 1 if number >= 0 else (-number << 1) - 1)
        return encode_varint(number if number >= 0 else number + _WORD)

    def decode(self, data: bytes, at: int, end: int, depth: int) -> tuple[object, int]:
        """What does not fit is cut off, as protobuf has it."""
        number, at = read_varint(data, at)
        number &= self._mask
        if self._zigzag:
            number = -((number + 1) >> 1) if number & 1 else number >> 1
        elif self._has_sign and number > self._high:
            number -= self._wraps
        return str(number) if self._text else number, at

    @property
    def default(self) -> object:
        """Zero."""
        return "0" if self._text else 0


class FixedInteger(Type):
    """Integers of four or eight bytes."""

    def __init__(self, bits: int, *, signed: bool) -> None:
        self.wire_type = FIXED64 if bits == 64 else FIXED32
        self._size = bits // 8
        self._has_sign = signed
        self._low = -(1 << (bits - 1)) if signed else 0
        self._high = (1 << (bits - 1)) - 1 if signed else (1 << bits) - 1
        self._text = bits == 64

    def encode(self, value: object, depth: int) -> bytes:
        """Little-endian."""
        return as_integer(value, self._low, self._high).to_bytes(self._size, "little", signed=self._has_sign)

    def decode(self, data: bytes, at: int, end: int, depth: int) -> tuple[object, int]:
        """The same back."""
        stop = at + self._size
        if stop > end:
            raise MalformedMessage("a number is cut off")
        number = int.from_bytes(data[at:stop], "little", signed=self._has_sign)
        return str(number) if self._text else number, stop

    @property
    def default(self) -> object:
        """Zero."""
        return "0" if self._text else 0


def as_double(value: object) -> float:
    """Return a number that JSON has as one, or as a text. Raises InvalidValue."""
    if isinstance(value, str):
        if value in _NAMED:
            return _NAMED[value]
        if not _NUMBER.fullmatch(value):
            raise InvalidValue("not a number")
        number = float(value)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        try:
            number = float(value)
        except OverflowError:
            raise InvalidValue("number out of range") from None
    else:
        raise InvalidValue("not a number")
    if math.isinf(number):
        raise InvalidValue("number out of range")
    return number


def double_json(number: float) -> object:
    """Return what JSON has for a number: a text for what is no number there."""
    if math.isfinite(number):
        return number
    if math.isnan(number):
        return "NaN"
    return "Infinity" if number > 0 else "-Infinity"


class Double(Type):
    """Numbers of eight bytes."""

    wire_type = FIXED64

    def encode(self, value: object, depth: int) -> bytes:
        """IEEE 754, little-endian."""
        return _DOUBLE.pack(as_double(value))

    def decode(self, data: bytes, at: int, end: int, depth: int) -> tuple[object, int]:
        """The same back."""
        stop = at + 8
        if stop > end:
            raise MalformedMessage("a number is cut off")
        number: float = _DOUBLE.unpack_from(data, at)[0]
        return double_json(number), stop

    @property
    def default(self) -> object:
        """Zero."""
        return 0.0


class Float(Type):
    """Numbers of four bytes."""

    wire_type = FIXED32

    def encode(self, value: object, depth: int) -> bytes:
        """Round to the nearest there is."""
        try:
            return _SINGLE.pack(as_double(value))
        except OverflowError:
            raise InvalidValue("number out of range") from None

    def decode(self, data: bytes, at: int, end: int, depth: int) -> tuple[object, int]:
        """As few digits as tell it apart from its neighbours."""
        stop = at + 4
        if stop > end:
            raise MalformedMessage("a number is cut off")
        number: float = _SINGLE.unpack_from(data, at)[0]
        if not math.isfinite(number):
            return double_json(number), stop
        return _shortest(number), stop

    @property
    def default(self) -> object:
        """Zero."""
        return 0.0


def _shortest(number: float) -> float:
    if number.is_integer() and abs(number) < 1e6:
        return number
    for digits in _FLOAT_DIGITS:
        short = float(f"{number:.{digits}g}")
        try:
            if _SINGLE.unpack(_SINGLE.pack(short))[0] == number:
                return short
        except OverflowError:  # rounded up beyond the greatest float
            continue
    return float(f"{number:.9g}")


class Boolean(Type):
    """True or false."""

    wire_type = VARINT

    def encode(self, value: object, depth: int) -> bytes:
        """One byte."""
        if value is True:
            return b"\x01"
        if value is False:
            return b"\x00"
        raise InvalidValue("neither true nor false")

    def decode(self, data: bytes, at: int, end: int, depth: int) -> tuple[object, int]:
        """Every number but 0 is true."""
        number, at = read_varint(data, at)
        return number != 0, at

    def parse(self, text: str) -> object:
        """Take the words that JSON has."""
        if text not in ("true", "false"):
            raise InvalidValue("neither true nor false")
        return text == "true"

    @property
    def default(self) -> object:
        """False."""
        return False


class Text(Type):
    """Texts, in UTF-8."""

    def encode(self, value: object, depth: int) -> bytes:
        """Length and text."""
        if not isinstance(value, str):
            raise InvalidValue("not a string")
        encoded = value.encode()
        return encode_varint(len(encoded)) + encoded

    def decode(self, data: bytes, at: int, end: int, depth: int) -> tuple[object, int]:
        """Raises MalformedMessage for what is not UTF-8."""
        at, stop = read_size(data, at, end)
        try:
            return data[at:stop].decode(), stop
        except UnicodeDecodeError:
            raise MalformedMessage("a string is not UTF-8") from None

    @property
    def default(self) -> object:
        """No text."""
        return ""


class Binary(Type):
    """Bytes, which JSON has in base64: read in both alphabets, padded or not."""

    def encode(self, value: object, depth: int) -> bytes:
        """Length and bytes."""
        if not isinstance(value, str):
            raise InvalidValue("not a string in base64")
        content = from_base64(value)
        return encode_varint(len(content)) + content

    def decode(self, data: bytes, at: int, end: int, depth: int) -> tuple[object, int]:
        """The standard alphabet, padded."""
        at, stop = read_size(data, at, end)
        return base64.b64encode(data[at:stop]).decode(), stop

    @property
    def default(self) -> object:
        """No bytes."""
        return ""


def from_base64(text: str) -> bytes:
    """Return what a text in base64 stands for. Raises InvalidValue."""
    standard = text.replace("-", "+").replace("_", "/")
    if not _BASE64.fullmatch(standard):
        raise InvalidValue("not base64")
    bare = standard.rstrip("=")
    if len(bare) % 4 == 1 or (len(bare) != len(standard) and len(standard) % 4):
        raise InvalidValue("not base64")
    return binascii.a2b_base64(bare + "=" * (-len(bare) % 4))


class Enumeration(Type):
    """One of some names; JSON may have the number in place of it."""

    def __init__(self, numbers: Mapping[str, int], *, closed: bool, as_numbers: bool = False) -> None:
        """`closed`: there are no other numbers (proto2); what comes with one is no value."""
        self.wire_type = VARINT
        self._numbers = dict(numbers)
        self._names: dict[int, str] = {}
        for name, number in numbers.items():
            self._names.setdefault(number, name)
        self._closed = closed
        self._as_numbers = as_numbers
        self._first = next(iter(numbers.values()), 0)

    def encode(self, value: object, depth: int) -> bytes:
        """A number that has no name is taken where the enumeration is open."""
        number: int | None
        if isinstance(value, str):
            number = self._numbers.get(value)
            if number is None:
                raise InvalidValue("not a name of the enumeration")
        else:
            number = as_integer(value, -(1 << 31), (1 << 31) - 1)
            if self._closed and number not in self._names:
                raise InvalidValue("not a number of the enumeration")
        return encode_varint(number if number >= 0 else number + _WORD)

    def decode(self, data: bytes, at: int, end: int, depth: int) -> tuple[object, int]:
        """None for what is no value."""
        number, at = read_varint(data, at)
        number &= 0xFFFFFFFF
        if number > 0x7FFFFFFF:
            number -= 0x100000000
        return self._told(number), at

    def _told(self, number: int) -> object:
        name = self._names.get(number)
        if name is None and self._closed:
            return None
        return number if name is None or self._as_numbers else name

    def parse(self, text: str) -> object:
        """Take the number too."""
        return int(text) if _INTEGER.fullmatch(text) and len(text) < 12 else text

    @property
    def default(self) -> object:
        """The first one."""
        return self._told(self._first)


class Null(Type):
    """google.protobuf.NullValue: null."""

    takes_null = True
    wire_type = VARINT

    def encode(self, value: object, depth: int) -> bytes:
        """Its name and number are taken as well."""
        if value is None or value == "NULL_VALUE" or (value == 0 and not isinstance(value, bool)):
            return b"\x00"
        raise InvalidValue("not null")

    def decode(self, data: bytes, at: int, end: int, depth: int) -> tuple[object, int]:
        """Null whatever the number."""
        return None, read_varint(data, at)[1]
