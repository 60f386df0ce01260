"""Floods of what is legal once end the connection; busy and quiet honest peers never come near."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from edgewise.protocols import http2_frames as frames
from edgewise.protocols.hpack import encode
from edgewise.protocols.http2 import DATA, HEAD
from edgewise.protocols.http2_frames import ENHANCE_YOUR_CALM, frame, reset_frame, settings_frame, window_frame
from support.http2_peer import GET, OK, POST, Peer, data, headers

MANY = 6000


def ends(peer: Peer, step: bytes, times: int = MANY) -> bool:
    """Is the connection ended for its conduct when `step` comes again and again, though its answers are read?"""
    for _ in range(times):
        peer.send(step)
        if peer.connection.error is not None:
            return peer.connection.error[0] == ENHANCE_YOUR_CALM
        peer.read()
    return False


FLOODS = [
    ("PING", frame(6, 0, 0, bytes(8))),
    ("PING ACK", frame(6, 1, 0, bytes(8))),
    ("SETTINGS", settings_frame({})),
    ("SETTINGS ACK", frames.SETTINGS_ACK),
    ("PRIORITY", frame(2, 0, 99, bytes(5))),
    ("frames of unknown types", frame(99, 0, 0)),
    ("empty DATA", data(1, b"")),
    ("DATA of padding alone", frame(0, 8, 1, b"\x10" + bytes(16))),
    ("tiny window updates", window_frame(1, 1)),
    ("window updates of the connection", window_frame(0, 100)),
    ("window updates on a closed stream", window_frame(3, 100)),
    ("resets of a closed stream", reset_frame(3, 8)),
    ("GOAWAY", frame(7, 0, 0, bytes(8))),
]


@pytest.mark.parametrize("step", [case[1] for case in FLOODS], ids=[case[0] for case in FLOODS])
def test_a_flood_ends_the_connection(step: bytes) -> None:
    peer = Peer()
    peer.send(headers(1, POST, end=False), headers(3, GET))
    peer.connection.send_head(3, OK, end=True)
    peer.read()
    assert ends(peer, step)


def test_rapid_reset_ends_the_connection() -> None:
    peer = Peer()
    for stream_id in range(1, 2000, 2):
        peer.send(headers(stream_id, GET), reset_frame(stream_id, 8))
    assert peer.goaway() == ENHANCE_YOUR_CALM


@pytest.mark.parametrize(
    "provoke",
    [
        lambda stream_id: headers(stream_id, GET) + window_frame(stream_id, 0),
        lambda stream_id: headers(stream_id, GET) + window_frame(stream_id, frames.MOST),
        lambda stream_id: headers(stream_id, GET) + data(stream_id, b"x"),
        lambda stream_id: headers(stream_id, GET) + headers(stream_id, GET),
        lambda stream_id: headers(stream_id, GET) + frame(2, 0, stream_id, bytes(4)),
        lambda stream_id: headers(stream_id, GET[1:]),
    ],
)
def test_resets_that_the_peer_provokes_end_the_connection(provoke: Callable[[int], bytes]) -> None:
    peer = Peer()
    for stream_id in range(1, 2000, 2):
        peer.send(provoke(stream_id))
        peer.read()
        if peer.connection.error:
            break
    assert peer.connection.error is not None
    assert peer.connection.error[0] == ENHANCE_YOUR_CALM
    assert stream_id < 600


def test_requests_above_the_announced_streams_end_the_connection_in_the_end() -> None:
    peer = Peer(max_streams=1)
    for stream_id in range(1, 4000, 2):
        peer.send(headers(stream_id, GET))
        peer.read()
    assert peer.connection.error is not None


def test_many_continuations_end_the_connection() -> None:
    peer = Peer()
    peer.send(frame(1, 1, 1), *[frame(9, 0, 1, b"")] * 17)
    assert peer.goaway() == ENHANCE_YOUR_CALM


def test_heads_over_the_limits_cost_something() -> None:
    peer = Peer(head_fields=4)
    for stream_id in range(1, 4000, 2):
        peer.send(headers(stream_id, [*GET, (b"a", b"b")]))
        peer.read()
    assert peer.connection.error is not None


@pytest.mark.parametrize("asked", [frame(6, 0, 0, bytes(8)), settings_frame({})])
def test_answers_that_are_not_read_are_bounded(asked: bytes) -> None:
    peer = Peer(glitches=10**6)
    peer.send(*[asked] * 1001)
    assert peer.connection.error == (ENHANCE_YOUR_CALM, "answers are not read")
    assert len(peer.connection.take()) < 20_000


def test_answers_without_content_that_are_not_read_are_bounded() -> None:
    peer = Peer()
    peer.connection.blocked = True
    for stream_id in range(1, 20000, 2):
        for event in peer.send(headers(stream_id, GET)):
            peer.connection.send_head(event[1], b"HTTP/1.1 204 No Content\r\n\r\n", end=True)
    assert peer.connection.error is not None
    assert len(peer.connection.take()) < 200_000


def test_a_list_over_the_limit_is_refused_and_a_decompression_bomb_ends_the_connection() -> None:
    peer = Peer(head_bytes=8192)
    field = b"\x40\x01x\x7f\xe1\x16" + b"y" * 3040  # fills most of the table
    peer.send(frame(1, 5, 1, encode(GET) + field))
    assert peer.send(frame(1, 5, 3, encode(GET) + b"\xbe" * 4)) == []
    assert peer.connection.error is None
    assert peer.connection.open_streams == 1
    assert peer.send(frame(1, 5, 5, encode(GET) + b"\xbe" * 16000)) == []
    assert peer.connection.error == (9, "fields far over the limit")


def test_useful_work_and_time_make_up_for_the_rest() -> None:
    peer = Peer()
    for stream_id in range(1, 10000, 4):
        peer.send(headers(stream_id, GET), reset_frame(stream_id, 8), headers(stream_id + 2, GET))
        peer.connection.send_head(stream_id + 2, OK, end=True)
        peer.read()
    assert peer.connection.error is None
    for _ in range(100):
        peer.send(*[frame(6, 0, 0, bytes(8))] * 900)
        peer.read()
        peer.connection.glitches.forgive()
    assert peer.connection.error is None


def test_a_download_whose_every_frame_is_answered_by_two_updates_goes_on() -> None:
    peer = Peer()
    peer.send(headers(1, GET))
    peer.connection.send_head(1, OK, end=False)
    for _ in range(MANY):
        assert peer.connection.send_data(1, b"x" * 20, end=False)
        peer.send(window_frame(0, 20), window_frame(1, 20))
        peer.read()
    assert peer.connection.error is None
    assert peer.connection.glitches.score < 100


def test_small_messages_sent_together_may_be_given_back_one_by_one() -> None:
    peer = Peer()
    peer.send(headers(1, GET))
    peer.connection.send_head(1, OK, end=False)
    for _ in range(10):
        assert peer.connection.send_data(1, bytes(5) * 2000, end=False)
        for _ in range(2000):
            peer.send(window_frame(0, 5), window_frame(1, 5))
        peer.read()
    assert peer.connection.error is None
    assert ends(peer, window_frame(0, 5))


@pytest.mark.parametrize("wide", [window_frame(0, 1 << 30), settings_frame({frames.INITIAL_WINDOW_SIZE: frames.MOST})])
@pytest.mark.parametrize("stream_id", [0, 1])
def test_a_wide_window_does_not_excuse_updates_that_give_nothing_back(wide: bytes, stream_id: int) -> None:
    peer = Peer()
    peer.send(headers(1, GET), wide)
    assert ends(peer, window_frame(stream_id, 1))


def test_an_upload_in_small_frames_goes_on() -> None:
    peer = Peer()
    peer.send(headers(1, POST, end=False))
    for _ in range(MANY):
        ((kind, _, _, _),) = peer.send(data(1, b"x"))
        assert kind == DATA
        peer.connection.consumed(1, 1)
    assert peer.connection.error is None


def test_only_recent_resets_are_remembered() -> None:
    peer = Peer(glitches=10**6)
    for stream_id in range(1, 2001, 2):
        assert [event[0] for event in peer.send(headers(stream_id, POST, end=False))] == [HEAD]
        peer.connection.reset(stream_id, 8)
    assert len(peer.connection._reset) == 256
    peer.send(data(1999, b"x"))
    assert peer.connection.error is None
    peer.send(data(1, b"x"))
    assert peer.connection.error is not None
