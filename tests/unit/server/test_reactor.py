from __future__ import annotations

import os
import signal
import socket
from collections.abc import Iterator

import pytest

from edgewise.server.reactor import WRITE, Reactor


@pytest.fixture
def reactor() -> Iterator[Reactor]:
    made = Reactor()
    yield made
    made.close()


def test_a_ready_descriptor_runs_its_callback(reactor: Reactor) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ran: list[bytes] = []
        reactor.watch(ours.fileno(), lambda: ran.append(ours.recv(10)))
        theirs.send(b"hello")
        reactor.run_once()
        reactor.unwatch(ours.fileno())
    assert ran == [b"hello"]


def test_watching_again_changes_what_is_waited_for(reactor: Reactor) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ran: list[str] = []
        reactor.watch(ours.fileno(), lambda: ran.append("read"))
        reactor.watch(ours.fileno(), lambda: ran.append("write"), WRITE)
        reactor.run_once()
        reactor.unwatch(ours.fileno())
    assert ran == ["write"]


def test_a_callback_may_stop_watching_another_that_is_ready_too(reactor: Reactor) -> None:
    pairs = [socket.socketpair() for _ in range(2)]
    ran: list[int] = []

    def callback(index: int) -> None:
        ran.append(index)
        for ours, _ in pairs:
            reactor.unwatch(ours.fileno())

    for index, (ours, theirs) in enumerate(pairs):
        theirs.send(b"x")
        reactor.watch(ours.fileno(), lambda index=index: callback(index))  # type: ignore[misc]
    reactor.run_once()
    for pair in pairs:
        for sock in pair:
            sock.close()
    assert len(ran) == 1


def test_a_signal_runs_its_handler_outside_of_signal_context(reactor: Reactor) -> None:
    ran: list[str] = []
    reactor.on_signals({signal.SIGUSR2: lambda: ran.append("usr2")})
    os.kill(os.getpid(), signal.SIGUSR2)
    assert ran == []
    reactor.run_once()
    assert ran == ["usr2"]


def test_closing_gives_signals_back() -> None:
    before = signal.getsignal(signal.SIGUSR2)
    reactor = Reactor()
    reactor.on_signals({signal.SIGUSR2: lambda: None})
    reactor.close()
    assert signal.getsignal(signal.SIGUSR2) is before


def test_a_due_timer_ends_the_wait(reactor: Reactor) -> None:
    ran: list[str] = []
    reactor.timers.after(0.0, lambda: ran.append("timer"))
    reactor.run_once()
    assert ran == ["timer"]
