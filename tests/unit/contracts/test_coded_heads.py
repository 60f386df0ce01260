"""Which answers are compressed, for whom, and what becomes of their fields (RFC 9110)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from edgewise.contracts.coded_heads import coded_lines, coding_for, coding_of, compressible
from edgewise.contracts.compression import Compression
from edgewise.http.head import Field, plain_head
from edgewise.protocols.http1 import parse_response_head

ALL = Compression((b"br", b"zstd", b"gzip"), {b"br": 4, b"zstd": 3, b"gzip": 6})


def fields(*pairs: tuple[str, str]) -> tuple[Field, ...]:
    return tuple(Field(name.lower().encode(), value.encode(), f"{name}: {value}\r\n".encode()) for name, value in pairs)


def is_compressible(*lines: str, status: int = 200, compression: Compression = ALL) -> bool:
    given = "".join(f"{line}\r\n" for line in lines)
    return compressible(compression, parse_response_head(f"HTTP/1.1 {status} X\r\n{given}\r\n".encode()))


HTML, LONG = "Content-Type: text/html; charset=utf-8", "Content-Length: 5000"


@pytest.mark.parametrize(
    ("accepted", "coding"), [("gzip, br", b"br"), ("gzip", b"gzip"), ("identity", b""), ("br;q=0.1, gzip", b"gzip")]
)
def test_the_client_says_which_coding(accepted: str, coding: bytes) -> None:
    assert coding_for(ALL, plain_head(fields=fields(("Accept-Encoding", accepted)))) == coding


def test_no_word_of_codings_means_none() -> None:
    assert coding_for(ALL, plain_head()) == b""


def test_http_1_0_gets_content_as_it_is() -> None:
    assert coding_for(ALL, plain_head(fields=fields(("Accept-Encoding", "gzip")), minor=0)) == b""


@pytest.mark.parametrize("secret", ["Cookie", "Authorization"])
def test_answers_to_one_user_may_be_left_alone(secret: str) -> None:
    asked = fields(("Accept-Encoding", "gzip"), (secret, "a=1"))
    assert coding_for(ALL, plain_head(fields=asked)) == b"gzip"
    assert coding_for(replace(ALL, anonymous=True), plain_head(fields=asked)) == b""
    assert coding_for(replace(ALL, anonymous=True), plain_head(fields=asked[:1])) == b"gzip"


def test_text_of_some_length_is_compressible() -> None:
    assert is_compressible(HTML, LONG)
    assert is_compressible(HTML, "Transfer-Encoding: chunked")
    assert is_compressible(HTML)
    assert is_compressible("Content-Type: Application/JSON", LONG)
    assert is_compressible(HTML, LONG, status=404)


@pytest.mark.parametrize(
    "line",
    ["Content-Encoding: gzip", "Content-Encoding: identity", "Content-Range: bytes 0-9/10",
     "Cache-Control: no-transform", "Cache-Control: max-age=5, No-Transform", "Content-Digest: sha-256=:a:",
     "Repr-Digest: sha-256=:a:"],
)  # fmt: skip
def test_what_must_stay_what_it_is_does(line: str) -> None:
    assert not is_compressible(HTML, LONG, line)


@pytest.mark.parametrize("status", [101, 103, 204, 206, 304])
def test_answers_without_whole_content_are_not(status: int) -> None:
    assert not is_compressible(HTML, LONG, status=status)


def test_other_types_small_content_and_events_are_not() -> None:
    assert not is_compressible("Content-Type: image/png", LONG)
    assert not is_compressible(LONG)
    assert not is_compressible(HTML, "Content-Length: 1023")
    assert not is_compressible(HTML, "Content-Length: 0", compression=replace(ALL, min_size=0))
    assert not is_compressible("Content-Type: text/event-stream")


def test_types_can_be_named() -> None:
    named = replace(ALL, types=(b"text/event-stream", b"image/*"))
    assert is_compressible("Content-Type: text/event-stream", compression=named)
    assert is_compressible("Content-Type: image/png", LONG, compression=named)
    assert not is_compressible(HTML, LONG, compression=named)


def test_the_fields_tell_of_the_coding() -> None:
    lines = [b'ETag: "a"\r\n', b"Accept-Ranges: bytes\r\n", b"Content-Length: 9\r\n", b"Server: x\r\n"]
    assert coded_lines(lines, b"br") == [
        b'ETag: W/"a"\r\n', b"Server: x\r\n", b"Vary: Accept-Encoding\r\n", b"Content-Encoding: br\r\n",
    ]  # fmt: skip


def test_what_is_not_compressed_now_may_be_for_others() -> None:
    lines = [b'ETag: "a"\r\n', b"Content-Length: 9\r\n"]
    assert coded_lines(lines, b"") == [*lines, b"Vary: Accept-Encoding\r\n"]


@pytest.mark.parametrize("vary", [b"Accept-Encoding", b"Cookie, accept-encoding", b"*"])
def test_vary_is_not_said_twice(vary: bytes) -> None:
    assert coded_lines([b"Vary: %b\r\n" % vary], b"") == [b"Vary: %b\r\n" % vary]


def test_weak_tags_stay_as_they_are() -> None:
    assert coded_lines([b'ETag: W/"a"\r\n'], b"gzip")[0] == b'ETag: W/"a"\r\n'


def test_a_head_tells_its_coding() -> None:
    assert coding_of(b"HTTP/1.1 200 OK\r\nA: b\r\nContent-Encoding: br\r\n\r\n") == b"br"
    assert coding_of(b"HTTP/1.1 200 OK\r\nA: b\r\n\r\n") == b""
