"""What is put off to the end of a batch happens once, in order, whatever becomes of the rest of it."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

from edgewise.proxy.poller import Poller


def run(*callbacks: Any) -> list[str]:
    """Put off callbacks, and return what the loop's handler heard of failures."""
    loop = asyncio.new_event_loop()
    heard: list[str] = []
    loop.set_exception_handler(lambda _, context: heard.append(str(context.get("exception"))))
    poller = Poller(loop)
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
