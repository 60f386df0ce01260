"""What a peer may not do, rule by rule, and how it is told: RFC 9113, RFC 7541, and each case of h2spec."""

from __future__ import annotations

import pytest

from edgewise.protocols import http2_frames as frames
from edgewise.protocols.hpack import encode
from edgewise.protocols.http2 import DATA, HEAD, RESET, TRAILERS, Http2Connection
from edgewise.protocols.http2_frames import (
    COMPRESSION_ERROR,
    ENHANCE_YOUR_CALM,
    FLOW_CONTROL_ERROR,
    FRAME_SIZE_ERROR,
    PROTOCOL_ERROR,
    REFUSED_STREAM,
    STREAM_CLOSED,
    frame,
    reset_frame,
    settings_frame,
    window_frame,
)
from support.http2_peer import GET, OK, POST, Peer, data, headers

BLOCK = encode(GET)
OPEN = headers(1, POST, end=False)
ENDED = headers(1, GET)

CONNECTION_FAULTS = [
    ("DATA on stream 0", data(0, b"x"), PROTOCOL_ERROR),
    ("DATA on an idle stream", data(1, b"x"), PROTOCOL_ERROR),
    ("DATA on a stream only we could open", data(2, b"x"), PROTOCOL_ERROR),
    ("RST_STREAM on an idle stream", reset_frame(1, 8), PROTOCOL_ERROR),
    ("RST_STREAM on stream 0", reset_frame(0, 8), PROTOCOL_ERROR),
    ("RST_STREAM of 3 bytes", OPEN + frame(frames.RST_STREAM, 0, 1, b"\0\0\0"), FRAME_SIZE_ERROR),
    ("WINDOW_UPDATE on an idle stream", window_frame(1, 100), PROTOCOL_ERROR),
    ("WINDOW_UPDATE of 3 bytes", frame(frames.WINDOW_UPDATE, 0, 0, b"\0\0\1"), FRAME_SIZE_ERROR),
    ("WINDOW_UPDATE of the connection by nothing", window_frame(0, 0), PROTOCOL_ERROR),
    ("a connection window above 2^31-1", window_frame(0, frames.MOST), FLOW_CONTROL_ERROR),
    ("CONTINUATION on an idle stream", frame(frames.CONTINUATION, 4, 1, BLOCK), PROTOCOL_ERROR),
    ("CONTINUATION after a whole block", OPEN + frame(frames.CONTINUATION, 4, 1, BLOCK), PROTOCOL_ERROR),
    ("CONTINUATION on stream 0", frame(frames.HEADERS, 1, 1) + frame(9, 4, 0, BLOCK), PROTOCOL_ERROR),
    ("CONTINUATION on another stream", frame(frames.HEADERS, 1, 1) + frame(9, 4, 3, BLOCK), PROTOCOL_ERROR),
    ("DATA within a header block", frame(frames.HEADERS, 1, 1, BLOCK) + data(1, b"x"), PROTOCOL_ERROR),
    ("PRIORITY within a header block", frame(frames.HEADERS, 1, 1) + frame(2, 0, 3, bytes(5)), PROTOCOL_ERROR),
    ("HEADERS within a header block", frame(frames.HEADERS, 1, 1) + headers(3, GET), PROTOCOL_ERROR),
    ("an unknown frame within a header block", frame(frames.HEADERS, 1, 1) + frame(22, 0, 0), PROTOCOL_ERROR),
    ("HEADERS on stream 0", headers(0, GET), PROTOCOL_ERROR),
    ("HEADERS on an even stream", headers(2, GET), PROTOCOL_ERROR),
    ("HEADERS on a stream that was skipped", headers(5, GET) + headers(3, GET), PROTOCOL_ERROR),
    ("HEADERS with padding longer than itself", frame(1, 5 | 8, 1, b"\xff" + BLOCK), PROTOCOL_ERROR),
    ("padded HEADERS without the padding's length", frame(1, 5 | 8, 1), FRAME_SIZE_ERROR),
    ("HEADERS too short for its priority", frame(1, 5 | 32, 1, b"\0\0\0"), FRAME_SIZE_ERROR),
    ("HEADERS that depend on themselves", frame(1, 5 | 32, 1, b"\0\0\0\1\x10" + BLOCK), PROTOCOL_ERROR),
    ("DATA with padding longer than itself", OPEN + frame(0, 8, 1, b"\x05abcd"), PROTOCOL_ERROR),
    ("PRIORITY on stream 0", frame(2, 0, 0, bytes(5)), PROTOCOL_ERROR),
    ("PRIORITY of 4 bytes on an idle stream", frame(2, 0, 1, bytes(4)), FRAME_SIZE_ERROR),
    ("PRIORITY that depends on itself", frame(2, 0, 3, b"\0\0\0\3\x10"), PROTOCOL_ERROR),
    ("SETTINGS on a stream", frame(4, 0, 1), PROTOCOL_ERROR),
    ("SETTINGS ACK with a payload", frame(4, 1, 0, bytes(6)), FRAME_SIZE_ERROR),
    ("SETTINGS of 5 bytes", frame(4, 0, 0, bytes(5)), FRAME_SIZE_ERROR),
    ("ENABLE_PUSH of 2", settings_frame({2: 2}), PROTOCOL_ERROR),
    ("INITIAL_WINDOW_SIZE of 2^31", settings_frame({4: 2**31}), FLOW_CONTROL_ERROR),
    ("MAX_FRAME_SIZE of 16,383", settings_frame({5: 16383}), PROTOCOL_ERROR),
    ("MAX_FRAME_SIZE of 2^24", settings_frame({5: 2**24}), PROTOCOL_ERROR),
    (
        "INITIAL_WINDOW_SIZE that overflows an open stream",
        OPEN + window_frame(1, frames.MOST - 65535) + settings_frame({4: 65536}),
        FLOW_CONTROL_ERROR,
    ),
    ("PUSH_PROMISE from a client", OPEN + frame(5, 4, 1, b"\0\0\0\2" + BLOCK), PROTOCOL_ERROR),
    ("PING on a stream", frame(6, 0, 1, bytes(8)), PROTOCOL_ERROR),
    ("PING of 6 bytes", frame(6, 0, 0, bytes(6)), FRAME_SIZE_ERROR),
    ("GOAWAY on a stream", frame(7, 0, 1, bytes(8)), PROTOCOL_ERROR),
    ("GOAWAY of 7 bytes", frame(7, 0, 0, bytes(7)), FRAME_SIZE_ERROR),
    ("a frame above MAX_FRAME_SIZE", OPEN + data(1, bytes(16385)), FRAME_SIZE_ERROR),
    ("a header block above MAX_FRAME_SIZE", frame(1, 5, 1, bytes(16385)), FRAME_SIZE_ERROR),
    ("index 0 in a block", frame(1, 5, 1, b"\x80"), COMPRESSION_ERROR),
    ("an index beyond the table", frame(1, 5, 1, BLOCK + b"\xff\x50"), COMPRESSION_ERROR),
    ("a table size above the limit", frame(1, 5, 1, b"\x3f\xe2\x1f" + BLOCK), COMPRESSION_ERROR),
    ("a table size after fields", frame(1, 5, 1, BLOCK + b"\x20"), COMPRESSION_ERROR),
    ("a block cut short", frame(1, 5, 1, b"\x00\x05ab"), COMPRESSION_ERROR),
    ("Huffman padding of a byte", frame(1, 5, 1, BLOCK + b"\x00\x83\x3f\xff\xff\x01a"), COMPRESSION_ERROR),
    ("a broken block among the trailers", OPEN + frame(1, 5, 1, b"\x80"), COMPRESSION_ERROR),
]


