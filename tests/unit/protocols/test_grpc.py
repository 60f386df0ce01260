"""gRPC over HTTP/2: content types, deadlines, statuses, message framing."""

from __future__ import annotations

from itertools import pairwise
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgewise.protocols.errors import ProtocolError
from edgewise.protocols.grpc import (
    Kind,
    MessageDecoder,
    Status,
    edge_status,
    encode_message,
    encode_message_text,
    find_status,
    format_timeout,
    kind_of,
    parse_timeout,
    status_fields,
    status_name,
    subtype,
    trailers_only,
)


@pytest.mark.parametrize(
    ("content_type", "kind"),
    [
        (b"application/grpc", Kind.GRPC),
        (b"application/grpc+proto", Kind.GRPC),
        (b"Application/gRPC+JSON", Kind.GRPC),
        (b"application/grpc;charset=utf-8", Kind.GRPC),
        (b"application/grpc+proto ; charset=utf-8", Kind.GRPC),
        (b"application/grpc-web", Kind.WEB),
        (b"application/grpc-web+proto", Kind.WEB),
        (b"application/grpc-web-text", Kind.WEB_TEXT),
        (b"application/grpc-web-text+proto", Kind.WEB_TEXT),
        (None, Kind.NONE),
        (b"", Kind.NONE),
        (b"application/grpcx", Kind.NONE),
        (b"application/grpc-webby", Kind.NONE),
        (b"application/grpc-text", Kind.NONE),
        (b"application/grpc+", Kind.NONE),
        (b"application/grpc proto", Kind.NONE),
        (b"application/json", Kind.NONE),
        (b"text/plain; application/grpc", Kind.NONE),
    ],
)
def test_the_content_type_tells_what_a_request_is(content_type: bytes | None, kind: Kind) -> None:
    assert kind_of(content_type) == kind


def test_the_subtype_names_the_format_of_messages() -> None:
    assert subtype(b"application/grpc") == b""
    assert subtype(b"application/grpc-web-text+Proto; x=y") == b"+proto"
    assert subtype(b"text/plain+proto") == b""


@pytest.mark.parametrize(
    ("value", "seconds"),
    [(b"1H", 3600), (b"2M", 120), (b"3S", 3), (b"4m", 0.004), (b"5u", 5e-6), (b"6n", 6e-9), (b"0S", 0), (b"007S", 7)],
)
def test_a_timeout_is_digits_and_a_unit(value: bytes, seconds: float) -> None:
    assert parse_timeout(value) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "value",
    [b"", b"S", b"1", b"1s", b"1h", b"1N", b"-1S", b"+1S", b"1_0S", b" 1S", b"1S ", b"1 S", b"1.5S", b"123456789S",
     b"1S\n", b"1SS", b"\xb2S", b"1e3S"],
)  # fmt: skip
def test_any_other_timeout_is_refused(value: bytes) -> None:
    with pytest.raises(ProtocolError) as raised:
        parse_timeout(value)
    assert raised.value.status == 400


@pytest.mark.parametrize(
    ("seconds", "value"),
    [
        (-1.0, b"1n"),
        (0.0, b"1n"),
        (0.05, b"50000000n"),
        (0.25, b"250000u"),
        (5.0, b"5000000u"),
        (100.0, b"100000m"),
        (1e5, b"100000S"),
        (99_999_999.0, b"99999999S"),
        (1e8, b"1666666M"),
        (1e300, b"99999999H"),
    ],
)
def test_a_timeout_is_written_as_exactly_as_eight_digits_allow(seconds: float, value: bytes) -> None:
    assert format_timeout(seconds) == value


@given(st.floats(1e-7, 3e11))
def test_a_timeout_passed_on_is_valid_never_longer_and_hardly_shorter(seconds: float) -> None:
    assert seconds * 0.99 - 3600 * (seconds > 5e9) <= parse_timeout(format_timeout(seconds)) <= seconds * (1 + 1e-12)


