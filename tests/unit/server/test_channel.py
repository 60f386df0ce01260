from __future__ import annotations

import os
import socket
from collections.abc import Iterator

import msgspec
import pytest

from edgewise.server import messages as m
from edgewise.server.channel import Channel

Pair = tuple[Channel[m.ToSupervisor], Channel[m.ToChild]]


@pytest.fixture
def pair() -> Iterator[Pair]:
    """The supervisor's end and the child's end."""
    ours, theirs = socket.socketpair()
    ends: Pair = (Channel(ours, m.ToSupervisor), Channel(theirs, m.ToChild))  # type: ignore[arg-type]
    yield ends
    for end in ends:
        end.close()


def test_messages_arrive_whole_and_in_order(pair: Pair) -> None:
    ours, theirs = pair
    sent = [m.Drain(2.5), m.Reopen(), m.Abort(7), m.ReloadAnswer(1, 2, [m.Problem("bad", "a.toml", 3)])]
    for message in sent:
        ours.send(message)
    assert [message for message, _ in theirs.receive()] == sent


def test_a_large_message_waits_for_the_other_side_and_arrives_whole(pair: Pair) -> None:
    ours, theirs = pair
    plan = os.urandom(3_000_000)
    ours.send(m.Prepare(1, plan))
    ours.send(m.Abort(1))
    assert ours.pending
    received: list[m.ToChild] = []
    while len(received) < 2:
        received += [message for message, _ in theirs.receive()]
        ours.flush()
    assert received == [m.Prepare(1, plan), m.Abort(1)]
    assert not ours.pending


def test_descriptors_arrive_with_their_own_message(pair: Pair) -> None:
    ours, theirs = pair
    with socket.socketpair()[0] as one, socket.socketpair()[0] as two, socket.socketpair()[0] as three:
        inodes = [os.fstat(sock.fileno()).st_ino for sock in (one, two, three)]
        ours.send(m.Abort(1))
        ours.send(m.Commit(2, [("plain", "a"), ("tls", "b")], []), [one.fileno(), two.fileno()])
        ours.send(m.Reopen())
        ours.send(m.Commit(3, [("tcp", "c")], []), [three.fileno()])
        received = theirs.receive()
    counts = [len(descriptors) for _, descriptors in received]
    arrived = [os.fstat(number).st_ino for _, descriptors in received for number in descriptors]
    for _, descriptors in received:
        for number in descriptors:
            assert not os.get_inheritable(number)
            os.close(number)
    assert counts == [0, 2, 0, 1]
    assert arrived == inodes


def test_the_other_sides_end_is_an_end_of_file_after_its_last_messages(pair: Pair) -> None:
    ours, theirs = pair
    theirs.send(m.Ready())
    theirs.close()
    assert [message for message, _ in ours.receive()] == [m.Ready()]
    with pytest.raises(EOFError):
        ours.receive()


def test_sending_to_a_side_that_is_gone_is_no_error(pair: Pair) -> None:
    ours, theirs = pair
    theirs.close()
    ours.send(m.Reopen())
    assert not ours.pending


def test_a_child_cannot_send_what_only_the_supervisor_may(pair: Pair) -> None:
    ours, theirs = pair
    theirs.send(m.Prepare(1, b"pickle"))
    with pytest.raises(msgspec.DecodeError):
        ours.receive()


def test_nothing_to_read_is_an_empty_list(pair: Pair) -> None:
    assert pair[0].receive() == []