@pytest.mark.parametrize(
    ("sent", "code"), [case[1:] for case in CONNECTION_FAULTS], ids=[c[0] for c in CONNECTION_FAULTS]
)
@pytest.mark.parametrize("step", [1, 10**6], ids=["byte by byte", "whole"])
def test_the_connection_ends(sent: bytes, code: int, step: int) -> None:
    peer = Peer()
    for at in range(0, len(sent), step):
        peer.send(sent[at : at + step])
    assert peer.connection.error is not None
    assert peer.connection.error[0] == code
    assert peer.goaway() == code
    assert peer.send(headers(7, GET)) == []
    assert peer.connection.take() == b""


STREAM_FAULTS = [
    ("DATA after END_STREAM", ENDED + data(1, b"x"), STREAM_CLOSED),
    ("HEADERS after END_STREAM", ENDED + headers(1, GET), STREAM_CLOSED),
    ("WINDOW_UPDATE of a stream by nothing", OPEN + window_frame(1, 0), PROTOCOL_ERROR),
    ("a stream window above 2^31-1", OPEN + window_frame(1, frames.MOST), FLOW_CONTROL_ERROR),
    ("PRIORITY of 4 bytes", OPEN + frame(2, 0, 1, bytes(4)), FRAME_SIZE_ERROR),
    ("trailers without END_STREAM", OPEN + headers(1, [(b"a", b"b")], end=False), PROTOCOL_ERROR),
    ("a pseudo-field among the trailers", OPEN + headers(1, [(b":method", b"GET")]), PROTOCOL_ERROR),
    ("upper case among the trailers", OPEN + headers(1, [(b"A", b"b")]), PROTOCOL_ERROR),
    ("content shorter than content-length", headers(1, [*POST, (b"content-length", b"2")], end=False)
     + data(1, b"x", end=True), PROTOCOL_ERROR),
    ("content longer than content-length", headers(1, [*POST, (b"content-length", b"2")], end=False)
     + data(1, b"xx") + data(1, b"x"), PROTOCOL_ERROR),
    ("trailers before content-length is reached", headers(1, [*POST, (b"content-length", b"2")], end=False)
     + data(1, b"x") + headers(1, [(b"a", b"b")]), PROTOCOL_ERROR),
]  # fmt: skip


