"""Properties of the HTTP/1.1 parser over generated heads, with h11 as the oracle."""

from __future__ import annotations

import re
from contextlib import suppress
from itertools import chain
from typing import Any

import h11
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from edgewise.http.head import CHUNKED, NO_BODY, RequestHead
from edgewise.protocols import http1_fields
from edgewise.protocols.errors import ProtocolError
from edgewise.protocols.http1 import ChunkedDecoder, parse_request_head, parse_response_head
from edgewise.protocols.memo import Memo

MEMOS: tuple[Memo[Any], ...] = (
    http1_fields.FIELDS,
    http1_fields.LINES,
    http1_fields.AUTHORITIES,
    http1_fields.OPTIONS,
    http1_fields.NAMES,
    http1_fields.PASSES,
)
TOKENS = st.text("abcXYZ019-_!~", min_size=1, max_size=8)
VALUES = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), max_size=20)
NAMES = st.one_of(
    TOKENS,
    st.sampled_from([
        "Cookie", "cookie", "Authorization", "Content-Length", "Transfer-Encoding", "Connection", "Upgrade", "Expect",
        "Host", "TE", "Accept", "X-API-Key", "x-api-key",
    ]),
)  # fmt: skip
USUAL_VALUES = st.sampled_from(
    ["5", "0", "chunked", "close", "keep-alive", "upgrade", "websocket", "100-continue", "a.example"]
)
SPACE = st.sampled_from(["", " ", "\t "])
ODD_LINES = st.builds("{}:{}{}{}".format, NAMES, SPACE, st.one_of(USUAL_VALUES, VALUES), SPACE)
SOUND_LINES = st.sampled_from([
    "Cookie: a=b", "cookie:c", "Authorization: Bearer x", "Content-Length: 5", "content-length:0", "Accept: */*",
    "Transfer-Encoding: Chunked", "Connection: close", "Connection: keep-alive, x", "Connection: upgrade",
    "Upgrade: websocket", "Upgrade: h2c", "Expect: 100-continue", "X: \t y ", "X-Empty:", "accept: a, b", "x_y: \"z\"",
    "X-API-Key: k", "X-Api-Key:k", "Connection: x-api-key",
])  # fmt: skip
FIELD_LINES = st.one_of(SOUND_LINES, SOUND_LINES, SOUND_LINES, ODD_LINES)
SEGMENTS = st.sampled_from(["a", "", ".", "..", "%2e", "%41", "%c3%A9", "b;c=d", "~", "x|y"])
TARGETS = st.builds(
    "{}/{}{}".format,
    st.sampled_from(["", "", "", "http://A.example:80", "https://b.example:8443"]),
    st.lists(SEGMENTS, max_size=5).map("/".join),
    st.sampled_from(["", "?", "?a=b&c", "?%41|", "?/../", "?%zz"]),
)
VERSIONS = st.sampled_from(["1.1", "1.1", "1.1", "1.1", "1.1", "1.0", "1.2", "2.0"])
METHODS = st.sampled_from(["GET", "GET", "POST", "POST", "HEAD", "OPTIONS", "PURGE", "CONNECT"])


@st.composite
def request_heads(draw: st.DrawFn) -> bytes:
    """Return a head that looks like a request; most are valid."""
    lines = [f"{draw(METHODS)} {draw(TARGETS)} HTTP/{draw(VERSIONS)}", *draw(st.lists(FIELD_LINES, max_size=5))]
    if draw(st.integers(0, 9)):
        lines.insert(draw(st.integers(1, len(lines))), "Host: a.example")
    return "".join(f"{line}\r\n" for line in lines).encode() + b"\r\n"


def verdict(head: bytes) -> RequestHead | tuple[int, str]:
    try:
        return parse_request_head(head)
    except ProtocolError as error:
        return error.status, error.detail


def forget() -> None:
    for memo in MEMOS:
        memo.forget()


@settings(deadline=None)
@given(request_heads())
def test_a_remembered_head_is_parsed_as_an_unknown_one(head: bytes) -> None:
    known = verdict(head)
    assert verdict(head) == known
    forget()
    assert verdict(head) == known


@settings(deadline=None)
@given(request_heads())
def test_parsing_around_a_secret_is_parsing_the_whole_block(head: bytes) -> None:
    parsed = verdict(head)
    if isinstance(parsed, RequestHead):
        whole = http1_fields.parse_lines(head[head.index(b"\r\n") + 2 :])
        assert (parsed.fields, parsed.forward) == (whole.before, whole.forward)
        assert (parsed.lines.telling, parsed.lines.connection) == (whole.telling, whole.connection)
        assert parsed.body == whole.body


@settings(deadline=None)
@given(request_heads(), st.data())
def test_an_empty_line_before_the_last_is_refused(head: bytes, data: st.DataObject) -> None:
    ends = [found.end() for found in re.finditer(b"\r\n", head)]
    at = data.draw(st.sampled_from(ends))
    assert not isinstance(verdict(head[:at] + b"\r\n" + head[at:]), RequestHead)


@settings(deadline=None)
@given(request_heads())
def test_what_is_forwarded_is_parsed_to_the_same_again(head: bytes) -> None:
    parsed = verdict(head)
    if isinstance(parsed, RequestHead):
        version = b"HTTP/1.%d" % parsed.minor
        again = b"%b %b %b\r\n%b\r\n" % (parsed.method, parsed.target, version, b"".join(f.line for f in parsed.fields))
        if parsed.authority and parsed.get(b"host") is not None:
            assert parse_request_head(again) == parsed