@pytest.mark.parametrize(
    ("http", "status"),
    [
        (400, Status.INTERNAL),
        (401, Status.UNAUTHENTICATED),
        (403, Status.PERMISSION_DENIED),
        (404, Status.UNIMPLEMENTED),
        (408, Status.DEADLINE_EXCEEDED),
        (413, Status.RESOURCE_EXHAUSTED),
        (418, Status.UNKNOWN),
        (429, Status.RESOURCE_EXHAUSTED),
        (502, Status.UNAVAILABLE),
        (503, Status.UNAVAILABLE),
        (504, Status.DEADLINE_EXCEEDED),
    ],
)
def test_failures_of_the_edge_have_a_grpc_status(http: int, status: Status) -> None:
    assert edge_status(http) == status


@pytest.mark.parametrize(
    ("lines", "status"),
    [
        (b"grpc-status: 0\r\n", 0),
        (b"x: y\r\nGrpc-Status:14 \r\ngrpc-message: a\r\n", 14),
        (b"HTTP/1.1 200 OK\r\ngrpc-status: 5\r\n\r\n", 5),
        (b"grpc-status: 99\r\n", 99),
        (b"grpc-status: 100\r\n", Status.UNKNOWN),
        (b"grpc-status: \r\n", Status.UNKNOWN),
        (b"grpc-status: +1\r\n", Status.UNKNOWN),
        (b"grpc-status: \xb2\r\n", Status.UNKNOWN),
        (b"x-grpc-status: 3\r\ngrpc-status-details-bin: 4\r\ny: grpc-status: 5\r\n", None),
        (b"", None),
    ],
)
def test_the_status_is_found_among_field_lines(lines: bytes, status: int | None) -> None:
    assert find_status(lines) == status


def test_a_code_has_a_name() -> None:
    assert [status_name(code) for code in (0, 16, 17)] == ["OK", "UNAUTHENTICATED", "17"]


def test_an_answer_without_messages_has_its_status_among_the_fields() -> None:
    assert trailers_only(Status.UNAVAILABLE, "no server") == (
        (b"Content-Type", b"application/grpc"),
        (b"grpc-status", b"14"),
        (b"grpc-message", b"no server"),
    )
    assert status_fields(Status.OK) == ((b"grpc-status", b"0"),)


def test_a_message_text_is_percent_encoded_utf_8() -> None:
    assert encode_message_text("50% of “it” ~\r\n") == b"50%25 of %E2%80%9Cit%E2%80%9D ~%0D%0A"


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_a_message_text_is_one_printable_line_that_decodes_to_the_text(text: str) -> None:
    encoded = encode_message_text(text)
    assert all(0x20 <= byte <= 0x7E for byte in encoded)
    assert unquote(encoded.decode("ascii")) == text


# ---- messages --------------------------------------------------------------------------------------------------------


def test_a_message_has_flags_and_length_before_it() -> None:
    assert encode_message(b"hello") == b"\0\0\0\0\5hello"
    assert encode_message(b"", 1) == b"\1\0\0\0\0"


@given(
    st.lists(st.tuples(st.integers(0, 1), st.binary(max_size=300)), max_size=8),
    st.lists(st.integers(0, 2500), max_size=12),
)
def test_messages_come_out_as_they_went_in_however_they_are_cut(
    messages: list[tuple[int, bytes]], cuts: list[int]
) -> None:
    data = b"".join(encode_message(message, flags) for flags, message in messages)
    edges = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    decoder = MessageDecoder()
    assert [one for start, end in pairwise(edges) for one in decoder.feed(data[start:end])] == messages
    assert decoder.whole


def test_content_cut_within_a_message_is_not_whole() -> None:
    decoder = MessageDecoder()
    assert decoder.feed(encode_message(b"a") + b"\0\0") == [(0, b"a")]
    assert not decoder.whole


@pytest.mark.parametrize("data", [b"\2\0\0\0\0", b"\x80\0\0\0\0", b"\0\0\0\0\x65", b"\0\xff\xff\xff\xff"])
def test_unknown_flags_and_long_messages_are_refused_before_they_are_gathered(data: bytes) -> None:
    with pytest.raises(ProtocolError):
        MessageDecoder(limit=100).feed(data)
