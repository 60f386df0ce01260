"""The wire format of protocol buffers: varints, tags, and what can be skipped unread."""

from __future__ import annotations

from typing import Final

from edgewise.protocols.protobuf.errors import MalformedMessage

VARINT: Final = 0
FIXED64: Final = 1
DELIMITED: Final = 2
GROUP: Final = 3
END_GROUP: Final = 4
FIXED32: Final = 5

DEEPEST: Final = 100
"""Messages within messages at most, as protobuf's own libraries have it."""
_LONGEST: Final = 70
"""Bits at which a varint of ten bytes ends."""
_SHORT = tuple(bytes((number,)) for number in range(128))


def read_varint(data: bytes, at: int) -> tuple[int, int]:
    """Return the number at `at`, and where it ends. Raises MalformedMessage, and IndexError where the bytes end."""
    byte = data[at]
    at += 1
    if byte < 0x80:
        return byte, at
    number = byte & 0x7F
    shift = 7
    while shift < _LONGEST:
        byte = data[at]
        at += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number & 0xFFFFFFFFFFFFFFFF, at
        shift += 7
    raise MalformedMessage("a varint is too long")


def encode_varint(number: int) -> bytes:
    """Return a varint; `number` from 0 to 2**64 - 1."""
    if number < 0x80:
        return _SHORT[number]
    encoded = bytearray()
    while number > 0x7F:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)


def encode_tag(number: int, wire_type: int) -> bytes:
    """Return what stands before a field's value."""
    return encode_varint(number << 3 | wire_type)


def encode_delimited(content: bytes) -> bytes:
    """Return content with its length before it."""
    return encode_varint(len(content)) + content


def read_size(data: bytes, at: int, end: int) -> tuple[int, int]:
    """Return where the length-delimited content at `at` begins and ends; it ends before `end`."""
    size = data[at]
    if size < 0x80:
        at += 1
    else:
        size, at = read_varint(data, at)
    if size > end - at:
        raise MalformedMessage("a field is longer than its message")
    return at, at + size


def skip(data: bytes, at: int, end: int, tag: int, depth: int) -> int:
    """Return where the value behind `tag` ends that nobody knows. Raises MalformedMessage."""
    wire_type = tag & 7
    if not tag >> 3:
        raise MalformedMessage("field number 0")
    if wire_type == VARINT:
        return read_varint(data, at)[1]
    if wire_type == DELIMITED:
        return read_size(data, at, end)[1]
    if wire_type == FIXED64:
        return at + 8
    if wire_type == FIXED32:
        return at + 4
    if wire_type == GROUP and depth < DEEPEST:
        return _skip_group(data, at, end, tag, depth + 1)
    raise MalformedMessage(f"wire type {wire_type}")


def fields_of(data: bytes, at: int, end: int) -> list[tuple[int, int, int]]:
    """Return (tag, where its value begins, where it ends) of each field; the length before content is no part of it.

    Raises MalformedMessage or IndexError.
    """
    found: list[tuple[int, int, int]] = []
    while at < end:
        tag, at = read_varint(data, at)
        if tag & 7 == DELIMITED and tag >> 3:
            start, at = read_size(data, at, end)
        else:
            start = at
            at = skip(data, at, end, tag, 0)
        if at > end:
            raise MalformedMessage("a field is longer than its message")
        found.append((tag, start, at))
    return found


def _skip_group(data: bytes, at: int, end: int, begun: int, depth: int) -> int:
    last = begun + (END_GROUP - GROUP)
    while at < end:
        tag, at = read_varint(data, at)
        if tag == last:
            return at
        at = skip(data, at, end, tag, depth)
    raise MalformedMessage("a group does not end")