@pytest.mark.parametrize(("sent", "code"), [case[1:] for case in STREAM_FAULTS], ids=[c[0] for c in STREAM_FAULTS])
def test_one_stream_ends(sent: bytes, code: int) -> None:
    peer = Peer()
    events = peer.send(sent)
    assert peer.connection.error is None
    assert events[0][0] == HEAD
    assert events[-1] == (RESET, 1, code, True)
    assert peer.resets() == [(1, code)]
    assert peer.connection.open_streams == 0
    assert [event[:2] for event in peer.send(headers(3, GET))] == [(HEAD, 3)]


REFUSED_AT_ONCE = [
    ("content-length without content", [*GET, (b"content-length", b"1")]),
    ("upper case in a name", [*GET, (b"X-Test", b"a")]),
    ("an unknown pseudo-field", [*GET, (b":test", b"a")]),
    ("a pseudo-field after a regular one", [*GET[:3], (b"x", b"y"), GET[3]]),
    ("a response's pseudo-field", [*GET, (b":status", b"200")]),
    ("a connection-specific field", [*GET, (b"connection", b"keep-alive")]),
    ("te other than trailers", [*GET, (b"te", b"trailers, deflate")]),
    ("an empty path", [*GET[:3], (b":path", b"")]),
    ("no method", GET[1:]),
    ("no scheme", [GET[0], *GET[2:]]),
    ("no path", GET[:3]),
    ("a method twice", [GET[0], *GET]),
    ("a scheme twice", [GET[1], *GET]),
    ("a path twice", [*GET, GET[3]]),
    ("no field at all", []),
]


@pytest.mark.parametrize("fields", [case[1] for case in REFUSED_AT_ONCE], ids=[c[0] for c in REFUSED_AT_ONCE])
def test_a_malformed_request_is_reset_and_not_told_of(fields: list[tuple[bytes, bytes]]) -> None:
    peer = Peer()
    assert peer.send(headers(1, fields)) == []
    assert peer.resets() == [(1, PROTOCOL_ERROR)]
    assert [event[:2] for event in peer.send(headers(3, GET))] == [(HEAD, 3)]


