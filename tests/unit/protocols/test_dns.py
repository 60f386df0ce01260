"""DNS messages: what is asked, what is understood, and that no bytes from a server do harm."""

from __future__ import annotations

import struct
from contextlib import suppress
from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgewise.protocols import dns
from edgewise.protocols.errors import ProtocolError

ID = 0x1234
QUESTION = b"\x04shop\x08internal\x00"
QUESTION_AT = b"\xc0\x0c"
"""Pointer to the question's name, which begins right after the header."""


def _message(
    *records: bytes, kind: int = dns.A, flags: int = 0x8180, question: bytes = QUESTION, count: int | None = None
) -> bytes:
    header = struct.pack(">HHHHHH", ID, flags, 1, len(records) if count is None else count, 0, 0)
    return header + question + struct.pack(">HH", kind, 1) + b"".join(records)


def _record(kind: int, data: bytes, *, name: bytes = QUESTION_AT, ttl: int = 60, space: int = 1) -> bytes:
    return name + struct.pack(">HHIH", kind, space, ttl, len(data)) + data


def _parse(message: bytes, kind: int = dns.A) -> dns.Answer:
    assert dns.answers(message, ID, "shop.internal", kind)
    return dns.parse_answer(message, "shop.internal", kind)


labels = st.from_regex(r"\A[a-z0-9_-]{1,20}\Z")
names = st.lists(labels, min_size=1, max_size=5).map(".".join)


def test_a_query_asks_one_question_with_recursion_and_room_for_the_answer() -> None:
    expected = bytes.fromhex("1234 0100 0001 0000 0000 0001") + QUESTION + bytes.fromhex("0021 0001")
    options = bytes.fromhex("00 0029 04d0 00000000 0000")
    assert dns.encode_query(ID, "Shop.Internal.", dns.SRV) == expected + options


@pytest.mark.parametrize(
    "name", ["", ".", "a..b", ".a", "a b", "ä.internal", "a" * 64, ".".join(["a" * 60] * 5), "a\n"]
)
def test_what_is_no_name_is_not_asked(name: str) -> None:
    with pytest.raises(ValueError, match="DNS name"):
        dns.encode_query(ID, name, dns.A)


def test_addresses_come_with_the_least_ttl() -> None:
    answer = _parse(
        _message(_record(dns.A, bytes([192, 0, 2, 1]), ttl=60), _record(dns.A, bytes([192, 0, 2, 2]), ttl=30))
    )
    assert [record.data for record in answer.records] == [IPv4Address("192.0.2.1"), IPv4Address("192.0.2.2")]
    assert (answer.code, answer.truncated, answer.ttl) == (dns.NO_ERROR, False, 30)


def test_ipv6_addresses_are_understood() -> None:
    address = IPv6Address("2001:db8::1")
    answer = _parse(_message(_record(dns.AAAA, address.packed), kind=dns.AAAA), dns.AAAA)
    assert [record.data for record in answer.records] == [address]


@given(st.integers(0, 65535), st.integers(0, 65535), st.integers(0, 65535), names)
def test_services_are_understood(priority: int, weight: int, port: int, target: str) -> None:
    encoded = dns.encode_query(0, target, dns.A)[12:].partition(b"\0")[0] + b"\0"
    data = struct.pack(">HHH", priority, weight, port) + encoded
    answer = _parse(_message(_record(dns.SRV, data), kind=dns.SRV), dns.SRV)
    assert [record.data for record in answer.records] == [dns.Service(priority, weight, port, target)]


def test_the_root_as_target_is_an_empty_name() -> None:
    answer = _parse(_message(_record(dns.SRV, bytes(7)), kind=dns.SRV), dns.SRV)
    assert answer.records[0].data == dns.Service(0, 0, 0, "")


def test_aliases_are_followed_and_count_for_the_ttl() -> None:
    alias = _record(dns.CNAME, b"\x03web\xc0\x11", ttl=5)
    address = _record(dns.A, bytes([192, 0, 2, 1]), name=b"\x03WEB\x08INTERNAL\0", ttl=60)
    answer = _parse(_message(alias, address))
    assert [(record.name, record.data) for record in answer.records] == [("web.internal", IPv4Address("192.0.2.1"))]
    assert answer.ttl == 5


def test_aliases_in_a_circle_end() -> None:
    there = _record(dns.CNAME, b"\x03web\xc0\x11")
    back = _record(dns.CNAME, QUESTION_AT, name=b"\x03web\xc0\x11")
    assert _parse(_message(there, back)).records == ()


def test_records_of_other_names_types_and_classes_are_left_out() -> None:
    answer = _parse(
        _message(
            _record(dns.A, bytes([192, 0, 2, 9]), name=b"\x05other\xc0\x11"),
            _record(16, b"\x04text"),
            _record(dns.A, bytes([192, 0, 2, 8]), space=3),
            _record(dns.A, bytes([192, 0, 2, 1])),
        )
    )
    assert [str(record.data) for record in answer.records] == ["192.0.2.1"]


