"""The client's side of HTTP/2: requests out, responses in, what a server may not do, and how each side leaves."""

from __future__ import annotations

from typing import Any

import pytest

from edgewise.protocols import http2_frames as frames
from edgewise.protocols.hpack import Decoder, encode
from edgewise.protocols.http2 import DATA, GOAWAY, HEAD, PONG, RESET, TRAILERS, Http2Connection, Http2Error
from edgewise.protocols.http2_frames import (
    FLOW_CONTROL_ERROR,
    PROTOCOL_ERROR,
    REFUSED_STREAM,
    STREAM_CLOSED,
    frame,
    goaway_frame,
    reset_frame,
    settings_frame,
    window_frame,
)
from support.http2_peer import GET, OK, Fields, Peer, data, headers

HEAD_LINES = b"GET / HTTP/1.1\r\nHost: a.example\r\n"
OWN = b"X-Forwarded-For: ::1\r\n\r\n"


def status(code: bytes, *fields: tuple[bytes, bytes]) -> Fields:
    return [(b":status", code), *fields]


def client(**limits: Any) -> Peer:
    return Peer(server=False, **limits)


def ask(peer: Peer, head: bytes = HEAD_LINES, *, end: bool = True) -> int:
    return peer.connection.open(head, OWN, end=end, scheme=b"https")


def test_a_client_greets_with_its_preface_and_refuses_pushes() -> None:
    connection = Http2Connection(server=False)
    greeting = connection.take()
    assert greeting.startswith(frames.PREFACE)
    assert frames.parse_settings(Peer(server=False).greeting[0].payload)[frames.ENABLE_PUSH] == 0


def test_requests_have_odd_streams_and_their_fields_in_order() -> None:
    peer = client()
    assert [ask(peer), ask(peer, end=False)] == [1, 3]
    first, second = peer.read()
    expected = [
        (b":scheme", b"https"), (b":method", b"GET"), (b":authority", b"a.example"), (b":path", b"/"),
        (b"x-forwarded-for", b"::1"),
    ]  # fmt: skip
    assert peer.fields(first) == peer.fields(second) == expected
    assert (first.flags, second.flags) == (frames.END_HEADERS | frames.END_STREAM, frames.END_HEADERS)


def test_the_first_block_says_that_no_dynamic_table_is_used() -> None:
    peer = client()
    ask(peer)
    (first,) = peer.read()
    decoder = Decoder()
    decoder.set_limit(0)
    assert decoder.decode(first.payload)


class TestKnownBlocks:
    """nginx adds the same fields to the dynamic table with each answer and never reads them."""

    inserting = b"\x88\x76\x05nginx\x5f\x10application/grpc"

    def answered(self, peer: Peer, block: bytes, *, trailers: bytes = b"") -> list[Any]:
        stream = ask(peer)
        ended = frame(frames.HEADERS, frames.END_HEADERS | frames.END_STREAM, stream, trailers) if trailers else b""
        flags = frames.END_HEADERS | (0 if trailers else frames.END_STREAM)
        return [value for _, _, value, _ in peer.send(frame(frames.HEADERS, flags, stream, block), ended)]

    def test_one_that_only_inserts_means_the_same_each_time(self) -> None:
        peers = [client(), client()]
        heads = {self.answered(peer, self.inserting)[0] for peer in peers * 4}
        assert heads == {
            b"HTTP/1.1 200 OK\r\nserver: nginx\r\ncontent-type: application/grpc\r\nContent-Length: 0\r\n\r\n"
        }

    def test_what_it_inserts_can_be_read_later(self) -> None:
        peer = client()
        reading = b"\x88\xbe\xbf"
        for _ in range(4):
            self.answered(peer, self.inserting)
            (head,) = self.answered(peer, reading)
            assert head.startswith(b"HTTP/1.1 200 OK\r\ncontent-type: application/grpc\r\nserver: nginx\r\n")
            self.answered(peer, b"\x88\x40\x01a\x01b")
            (head,) = self.answered(peer, reading)
            assert head.startswith(b"HTTP/1.1 200 OK\r\na: b\r\ncontent-type: application/grpc\r\n")

    def test_trailers_that_read_the_table_mean_what_it_holds_by_then(self) -> None:
        peer = client()
        for code in (b"0", b"5", b"0"):
            self.answered(peer, b"\x88", trailers=b"\x40\x0bgrpc-status\x01" + code)
            for _ in range(3):
                assert self.answered(peer, b"\x88", trailers=b"\xbe")[1] == b"grpc-status: %b\r\n" % code

    def test_a_head_is_no_trailers_and_trailers_are_no_head(self) -> None:
        peer = client()
        for _ in range(3):
            self.answered(peer, b"\x88", trailers=b"\x00\x01a\x01b")
        assert self.answered(peer, b"\x88", trailers=b"\x88")[1] == PROTOCOL_ERROR
        assert self.answered(peer, b"\x00\x01a\x01b") == [PROTOCOL_ERROR]