TOLERATED = [
    ("an unknown frame", frame(22, 0xFF, 9, b"anything")),
    ("undefined flags", frame(6, 0xFE, 0, bytes(8))),
    ("the reserved bit", frame(6, 0, 2**31, bytes(8))),
    ("an unknown setting", settings_frame({0xFFFF: 1})),
    ("a setting twice", frame(4, 0, 0, b"\0\4\0\0\0\1" * 2)),
    ("PRIORITY on an idle stream", frame(2, 0, 9, bytes(5))),
    ("RST_STREAM with an unknown code", OPEN + reset_frame(1, 0xFF)),
    ("WINDOW_UPDATE after END_STREAM", ENDED + window_frame(1, 100)),
    ("PRIORITY after END_STREAM", ENDED + frame(2, 0, 1, bytes(5))),
    ("PING ACK", frame(6, 1, 0, bytes(8))),
    ("DATA with padding", OPEN + frame(0, 8, 1, b"\x03abc" + bytes(3))),
    ("empty DATA that ends", OPEN + data(1, b"", end=True)),
    ("HEADERS padded and prioritised", frame(1, 5 | 8 | 32, 1, b"\x02" + b"\0\0\0\0\x10" + BLOCK + b"\0\0")),
    ("a table size of nothing before the fields", frame(1, 5, 1, b"\x20" + BLOCK)),
    ("OPTIONS *", headers(1, [(b":method", b"OPTIONS"), *GET[1:3], (b":path", b"*")])),
    ("content as long as content-length", headers(1, [*POST, (b"content-length", b"4")], end=False)
     + data(1, b"ab") + data(1, b"cd", end=True)),
    ("several CONTINUATION", frame(1, 1, 1, BLOCK[:2]) + frame(9, 0, 1) + frame(9, 0, 1, BLOCK[2:3])
     + frame(9, 4, 1, BLOCK[3:])),
]  # fmt: skip


@pytest.mark.parametrize("sent", [case[1] for case in TOLERATED], ids=[c[0] for c in TOLERATED])
def test_what_is_allowed_passes(sent: bytes) -> None:
    peer = Peer()
    peer.send(sent)
    assert peer.connection.error is None
    assert all(reply.kind in (frames.PING, frames.SETTINGS, frames.WINDOW_UPDATE) for reply in peer.read())
    assert [event[:2] for event in peer.send(headers(11, GET))] == [(HEAD, 11)]


def test_frames_after_both_sides_ended_a_stream_end_the_connection() -> None:
    for sent in (data(1, b"x"), headers(1, GET)):
        peer = Peer()
        peer.send(ENDED)
        peer.connection.send_head(1, OK, end=True)
        peer.send(reset_frame(1, 8), window_frame(1, 100), frame(2, 0, 1, bytes(5)))
        assert peer.connection.error is None
        peer.send(sent)
        assert peer.goaway() == STREAM_CLOSED


def test_frames_on_closed_streams_are_told_from_those_on_streams_never_opened() -> None:
    peer = Peer()
    for stream_id in (1, 3, 9, 11):
        peer.send(headers(stream_id, GET))
        peer.connection.send_head(stream_id, OK, end=True)
    peer.send(*[window_frame(stream_id, 100) for stream_id in (1, 3, 9, 11)])
    assert peer.connection.error is None
    peer.send(window_frame(7, 100))
    assert peer.goaway() == PROTOCOL_ERROR


def test_frames_after_the_peers_own_reset_end_the_connection() -> None:
    for sent in (data(1, b"x"), headers(1, GET)):
        peer = Peer()
        peer.send(OPEN, reset_frame(1, 8), sent)
        assert peer.goaway() == STREAM_CLOSED


def test_what_was_on_its_way_when_we_reset_a_stream_is_tolerated_and_given_back() -> None:
    peer = Peer(initial_window=65535, connection_window=65535)
    peer.send(OPEN)
    peer.connection.reset(1, 8)
    assert peer.resets() == [(1, 8)]
    for _ in range(2):
        assert peer.send(data(1, bytes(16384))) == []
    assert peer.read() == [(frames.WINDOW_UPDATE, 0, 0, b"\0\0\x80\0")]
    assert peer.send(headers(1, [(b"x", b"y")]), window_frame(1, 5), reset_frame(1, 8)) == []
    assert peer.connection.error is None
    peer.send(*[data(1, bytes(16384))] * 2)  # more than the stream's window ever allowed
    assert peer.connection.error == (STREAM_CLOSED, "content goes on after RST_STREAM")