def test_a_name_that_does_not_exist_is_an_answer() -> None:
    assert _parse(_message(flags=0x8183)) == dns.Answer(dns.NO_SUCH_NAME, False, (), 0)


def test_a_truncated_answer_says_so_and_is_not_read_further() -> None:
    assert _parse(_message(b"\xff", flags=0x8380)) == dns.Answer(dns.NO_ERROR, True, (), 0)


def test_a_ttl_with_the_sign_bit_is_zero() -> None:
    assert _parse(_message(_record(dns.A, bytes(4), ttl=0x80000001))).ttl == 0


@pytest.mark.parametrize(
    ("message", "why"),
    [
        (b"", "empty"),
        (b"\x12", "cut off"),
        (_message()[:11], "cut off in the header"),
        (_message()[:20], "cut off in the question"),
        (b"\x43\x21" + _message()[2:], "another id"),
        (_message(flags=0x0100), "a query"),
        (_message(flags=0xA180), "another opcode"),
        (_message(kind=dns.AAAA), "another type"),
        (_message(question=b"\x05other\x08internal\0"), "another name"),
        (_message(question=b"\xc0\x0c"), "a pointer to itself"),
    ],
)
def test_what_does_not_answer_the_question_is_not_read(message: bytes, why: str) -> None:
    assert not dns.answers(message, ID, "shop.internal", dns.A), why


def test_names_are_compared_without_case_and_final_dot() -> None:
    assert dns.answers(_message(question=b"\x04SHOP\x08Internal\0"), ID, "shop.INTERNAL.", dns.A)


AFTER_QUESTION = len(_message())


@pytest.mark.parametrize(
    "name",
    [
        struct.pack(">H", 0xC000 | AFTER_QUESTION),  # to itself
        struct.pack(">H", 0xC000 | (AFTER_QUESTION + 2)),  # forward
        b"\x01a" + struct.pack(">H", 0xC000 | AFTER_QUESTION),  # to its own beginning
        b"\xff\xff",  # beyond the message
        b"\x80a\0",  # a reserved kind of label
        b"\x40" + b"a" * 64 + b"\0",
        b"\x03a.b\0",  # a dot within a label
        b"\x02a\0\0",  # a zero byte within a label
        (b"\x3f" + b"a" * 63) * 4 + b"\0",  # longer than a name may be
    ],
)
def test_a_malformed_name_is_refused(name: bytes) -> None:
    with pytest.raises(ProtocolError):
        _parse(_message(_record(dns.A, bytes(4), name=name)))


def test_pointers_that_lead_back_and_forth_are_refused() -> None:
    first = _record(16, struct.pack(">H", 0xC000 | (AFTER_QUESTION + 30)))
    second = _record(dns.CNAME, struct.pack(">H", 0xC000 | (AFTER_QUESTION + 12)))
    with pytest.raises(ProtocolError):
        _parse(_message(first, second + bytes(20)))


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        (dns.A, bytes(3)),
        (dns.A, bytes(5)),
        (dns.AAAA, bytes(4)),
        (dns.SRV, bytes(6)),
        (dns.SRV, bytes(8)),
        (dns.CNAME, b"\x01a\0\0"),
    ],
)
def test_record_data_of_the_wrong_size_is_refused(kind: int, data: bytes) -> None:
    with pytest.raises(ProtocolError):
        _parse(_message(_record(kind, data)))


def test_more_records_than_the_message_holds_are_refused() -> None:
    with pytest.raises(ProtocolError):
        _parse(_message(_record(dns.A, bytes(4)), count=2))


def test_a_huge_number_of_records_is_refused() -> None:
    with pytest.raises(ProtocolError, match="too many records"):
        _parse(_message(*[_record(dns.A, bytes(4))] * (dns.MOST_RECORDS + 1)))


@given(st.data())
def test_no_change_to_an_answer_raises_anything_but_a_protocol_error(data: st.DataObject) -> None:
    message = bytearray(
        _message(
            _record(dns.CNAME, b"\x03web\xc0\x11"),
            _record(dns.SRV, bytes(6) + b"\x01a\xc0\x11", name=b"\x03web\xc0\x11"),
            kind=dns.SRV,
        )
    )
    for _ in range(data.draw(st.integers(1, 6))):
        message[data.draw(st.integers(0, len(message) - 1))] = data.draw(st.integers(0, 255))
    cut = bytes(message[: data.draw(st.integers(0, len(message)))])
    if dns.answers(cut, ID, "shop.internal", dns.SRV):
        with suppress(ProtocolError):
            dns.parse_answer(cut, "shop.internal", dns.SRV)


@given(st.binary(max_size=200))
def test_arbitrary_bytes_after_the_question_raise_nothing_but_a_protocol_error(rest: bytes) -> None:
    with suppress(ProtocolError):
        _parse(_message(rest, count=3))
