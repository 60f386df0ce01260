"""gRPC-Web, binary and text, to gRPC and back."""

from __future__ import annotations

import base64
import re
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgewise.protocols.errors import ProtocolError
from edgewise.protocols.grpc import Kind, encode_message
from edgewise.protocols.grpc_web import ResponseEncoder, TextDecoder, grpc_content_type, wants_text, web_content_type


def decode(pieces: list[bytes]) -> bytes | None:
    """Return what the pieces decode to, None where they are refused."""
    decoder = TextDecoder()
    try:
        content = b"".join(map(decoder.feed, pieces))
        decoder.end()
    except ProtocolError:
        return None
    return content


def cut(data: bytes, cuts: list[int]) -> list[bytes]:
    edges = [0, *sorted(min(at, len(data)) for at in cuts), len(data)]
    return [data[start:end] for start, end in pairwise(edges)]


def byte_by_byte(data: bytes) -> list[bytes]:
    return [data[at : at + 1] for at in range(len(data))]


CUTS = st.lists(st.integers(0, 600), max_size=12)


# ---- content types ---------------------------------------------------------------------------------------------------


def test_the_format_of_messages_stays_in_the_content_type() -> None:
    assert grpc_content_type(b"application/grpc-web") == b"application/grpc"
    assert grpc_content_type(b"application/grpc-web-text+proto") == b"application/grpc+proto"
    assert web_content_type(b"application/grpc", text=False) == b"application/grpc-web"
    assert web_content_type(b"application/grpc+proto", text=True) == b"application/grpc-web-text+proto"


@pytest.mark.parametrize(
    ("kind", "accept", "text"),
    [
        (Kind.WEB, None, False),
        (Kind.WEB, b"*/*", False),
        (Kind.WEB, b"application/grpc-web-text", True),
        (Kind.WEB_TEXT, None, True),
        (Kind.WEB_TEXT, b"*/*", True),
        (Kind.WEB_TEXT, b"application/grpc-web-text", True),
        (Kind.WEB_TEXT, b"application/grpc-web", False),
        (Kind.WEB_TEXT, b"application/grpc-web+proto, application/grpc-web-text+proto", True),
    ],
)
def test_accept_chooses_the_form_of_the_answer(kind: Kind, accept: bytes | None, text: bool) -> None:
    assert wants_text(kind, accept) is text


# ---- requests --------------------------------------------------------------------------------------------------------


@given(st.lists(st.binary(max_size=80), max_size=6), CUTS)
def test_pieces_encoded_one_by_one_decode_however_they_are_cut(pieces: list[bytes], cuts: list[int]) -> None:
    data = b"".join(map(base64.b64encode, pieces))
    assert decode(cut(data, cuts)) == b"".join(pieces)


@pytest.mark.parametrize(
    "data",
    [b"A", b"AA", b"AAA", b"AA=", b"====", b"A===", b"AA=A", b"=AAA", b"AA==A", b"AAA\n", b"AA A", b"AAA-", b"AAA_",
     b"AAAA\r\n\r\n", b"AAA\0", b"AA==="],
)  # fmt: skip
def test_what_is_not_base64_is_refused_whole_and_byte_by_byte(data: bytes) -> None:
    assert decode([data]) is None
    assert decode(byte_by_byte(data)) is None


@given(st.lists(st.sampled_from([b"A", b"=", b"AAAA", b"AA==", b"/+8=", b"\n", b"-"]), max_size=20))
def test_the_verdict_does_not_depend_on_how_the_bytes_arrive(parts: list[bytes]) -> None:
    data = b"".join(parts)
    assert decode([data]) == decode(byte_by_byte(data))


def test_many_padded_groups_take_linear_time() -> None:
    assert decode([b"AA==" * 50_000]) == b"\0" * 50_000


# ---- responses -------------------------------------------------------------------------------------------------------


def padded_groups(data: bytes) -> bytes:
    """Decode base64 that may be padded anywhere, as clients must."""
    return b"".join(base64.b64decode(part, validate=True) for part in re.findall(rb"[^=]+={0,2}", data))


@given(st.lists(st.binary(max_size=80), max_size=6), st.booleans())
def test_messages_pass_and_the_trailers_come_last_as_a_frame(pieces: list[bytes], text: bool) -> None:
    encoder = ResponseEncoder(text=text)
    sent = b"".join(map(encoder.feed, pieces)) + encoder.end(b"Grpc-Status: 0\r\nX-Trace: a:B\r\n")
    trailers = b"grpc-status: 0\r\nx-trace: a:B\r\n"
    frame = b"\x80" + encode_message(trailers)[1:]
    assert (padded_groups(sent) if text else sent) == b"".join(pieces) + frame


def test_each_piece_of_text_can_be_decoded_when_it_arrives() -> None:
    encoder = ResponseEncoder(text=True)
    assert base64.b64decode(encoder.feed(encode_message(b"a")), validate=True) == encode_message(b"a")


def test_a_server_that_sent_no_status_is_told_as_a_status() -> None:
    assert b"grpc-status: 2\r\n" in ResponseEncoder(text=False).end(b"")
