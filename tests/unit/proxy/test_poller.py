"""What is put off to the end of a batch happens once, in order; one event that fails takes no other along."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from functools import partial
from typing import Any

from edgewise.proxy.poller import Poller


def run(*callbacks: Any) -> list[str]:
    """Put off callbacks, and return what the loop's handler heard of failures."""
    loop = asyncio.new_event_loop()
    heard: list[str] = []
    loop.set_exception_handler(lambda _, context: heard.append(str(context.get("exception"))))
    poller = Poller(loop, lambda fd, callback, error: None)
    for callback in callbacks:
        poller.after_batch(callback)
    with contextlib.closing(loop):
        for _ in range(3):
            loop.call_soon(loop.stop)
            loop.run_forever()
    return heard


def test_what_is_put_off_happens_once_and_in_order() -> None:
    done: list[int] = []
    assert run(*[lambda number=number: done.append(number) for number in range(3)]) == []
    assert done == [0, 1, 2]


def test_a_failure_does_not_take_the_others_along() -> None:
    done: list[int] = []

    def fail() -> None:
        raise RuntimeError("on purpose")

    assert run(lambda: done.append(1), fail, lambda: done.append(2), fail, lambda: done.append(3)) == ["on purpose"] * 2
    assert done == [1, 2, 3]


def test_an_event_that_fails_is_told_of_and_the_others_of_its_batch_are_served() -> None:
    loop = asyncio.new_event_loop()
    served: list[int] = []
    told: list[tuple[int, str]] = []
    pairs = [socket.socketpair() for _ in range(3)]

    def fail() -> None:
        raise RuntimeError("on purpose")

    def failed(fd: int, callback: object, error: Exception) -> None:
        assert callback is fail
        told.append((fd, str(error)))
        poller.remove_reader(fd)

    def served_by(number: int) -> None:
        served.append(number)
        pairs[number][0].recv(1)

    poller = Poller(loop, failed)
    with contextlib.closing(loop), contextlib.ExitStack() as stack:
        for number, pair in enumerate(pairs):
            for each in pair:
                stack.enter_context(each)
            pair[1].send(b"x")
            poller.add_reader(pair[0].fileno(), fail if number == 1 else partial(served_by, number))
        loop.call_later(0.01, loop.stop)
        loop.run_forever()
        assert sorted(served) == [0, 2]
        assert told == [(pairs[1][0].fileno(), "on purpose")]
