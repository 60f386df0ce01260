"""Flow control both ways, and whose turn it is (RFC 9113 sections 5.2 and 6.9)."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from edgewise.protocols import http2_frames as frames
from edgewise.protocols.http2 import DATA, HEAD, RESET, WRITABLE, Http2Connection, Http2Limits
from edgewise.protocols.http2_frames import FLOW_CONTROL_ERROR, frame, reset_frame, settings_frame, window_frame
from support.http2_peer import GET, OK, POST, Frame, Peer, data, headers


def answered(count: int = 1, *, window: int = 65535, **limits: Any) -> Peer:
    """A peer with `count` streams whose response heads are out."""
    peer = Peer(settings={frames.INITIAL_WINDOW_SIZE: window}, **limits)
    for stream_id in range(1, 2 * count, 2):
        peer.send(headers(stream_id, GET))
        peer.connection.send_head(stream_id, OK, end=False)
    peer.read()
    return peer


def sizes(sent: list[Frame]) -> list[tuple[int, int]]:
    return [(one.stream_id, len(one.payload)) for one in sent if one.kind == frames.DATA]


def test_content_is_cut_to_frames_and_windows_and_the_rest_is_kept() -> None:
    peer = answered()
    assert not peer.connection.send_data(1, bytes(70000), end=True)
    assert sizes(peer.read()) == [(1, 16384)] * 3 + [(1, 16383)]
    assert peer.connection.kept(1) == peer.connection.kept_bytes == 70000 - 65535
    assert peer.connection.stalled
    assert peer.send(window_frame(1, 10**6)) == []
    assert peer.connection.take() == b""
    assert peer.send(window_frame(0, 4000)) == []
    assert peer.send(window_frame(0, 4000)) == [(WRITABLE, 1, None, False)]
    last = peer.read()
    assert sizes(last) == [(1, 4000), (1, 465)]
    assert last[-1].flags == frames.END_STREAM
    assert peer.connection.kept_bytes == peer.connection.open_streams == 0


def test_a_larger_frame_is_used_where_both_allow_it() -> None:
    peer = answered(max_frame=20000)
    peer.send(settings_frame({frames.MAX_FRAME_SIZE: 2**20}))
    peer.connection.send_data(1, bytes(40000), end=False)
    assert sizes(peer.read()) == [(1, 20000), (1, 20000)]


def test_a_smaller_initial_window_makes_windows_negative_until_they_are_given_back() -> None:
    peer = answered()
    assert peer.connection.send_data(1, bytes(1000), end=False)
    peer.send(settings_frame({frames.INITIAL_WINDOW_SIZE: 500}))
    peer.read()
    assert not peer.connection.send_data(1, b"abc", end=False)
    peer.send(window_frame(1, 500))  # now at 0
    assert peer.connection.take() == b""
    assert peer.send(window_frame(1, 2)) == []
    assert peer.send(settings_frame({frames.INITIAL_WINDOW_SIZE: 501})) == [(WRITABLE, 1, None, False)]
    assert [one.payload for one in peer.read() if one.kind == frames.DATA] == [b"ab", b"c"]


def test_a_stream_may_end_without_content_whatever_its_window() -> None:
    peer = answered(window=0)
    assert peer.connection.send_data(1, b"", end=True)
    assert peer.read() == [(frames.DATA, frames.END_STREAM, 1, b"")]


def test_trailers_wait_for_the_content_before_them() -> None:
    peer = answered(window=2)
    assert not peer.connection.send_data(1, b"abc", end=False)
    peer.connection.send_trailers(1, b"Grpc-Status: 0\r\n")
    assert sizes(peer.read()) == [(1, 2)]
    peer.send(window_frame(1, 1))
    content, trailers = peer.read()
    assert content == (frames.DATA, 0, 1, b"c")
    assert trailers[:3] == (frames.HEADERS, frames.END_HEADERS | frames.END_STREAM, 1)
    assert peer.connection.open_streams == 0


def test_no_trailers_are_an_empty_end() -> None:
    peer = answered()
    peer.connection.send_trailers(1, b"")
    assert peer.read() == [(frames.DATA, frames.END_STREAM, 1, b"")]


def test_an_upload_is_stopped_after_the_whole_answer() -> None:
    peer = Peer(settings={frames.INITIAL_WINDOW_SIZE: 2})
    peer.send(headers(1, POST, end=False))
    peer.connection.send_head(1, OK, end=False)
    peer.connection.send_data(1, b"abcd", end=True)
    peer.connection.reset(1, frames.NO_ERROR)
    assert sizes(peer.read()) == [(1, 2)]
    assert peer.send(data(1, b"more"), window_frame(1, 2)) == [(WRITABLE, 1, None, False)]
    assert peer.read() == [(frames.DATA, frames.END_STREAM, 1, b"cd"), (frames.RST_STREAM, 0, 1, bytes(4))]
    assert peer.send(data(1, b"more")) == []
    assert peer.connection.error is None


def test_a_stream_reset_by_the_peer_lets_go_of_what_was_kept() -> None:
    peer = answered(window=0)
    peer.connection.send_data(1, bytes(1000), end=True)
    assert peer.send(reset_frame(1, 8)) == [(RESET, 1, 8, False)]
    assert peer.connection.kept_bytes == 0
    assert peer.connection.send_data(1, b"x", end=True)
    peer.connection.send_head(1, OK, end=True)
    peer.connection.send_trailers(1, b"a: b\r\n")
    peer.connection.reset(1, 8)
    assert peer.connection.take() == b""


def test_streams_share_the_connections_window_in_turns() -> None:
    peer = answered(3, window=10**6)
    for stream_id in (1, 3, 5):
        peer.connection.send_data(stream_id, bytes(60000), end=False)
    peer.read()
    peer.send(window_frame(0, 16384 * 3))
    assert sizes(peer.read()) == [(3, 16384), (5, 16384), (3, 16384)]
    peer.send(window_frame(0, 16384))
    assert sizes(peer.read()) == [(5, 16384)]


def test_streams_share_a_slow_socket_in_turns() -> None:
    peer = answered(2)
    peer.connection.blocked = True
    for stream_id in (1, 3):
        assert not peer.connection.send_data(stream_id, bytes(32768), end=True)
    assert peer.connection.take() == b""
    assert not peer.connection.stalled
    assert [event[:2] for event in peer.connection.unblock()] == [(WRITABLE, 1)]
    assert sizes(peer.read()) == [(1, 16384), (3, 16384), (1, 16384), (3, 16383)]


def test_one_turn_puts_out_a_bounded_part_of_what_is_kept() -> None:
    peer = answered(window=2**30)
    peer.send(window_frame(0, 2**30))
    peer.connection.blocked = True
    peer.connection.send_data(1, bytes(10**6), end=True)
    turns = 0
    while peer.connection.kept(1):
        events = peer.connection.unblock()
        assert len(peer.connection.take()) < 300_000
        turns += 1
        assert peer.connection.blocked == bool(peer.connection.kept(1))
    assert turns == 4
    assert events == [(WRITABLE, 1, None, False)]


def test_new_streams_are_refused_while_much_is_kept() -> None:
    peer = answered(window=0, kept_bytes=1000)
    peer.connection.send_data(1, bytes(1001), end=True)
    peer.send(headers(3, GET))
    assert peer.resets() == [(3, frames.REFUSED_STREAM)]
    peer.send(window_frame(1, 1001))
    assert [event[0] for event in peer.send(headers(5, GET))] == [HEAD]


def test_the_owners_buffer_may_be_filled_again_before_the_bytes_are_taken() -> None:
    peer = answered(window=3)
    buffer = bytearray(b"abcdef")
    peer.connection.send_data(1, memoryview(buffer), end=True)
    buffer[:] = bytes(6)
    peer.send(window_frame(1, 10))
    assert b"".join(one.payload for one in peer.read()) == b"abcdef"


# ---- received --------------------------------------------------------------------------------------------------------


def test_windows_are_announced_and_given_back_at_half() -> None:
    peer = Peer(initial_window=100_000, connection_window=150_000)
    assert peer.greeting[-1] == (frames.WINDOW_UPDATE, 0, 0, (150_000 - 65535).to_bytes(4, "big"))
    peer.send(headers(1, POST, end=False), *[data(1, bytes(16384))] * 5)
    for _ in range(3):
        peer.connection.consumed(1, 16384)
    assert peer.connection.take() == b""
    peer.connection.consumed(1, 16384)
    assert peer.read() == [(frames.WINDOW_UPDATE, 0, 1, (4 * 16384).to_bytes(4, "big"))]
    peer.connection.consumed(1, 16384)
    assert peer.read() == [(frames.WINDOW_UPDATE, 0, 0, (5 * 16384).to_bytes(4, "big"))]


def test_padding_is_given_back_without_the_owner() -> None:
    peer = Peer(initial_window=65535, connection_window=65535)
    peer.send(headers(1, POST, end=False))
    for _ in range(130):
        events = peer.send(frame(frames.DATA, frames.PADDED, 1, b"\xff" + b"x" + bytes(255)))
        assert events == [(DATA, 1, b"x", False)]
    updates = [one for one in peer.read() if one.kind == frames.WINDOW_UPDATE]
    assert {one.stream_id for one in updates} == {0, 1}
    assert all(int.from_bytes(one.payload, "big") >= 32767 for one in updates)


def test_more_than_a_streams_window_resets_the_stream_and_gives_the_connections_back() -> None:
    peer = Peer(initial_window=65535, connection_window=200_000)
    peer.send(headers(1, POST, end=False), *[data(1, bytes(16384))] * 3)
    assert peer.send(data(1, bytes(16384))) == [(RESET, 1, FLOW_CONTROL_ERROR, True)]
    peer.send(headers(3, POST, end=False), *[data(3, bytes(16000))] * 4)
    peer.connection.consumed(3, 64000)
    given = [one for one in peer.read() if one.kind == frames.WINDOW_UPDATE and not one.stream_id]
    assert [int.from_bytes(one.payload, "big") for one in given] == [4 * 16384 + 64000]


def test_more_than_the_connections_window_ends_the_connection() -> None:
    peer = Peer(initial_window=10**6, connection_window=65535)
    peer.send(headers(1, POST, end=False), *[data(1, bytes(16384))] * 4)
    assert peer.goaway() == FLOW_CONTROL_ERROR


def test_a_small_window_counts_from_the_acknowledgement_of_our_settings() -> None:
    fresh = Http2Connection(server=True, limits=Http2Limits(initial_window=10))
    events = fresh.receive(
        frames.PREFACE + settings_frame({}) + headers(1, POST, end=False) + data(1, bytes(1000)) + frames.SETTINGS_ACK
    )
    assert [event[0] for event in events[1:]] == [HEAD, DATA]
    fresh.consumed(1, 1000)
    assert fresh.receive(data(1, bytes(10))) == [(DATA, 1, bytes(10), False)]
    assert fresh.receive(data(1, b"x")) == [(RESET, 1, FLOW_CONTROL_ERROR, True)]


def test_a_finished_stream_gives_back_what_its_owner_never_read() -> None:
    peer = Peer(initial_window=65535, connection_window=65535)
    for stream_id in range(1, 100, 2):
        peer.send(headers(stream_id, POST, end=False), data(stream_id, bytes(16384), end=True))
        peer.connection.send_head(stream_id, OK, end=True)
        peer.connection.consumed(stream_id, 16384)
    assert peer.connection.error is None
    assert peer.connection._credit + peer.connection._owed == 65535


@settings(deadline=None)
@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("send"), st.sampled_from([1, 3, 5]), st.integers(0, 40000)),
            st.tuples(st.just("window"), st.sampled_from([0, 1, 3, 5]), st.integers(1, 50000)),
            st.tuples(st.just("initial"), st.just(0), st.integers(0, 50000)),
            st.tuples(st.just("block"), st.just(0), st.integers(0, 1)),
        ),
        max_size=40,
    )
)
def test_no_window_is_ever_overdrawn_and_everything_arrives(steps: list[tuple[str, int, int]]) -> None:
    peer = answered(3)
    connection = peer.connection
    windows = {0: 65535, 1: 65535, 3: 65535, 5: 65535}
    owed = {1: 0, 3: 0, 5: 0}
    initial = 65535

    def check() -> None:
        for one in peer.read():
            if one.kind == frames.DATA:
                size = len(one.payload)
                owed[one.stream_id] -= size
                for key in (0, one.stream_id):
                    windows[key] -= size
                    assert windows[key] >= 0 or not size

    for what, stream_id, size in steps:
        if what == "send":
            connection.send_data(stream_id, bytes(size), end=False)
            owed[stream_id] += size
        elif what == "window":
            windows[stream_id] += size
            peer.send(window_frame(stream_id, size))
        elif what == "initial":
            for key in owed:
                windows[key] += size - initial
            initial = size
            peer.send(settings_frame({frames.INITIAL_WINDOW_SIZE: size}))
        elif size:
            connection.blocked = True
        else:
            connection.unblock()
        check()
        assert {key: connection.kept(key) for key in owed} == owed
        assert connection.kept_bytes == sum(owed.values())
    connection.unblock()
    peer.send(*[window_frame(key, 10**7) for key in windows])
    for key in windows:
        windows[key] += 10**7
    while connection.blocked:
        check()
        connection.unblock()
    check()
    assert owed == {1: 0, 3: 0, 5: 0}
