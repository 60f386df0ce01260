"""The chunked coding: whole, byte by byte, with bytes behind it, and what must be refused."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgewise.http.head import Field
from edgewise.protocols.errors import ProtocolError
from edgewise.protocols.http1 import LAST_CHUNK, ChunkedDecoder, encode_chunk, encode_last_chunk

Result = tuple[bytes, bool, bytes, tuple[Field, ...]]


def decode(pieces: list[bytes], decoder: ChunkedDecoder | None = None) -> Result:
    decoder = decoder or ChunkedDecoder()
    content = b"".join(part for piece in pieces for part in decoder.feed(piece))
    return content, decoder.done, decoder.rest, decoder.trailers


def byte_by_byte(data: bytes) -> list[bytes]:
    return [data[at : at + 1] for at in range(len(data))]


def refused(data: bytes, status: int = 400, **limits: int) -> bool:
    """Is `data` refused whole and byte by byte alike?"""
    outcomes = []
    for pieces in ([data], byte_by_byte(data)):
        try:
            decode(pieces, ChunkedDecoder(status, **limits))
            outcomes.append(0)
        except ProtocolError as error:
            outcomes.append(error.status)
    assert outcomes[0] == outcomes[1]
    return outcomes[0] == status


WHOLE = [
    (b"0\r\n\r\n", b""),
    (b"000\r\n\r\n", b""),
    (b"5\r\nhello\r\n0\r\n\r\n", b"hello"),
    (b"1\r\na\r\n1\r\nb\r\n0\r\n\r\n", b"ab"),
    (b"a\r\n0123456789\r\nA\r\n0123456789\r\n0\r\n\r\n", b"01234567890123456789"),
    (b"0000000000000001\r\na\r\n0\r\n\r\n", b"a"),
    (b'1;a=b;c="d"\r\na\r\n0;e\r\n\r\n', b"a"),
    (b"1 ;a\r\na\r\n0\r\n\r\n", b"a"),
    (b"2\r\n\r\n\r\n0\r\n\r\n", b"\r\n"),
]


@pytest.mark.parametrize(("data", "content"), WHOLE)
def test_content_is_the_same_whole_byte_by_byte_and_with_bytes_behind_it(data: bytes, content: bytes) -> None:
    assert decode([data]) == (content, True, b"", ())
    assert decode(byte_by_byte(data)) == (content, True, b"", ())
    assert decode([data + b"GET / HTTP/1.1\r\n"]) == (content, True, b"GET / HTTP/1.1\r\n", ())
    assert decode([data, b"GET", b" /"]) == (content, True, b"GET /", ())


@pytest.mark.parametrize("data", [whole[0] for whole in WHOLE])
def test_cut_short_it_is_not_done_and_no_error(data: bytes) -> None:
    for end in range(len(data)):
        assert not decode([data[:end]])[1]


@pytest.mark.parametrize(
    "data",
    [
        b"\r\n",
        b"\n",
        b"g\r\n",
        b" 1\r\na\r\n",
        b"1 \r\na\r\n",
        b"+1\r\na\r\n",
        b"-1\r\na\r\n",
        b"0x1\r\na\r\n",
        b"1_0\r\n",
        b"1.\r\n",
        b"\xb2\r\n",
        b"00000000000000001\r\na\r\n",
        b"10000000000000000\r\n",
        b"1\na\r\n",
        b"1\ra\r\n",
        b"1\r\r\na\r\n",
        b"1;a\nb\r\na\r\n",
        b"1;a\rb\r\na\r\n",
        b"1;a\x00\r\na\r\n",
        b"1;a\x0b\r\na\r\n",
        b"1\x0b;a\r\na\r\n",
        b"1,a\r\na\r\n",
        b"1\r\nab\r\n",
        b"1\r\na\n0\r\n\r\n",
        b"1\r\na\rb",
        b"1\r\na0\r\n\r\n",
        b"2\r\na\r\n0\r\n\r\n",
        b"0\n\n",
        b"0\r\n\n",
        b"0\r\n\rX",
        b"0\r\nX\r\n\r\n",
        b"0\r\n: a\r\n\r\n",
        b"0\r\nX : a\r\n\r\n",
        b"0\r\n X: a\r\n\r\n",
        b"0\r\nX: a\r\n b\r\n\r\n",
        b"0\r\nX: a\n\r\n",
        b"0\r\nX: a\rb\r\n\r\n",
        b"0\r\nX: \x00\r\n\r\n",
        b"0\r\nGET / HTTP/1.1\r\n\r\n",
    ],
)
def test_ambiguous_framing_is_refused(data: bytes) -> None:
    assert refused(data)
    assert refused(data, 502)


def test_size_lines_are_bounded() -> None:
    assert not refused(b"1;" + b"a" * 252 + b"\r\na\r\n")
    assert refused(b"1;" + b"a" * 253 + b"\r\na\r\n")
    assert refused(b"1;" + b"a" * 300)
    assert refused(b"1" * 300)


def test_extensions_are_bounded_in_the_whole_content() -> None:
    chunk = b"1;" + b"a" * 9 + b"\r\na\r\n"
    assert not refused(chunk * 10, max_extensions=100)
    assert refused(chunk * 11, max_extensions=100)


def test_the_trailer_section_is_bounded() -> None:
    assert not refused(b"0\r\n" + b"X: y\r\n" * 10 + b"\r\n", max_trailers=62)
    assert refused(b"0\r\n" + b"X: y\r\n" * 10 + b"\r\n", max_trailers=61)
    assert refused(b"0\r\nX: " + b"y" * 100, max_trailers=100)


def test_trailers_are_fields() -> None:
    trailers = (Field(b"x-checksum", b"a b", b"X-Checksum: a b\r\n"), Field(b"y", b"", b"Y: \r\n"))
    data = b"1\r\na\r\n0\r\nX-Checksum:  a b \r\nY:\r\n\r\nrest"
    assert decode([data]) == (b"a", True, b"rest", trailers)
    assert decode(byte_by_byte(data)) == (b"a", True, b"rest", trailers)
    assert decode([LAST_CHUNK[:3] + trailers[0].line + b"\r\n"])[3] == trailers[:1]


@pytest.mark.parametrize(
    "name",
    [
        "Content-Length", "Transfer-Encoding", "Host", "Connection", "TE", "Trailer", "Upgrade", "Authorization",
        "Cookie", "Set-Cookie", "Content-Type", "Content-Encoding", "Content-Range", "Cache-Control", "Expect",
        "If-Match", "Range", "X-Forwarded-For", "Forwarded", "Via", "Proxy-Authorization", "X-Accel-Redirect",
        "Access-Control-Allow-Origin", "Location",
    ],
)  # fmt: skip
def test_trailers_that_frame_route_or_identify_are_dropped(name: str) -> None:
    data = f"0\r\nA: 1\r\n{name}: a\r\nB: 2\r\n\r\n".encode()
    assert [field.name for field in decode([data])[3]] == [b"a", b"b"]


def test_a_big_slice_is_passed_on_without_a_copy() -> None:
    decoder = ChunkedDecoder()
    decoder.feed(b"20000\r\n")
    piece = b"x" * 65536
    assert decoder.feed(piece)[0] is piece
    assert decoder.feed(piece)[0] is piece
    assert decoder.feed(b"\r\n0\r\n\r\n") == []
    assert decoder.done


def test_many_tiny_chunks_are_joined() -> None:
    assert decode([b"1\r\na\r\n" * 1000])[0] == b"a" * 1000
    assert len(ChunkedDecoder().feed(b"1\r\na\r\n" * 1000)) == 1


def test_an_empty_chunk_is_not_written_since_it_would_end_the_content() -> None:
    assert encode_chunk(b"") == b""
    assert encode_chunk(b"hello world, hello") == b"12\r\nhello world, hello\r\n"


def test_the_last_chunk_carries_trailers() -> None:
    assert encode_last_chunk() == LAST_CHUNK
    assert encode_last_chunk((Field(b"x", b"y", b"X: y\r\n"),)) == b"0\r\nX: y\r\n\r\n"


@settings(deadline=None)
@given(
    st.lists(st.binary(max_size=40), max_size=10), st.binary(max_size=20), st.lists(st.integers(0, 500), max_size=12)
)
def test_what_was_encoded_is_decoded_however_it_is_cut(parts: list[bytes], behind: bytes, cuts: list[int]) -> None:
    data = b"".join(map(encode_chunk, parts)) + LAST_CHUNK + behind
    edges = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    pieces = [data[start:end] for start, end in pairwise(edges)]
    assert decode(pieces) == (b"".join(parts), True, behind, ())


FRAGMENTS = [*map(bytes, zip(b"01a\r\n; :\0")), b"\r\n", b"5\r\n", b"1\r\na\r\n", b"0\r\nx:y\r\n"]


@settings(deadline=None)
@given(st.lists(st.sampled_from(FRAGMENTS), max_size=30))
def test_the_verdict_does_not_depend_on_how_the_bytes_arrive(parts: list[bytes]) -> None:
    data = b"".join(parts)
    verdicts: list[Result | None] = []
    for pieces in ([data], byte_by_byte(data)):
        try:
            verdicts.append(decode(pieces))
        except ProtocolError:
            verdicts.append(None)
    assert verdicts[0] == verdicts[1]
