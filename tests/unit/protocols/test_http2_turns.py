"""One `receive` handles so many frames and no more; what was opened and reset by the same bytes is told."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from edgewise.protocols.http2 import DATA, HEAD, RESET, Event, Http2Connection
from edgewise.protocols.http2_frames import CANCEL, ENHANCE_YOUR_CALM, frame, reset_frame, window_frame
from support.http2_peer import GET, POST, Peer, data, headers

PING = frame(6, 0, 0, bytes(8))


def all_turns(connection: Http2Connection, given_bytes: bytes) -> list[list[Event]]:
    """Return the events of each turn that the bytes take."""
    turns = [connection.receive(given_bytes)]
    while connection.unfinished:
        turns.append(connection.receive(b""))
    return turns


def test_a_turn_ends_after_its_frames_and_the_next_goes_on() -> None:
    peer = Peer(turn=6)
    turns = all_turns(peer.connection, b"".join(headers(stream, GET) for stream in range(1, 16, 2)))
    assert [[stream for _, stream, _, _ in events] for events in turns] == [[1, 3, 5], [7, 9, 11], [13, 15]]


def test_frames_of_little_work_count_less_than_heads() -> None:
    peer = Peer(turn=48)
    peer.send(headers(1, POST, end=False))
    turns = all_turns(peer.connection, data(1, b"x") * 48)
    assert [len(events) for events in turns] == [24, 24]
    peer.read()
    assert len(all_turns(peer.connection, PING * 96)) == 2
    assert len(peer.read()) == 96


def test_a_turn_that_ends_with_the_bytes_leaves_nothing_to_do() -> None:
    peer = Peer(turn=2)
    assert len(peer.send(headers(1, GET))) == 1
    assert not peer.connection.unfinished


def test_the_beginning_of_a_frame_waits_for_its_rest() -> None:
    peer = Peer(turn=2)
    whole = headers(1, GET) + headers(3, GET)
    assert [len(events) for events in all_turns(peer.connection, whole[:-1])] == [1, 0]
    assert [stream for _, stream, _, _ in peer.send(whole[-1:])] == [3]


def test_bytes_that_come_before_the_turn_are_handled_in_their_order() -> None:
    peer = Peer(turn=2)
    peer.send(headers(1, GET), headers(3, GET))
    assert peer.connection.unfinished
    events = [event for turn in all_turns(peer.connection, headers(5, GET)) for event in turn]
    assert [stream for _, stream, _, _ in events] == [3, 5]


def test_a_fault_leaves_nothing_to_do() -> None:
    peer = Peer(turn=2)
    peer.send(headers(1, GET), window_frame(0, 0), headers(3, GET))
    peer.send()
    assert peer.connection.error is not None
    assert not peer.connection.unfinished


@settings(deadline=None)
@given(st.lists(st.sampled_from(["get", "post", "data", "reset", "ping"]), max_size=60), st.integers(1, 100))
def test_events_are_the_same_in_turns_of_any_length(steps: list[str], turn: int) -> None:
    sent, stream = b"", -1
    for step in steps:
        if step in ("get", "post"):
            stream += 2
            sent += headers(stream, GET if step == "get" else POST, end=step == "get")
        elif step == "ping":
            sent += PING
        elif stream > 0:
            sent += data(stream, b"x") if step == "data" else reset_frame(stream, CANCEL)
    whole, short = Peer(), Peer(turn=turn)
    assert [event for events in all_turns(short.connection, sent) for event in events] == whole.send(sent)
    assert short.connection.error == whole.connection.error
    assert short.read() == whole.read()


def test_a_request_reset_by_the_bytes_it_came_with_is_given_up() -> None:
    peer = Peer()
    events = peer.send(headers(1, GET), headers(3, POST, end=False), data(3, b"x"), reset_frame(3, CANCEL))
    assert [(kind, stream) for kind, stream, _, _ in events] == [(HEAD, 1), (HEAD, 3), (DATA, 3), (RESET, 3)]
    assert peer.connection.given_up == {3}


def test_a_request_whose_reset_we_are_made_to_send_is_given_up_too() -> None:
    peer = Peer()
    peer.send(headers(1, GET), window_frame(1, 0))
    assert peer.connection.given_up == {1}
    assert peer.resets() == [(1, 1)]


def test_a_request_that_may_have_begun_is_not_given_up() -> None:
    peer = Peer()
    peer.send(headers(1, GET))
    assert peer.send(reset_frame(1, CANCEL)) == [(RESET, 1, CANCEL, False)]
    assert not peer.connection.given_up


def test_what_was_given_up_is_told_once() -> None:
    peer = Peer()
    peer.send(headers(1, GET), reset_frame(1, CANCEL))
    peer.send(headers(3, GET))
    assert not peer.connection.given_up


def test_a_servers_resets_give_nothing_up() -> None:
    peer = Peer(server=False)
    stream = peer.connection.open(b"GET / HTTP/1.1\r\nHost: a\r\n", b"\r\n", end=True, scheme=b"http")
    peer.send(headers(stream, [(b":status", b"200")], end=False), reset_frame(stream, CANCEL))
    assert not peer.connection.given_up


def test_the_content_of_what_was_given_up_takes_up_no_window() -> None:
    peer = Peer(connection_window=65535, glitches=10**6)
    for stream in range(1, 400, 2):
        peer.send(headers(stream, POST, end=False), data(stream, bytes(1000)), reset_frame(stream, CANCEL))
        peer.read()
    assert peer.connection.error is None


def test_the_owner_may_end_a_connection_for_what_it_knows() -> None:
    peer = Peer()
    peer.connection.refuse("too much")
    assert peer.connection.error == (ENHANCE_YOUR_CALM, "too much")
    assert peer.goaway() == ENHANCE_YOUR_CALM