@settings(deadline=None)
@given(request_heads())
@example(b"POST / HTTP/1.1\r\nHost: a.example\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n")
def test_h11_accepts_what_we_accept_and_reads_the_same(head: bytes) -> None:
    ours = verdict(head)
    if not isinstance(ours, RequestHead):
        return
    connection = h11.Connection(h11.SERVER)
    connection.receive_data(head)
    event = connection.next_event()
    assert isinstance(event, h11.Request)
    assert event.method == ours.method
    assert [(name, value.lower()) for name, value in event.headers] == [(f.name, f.value.lower()) for f in ours.fields]
    assert framing(event) == ours.body
    answer = connection.send(h11.Response(status_code=204, headers=[]))
    if ours.minor == 1:  # h11 never keeps an HTTP/1.0 connection
        assert (b"connection: close" not in answer.lower()) == ours.lines.keep_alive


def framing(event: h11.Request) -> int:
    names = {bytes(name): bytes(value) for name, value in event.headers}
    if b"transfer-encoding" in names:
        return CHUNKED
    return int(names.get(b"content-length", NO_BODY))


@settings(deadline=None)
@given(st.binary(max_size=120))
@example(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
def test_arbitrary_bytes_raise_nothing_but_protocol_errors(data: bytes) -> None:
    for head in (data, data + b"\r\n\r\n", b"GET / HTTP/1.1\r\nHost: a\r\n" + data + b"\r\n\r\n"):
        verdict(head)
        verdict(b"GET /" + head)
        for response in (head, b"HTTP/1.1 200 OK\r\n" + head):
            with suppress(ProtocolError):
                parse_response_head(response)
        with suppress(ProtocolError):
            ChunkedDecoder(502).feed(head)


@settings(deadline=None)
@given(request_heads(), st.integers(0, 200), st.binary(min_size=1, max_size=2))
def test_no_control_byte_gets_through_wherever_it_is_put(head: bytes, at: int, junk: bytes) -> None:
    at = min(at, len(head))
    parsed = verdict(head[:at] + junk + head[at:])
    if isinstance(parsed, RequestHead):
        pieces = chain((parsed.target, parsed.method), chain.from_iterable(field[:2] for field in parsed.fields))
        assert not any(re.search(rb"[\x00-\x08\x0a-\x1f\x7f]", piece) for piece in pieces)
        assert re.fullmatch(rb"[!-~]+", parsed.target)


@pytest.mark.parametrize(
    "secret", ["Cookie", "cookie", "Authorization", "Proxy-Authorization", "X-Api-Key", "X-API-Key"]
)
def test_no_secret_is_remembered(secret: str) -> None:
    forget()
    for order in ("A: b\r\n{}: hush\r\n", "{}: hush\r\nA: b\r\n", "Cookie: x\r\n{}: hush\r\n"):
        head = f"GET / HTTP/1.1\r\nHost: a\r\n{order.format(secret)}\r\n".encode()
        assert parse_request_head(head).get(secret.lower().encode()) in (b"hush", b"x")
    parse_response_head(b"HTTP/1.1 200 OK\r\nSet-Cookie: hush\r\n\r\n")
    kept = [*http1_fields.FIELDS.remembered(), *http1_fields.LINES.remembered()]
    assert kept
    assert not any(b"hush" in key for key in kept)


def test_a_flood_of_unique_heads_stays_within_the_bounds() -> None:
    forget()
    for number in range(5000):
        parse_request_head(b"GET / HTTP/1.1\r\nHost: h%d\r\nX-%d: %d\r\n\r\n" % (number, number, number))
    assert len(http1_fields.FIELDS.remembered()) <= 2048
    assert len(http1_fields.LINES.remembered()) <= 512
    assert len(http1_fields.AUTHORITIES.remembered()) <= 2048
    assert len(http1_fields.NAMES.remembered()) <= 512


def test_long_lines_are_not_remembered() -> None:
    forget()
    parse_request_head(b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"y" * 3000 + b"\r\n\r\n")
    kept = [*http1_fields.FIELDS.remembered(), *http1_fields.LINES.remembered()]
    assert max(map(len, kept)) < 300


def test_a_memo_keeps_what_is_in_use_through_a_flood() -> None:
    calls: list[bytes] = []

    def compute(key: bytes) -> bytes:
        calls.append(key)
        return key.upper()

    memo = Memo(compute, entries=10, longest=8)
    for number in range(100):
        assert memo[b"used"] == b"USED"
        assert memo[b"%d" % number] == b"%d" % number
    assert calls.count(b"used") == 1
    assert len(memo.remembered()) <= 20


def test_a_memo_keeps_no_error_no_long_key_and_nothing_refused() -> None:
    memo = Memo(int, entries=10, longest=3, keep=lambda value: value != 7)
    for _ in range(2):
        with pytest.raises(ValueError, match="invalid literal"):
            memo[b"x"]
        assert (memo[b"1234"], memo[b"7"], memo[b"8"]) == (1234, 7, 8)
    assert memo.remembered() == {b"8"}