def test_a_long_head_takes_several_frames() -> None:
    peer = client()
    peer.connection.open(HEAD_LINES, b"X-Long: %b\r\n\r\n" % (b"~" * 40000), end=False, scheme=b"http")
    sent = peer.read()
    assert [one.kind for one in sent] == [frames.HEADERS, frames.CONTINUATION, frames.CONTINUATION]
    assert [one.flags for one in sent] == [0, 0, frames.END_HEADERS]
    decoded = Decoder().decode(b"".join(one.payload for one in sent))
    assert decoded[0] == (b":scheme", b"http")
    assert decoded[-1] == (b"x-long", b"~" * 40000)


def test_a_response_with_interim_ones_content_and_trailers() -> None:
    peer = client()
    ask(peer)
    assert peer.send(
        headers(1, status(b"103", (b"link", b"x")), end=False),
        headers(1, status(b"200", (b"a", b"b")), end=False),
        data(1, b"content"),
        headers(1, [(b"grpc-status", b"0")]),
    ) == [
        (HEAD, 1, b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n", False),
        (HEAD, 1, b"HTTP/1.1 200 OK\r\na: b\r\nTransfer-Encoding: chunked\r\n\r\n", False),
        (DATA, 1, b"content", False),
        (TRAILERS, 1, b"grpc-status: 0\r\n", True),
    ]
    assert peer.connection.open_streams == 0


@pytest.mark.parametrize(
    ("head", "fields", "end", "expected"),
    [
        (HEAD_LINES, status(b"200"), True, b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
        (HEAD_LINES, status(b"200", (b"content-length", b"3")), False, b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\n"),
        (HEAD_LINES, status(b"204"), True, b"HTTP/1.1 204 No Content\r\n\r\n"),
        (HEAD_LINES, status(b"304", (b"content-length", b"3")), True,
         b"HTTP/1.1 304 Not Modified\r\ncontent-length: 3\r\n\r\n"),
        (b"HEAD / HTTP/1.1\r\nHost: a\r\n", status(b"200", (b"content-length", b"3")), True,
         b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\n"),
        (b"HEAD / HTTP/1.1\r\nHost: a\r\n", status(b"200"), False, b"HTTP/1.1 200 OK\r\n\r\n"),
    ],
)  # fmt: skip
def test_the_head_is_framed_as_http_1_would(head: bytes, fields: Fields, end: bool, expected: bytes) -> None:
    peer = client()
    ask(peer, head)
    assert peer.send(headers(1, fields, end=end)) == [(HEAD, 1, expected, end)]


FAULTS = [
    ("content before the head", data(1, b"x"), PROTOCOL_ERROR),
    ("no status", headers(1, [(b"a", b"b")]), PROTOCOL_ERROR),
    ("101", headers(1, status(b"101")), PROTOCOL_ERROR),
    ("an interim response that ends", headers(1, status(b"100")), PROTOCOL_ERROR),
    ("content-length without content", headers(1, status(b"200", (b"content-length", b"1"))), PROTOCOL_ERROR),
    ("content with 204", headers(1, status(b"204"), end=False) + data(1, b"x"), PROTOCOL_ERROR),
    ("a second head", headers(1, status(b"200"), end=False) + headers(1, status(b"200"), end=False), PROTOCOL_ERROR),
    ("less than content-length", headers(1, status(b"200", (b"content-length", b"2")), end=False)
     + data(1, b"x", end=True), PROTOCOL_ERROR),
    ("connection-specific fields", headers(1, status(b"200", (b"connection", b"close"))), PROTOCOL_ERROR),
    ("more than the window", headers(1, status(b"200"), end=False) + data(1, bytes(16384)) * 4, FLOW_CONTROL_ERROR),
]  # fmt: skip


@pytest.mark.parametrize(("sent", "code"), [case[1:] for case in FAULTS], ids=[case[0] for case in FAULTS])
def test_a_broken_response_resets_its_stream_only(sent: bytes, code: int) -> None:
    peer = client(initial_window=65535)
    ask(peer)
    ask(peer)
    assert peer.send(sent)[-1] == (RESET, 1, code, True)
    assert (1, code) in peer.resets()
    assert peer.send(headers(3, status(b"200"), end=False), data(3, b"x"))[-1] == (DATA, 3, b"x", False)


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        (frame(frames.PUSH_PROMISE, 4, 1, b"\0\0\0\2" + encode(GET)), PROTOCOL_ERROR),
        (headers(2, status(b"200")), PROTOCOL_ERROR),
        (headers(3, status(b"200")), PROTOCOL_ERROR),
        (data(3, b"x"), PROTOCOL_ERROR),
        (settings_frame({frames.ENABLE_PUSH: 1}), PROTOCOL_ERROR),
        (headers(1, status(b"200")) + data(1, b"x"), STREAM_CLOSED),
    ],
)
def test_a_server_that_breaks_the_connection_is_left(sent: bytes, code: int) -> None:
    peer = client()
    ask(peer)
    peer.send(sent)
    assert peer.goaway() == code


def test_an_early_answer_may_stop_the_upload() -> None:
    peer = client()
    ask(peer, end=False)
    events = peer.send(headers(1, status(b"413")), reset_frame(1, frames.NO_ERROR))
    assert [event[0] for event in events] == [HEAD, RESET]
    assert events[1] == (RESET, 1, frames.NO_ERROR, False)
    assert peer.connection.send_data(1, b"more", end=True)


def test_no_more_streams_are_opened_than_the_server_takes() -> None:
    peer = Peer(server=False, settings={frames.MAX_CONCURRENT_STREAMS: 1})
    assert peer.connection.peer_max_streams == 1
    ask(peer)
    with pytest.raises(Http2Error):
        ask(peer)
    peer.send(headers(1, status(b"200")))
    assert ask(peer) == 3


def test_identifiers_are_used_up_once() -> None:
    peer = client()
    peer.connection._next_id = 2**31 - 1
    assert ask(peer) == 2**31 - 1
    with pytest.raises(Http2Error):
        ask(peer)


def test_a_leaving_server_says_what_it_has_not_seen() -> None:
    peer = client()
    for _ in range(3):
        ask(peer)
    assert peer.send(goaway_frame(3, 0, b"bye")) == [(GOAWAY, 0, (3, 0), False), (RESET, 5, REFUSED_STREAM, False)]
    assert peer.connection.closing
    with pytest.raises(Http2Error):
        ask(peer)
    assert [event[0] for event in peer.send(headers(3, status(b"200")))] == [HEAD]
    assert peer.connection.open_streams == 1


def test_an_answer_to_a_request_that_goaway_called_unseen_is_not_heard() -> None:
    peer = client()
    seen, unseen = ask(peer), ask(peer)
    peer.send(goaway_frame(seen, 0))
    assert peer.send(headers(unseen, status(b"200"), end=False), data(unseen, b"late", end=True)) == []
    assert peer.connection.error is None
    assert [event[:2] for event in peer.send(headers(seen, status(b"200")))] == [(HEAD, seen)]


def test_a_draining_server_serves_what_was_on_its_way() -> None:
    peer = Peer()
    peer.send(headers(1, GET))
    peer.connection.goaway(last=False)
    assert peer.connection.closing
    assert [event[1] for event in peer.send(headers(3, GET))] == [3]
    peer.connection.goaway(last=True)
    first, second = [one.payload for one in peer.read() if one.kind == frames.GOAWAY]
    assert first == b"\x7f\xff\xff\xff" + bytes(4)
    assert second == b"\0\0\0\3" + bytes(4)
    assert peer.send(headers(5, GET)) == []
    assert peer.resets() == [(5, REFUSED_STREAM)]
    peer.connection.send_head(1, OK, end=True)
    peer.connection.send_head(3, OK, end=True)
    assert peer.connection.open_streams == 0
    peer.send(data(0, b""))
    assert peer.read()[-1].payload[:4] == b"\0\0\0\3"  # it never names a later one


def test_a_ping_comes_back() -> None:
    peer = client()
    peer.connection.ping()
    (ping,) = peer.read()
    assert peer.send(frame(frames.PING, frames.ACK, 0, ping.payload)) == [(PONG, 0, ping.payload, False)]


def test_content_goes_out_within_the_servers_windows() -> None:
    peer = Peer(server=False, settings={frames.INITIAL_WINDOW_SIZE: 3})
    ask(peer, end=False)
    peer.read()
    assert not peer.connection.send_data(1, b"abcdef", end=True)
    assert [one.payload for one in peer.read()] == [b"abc"]
    peer.send(window_frame(1, 3))
    assert peer.read() == [(frames.DATA, frames.END_STREAM, 1, b"def")]