def test_blocks_on_streams_that_are_gone_keep_the_table_in_step() -> None:
    literal_with_indexing = b"\x40\x01x\x01y"
    peer = Peer()
    peer.send(OPEN)
    peer.connection.reset(1, 8)
    peer.send(frame(1, 5, 1, literal_with_indexing))
    ((_, _, head, _),) = peer.send(frame(1, 5, 3, BLOCK + b"\xbe"))
    assert head.endswith(b"x: y\r\n\r\n")


def test_more_streams_than_announced_are_refused_and_can_come_again() -> None:
    peer = Peer(max_streams=2)
    events = peer.send(headers(1, GET), headers(3, GET), headers(5, GET))
    assert [event[1] for event in events] == [1, 3]
    assert peer.resets() == [(5, REFUSED_STREAM)]
    peer.connection.send_head(1, OK, end=True)
    assert [event[1] for event in peer.send(headers(7, GET))] == [7]


@pytest.mark.parametrize("preface", [b"GET / HTTP/1.1\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\r", b"\x16\x03\x01"])
def test_a_wrong_preface_ends_the_connection(preface: bytes) -> None:
    connection = Http2Connection(server=True)
    connection.receive(preface)
    assert connection.error == (PROTOCOL_ERROR, "no connection preface")


@pytest.mark.parametrize("first", [frame(6, 0, 0, bytes(8)), frames.SETTINGS_ACK, headers(1, GET)])
def test_the_first_frame_is_settings(first: bytes) -> None:
    for server in (True, False):
        connection = Http2Connection(server=server)
        connection.receive((frames.PREFACE if server else b"") + first)
        assert connection.error is not None
        assert connection.error[0] == PROTOCOL_ERROR


def test_settings_and_ping_are_acknowledged() -> None:
    peer = Peer()
    peer.send(settings_frame({3: 100}), frame(6, 0, 0, b"12345678"))
    assert peer.read() == [(frames.SETTINGS, frames.ACK, 0, b""), (frames.PING, frames.ACK, 0, b"12345678")]


def test_the_last_of_several_values_of_a_setting_counts() -> None:
    peer = Peer()
    peer.send(headers(1, GET), frame(4, 0, 0, b"\0\4\0\0\0\2" + b"\0\4\0\0\0\1"))
    peer.connection.send_head(1, OK, end=False)
    assert not peer.connection.send_data(1, b"ab", end=True)
    assert [(sent.kind, sent.payload) for sent in peer.read()][-1] == (frames.DATA, b"a")


def test_trailers_of_a_request_come_as_lines() -> None:
    peer = Peer()
    events = peer.send(OPEN, data(1, b"abc"), headers(1, [(b"grpc-status", b"0"), (b"x", b"y")]))
    assert events[1:] == [(DATA, 1, b"abc", False), (TRAILERS, 1, b"grpc-status: 0\r\nx: y\r\n", True)]


def test_a_head_over_the_limits_is_answered_431() -> None:
    peer = Peer(head_fields=6)
    assert peer.send(headers(1, [*GET, *[(b"a", b"b")] * 3]), headers(3, [*POST, *[(b"a", b"b")] * 3], end=False)) == []
    first, second, reset = peer.read()
    assert peer.fields(first)[0] == peer.fields(second)[0] == (b":status", b"431")
    assert (reset.kind, reset.stream_id, reset.payload) == (frames.RST_STREAM, 3, b"\0\0\0\0")
    assert [event[0] for event in peer.send(headers(5, GET))] == [HEAD]


def test_a_block_over_the_limit_ends_the_connection_before_it_is_whole() -> None:
    peer = Peer(head_bytes=4096)
    peer.send(frame(1, 1, 1, bytes(4000)), frame(9, 0, 1, bytes(200)))
    assert peer.goaway() == ENHANCE_YOUR_CALM
