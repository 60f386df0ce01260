"""Tasks that are ended, also where a cancellation is lost."""

from __future__ import annotations

import asyncio

from edgewise.server import tasks


def test_a_task_that_loses_a_cancellation_is_cancelled_once_more(monkeypatch) -> None:
    monkeypatch.setattr(tasks, "_AGAIN", 0.01)
    lost = 0

    async def stubborn() -> None:
        nonlocal lost
        while True:
            try:
                await asyncio.sleep(3600)
            except asyncio.CancelledError:
                if lost == 2:
                    raise
                lost += 1

    async def run() -> None:
        task = asyncio.ensure_future(stubborn())
        await asyncio.sleep(0)
        await tasks.end(task)
        assert task.cancelled()

    asyncio.run(run())
    assert lost == 2


def test_a_task_that_ended_by_an_error_is_no_error_of_who_ends_it() -> None:
    async def broken() -> None:
        raise ValueError("broken")

    async def run() -> None:
        task = asyncio.ensure_future(broken())
        await asyncio.sleep(0)
        await tasks.end(task)
        assert isinstance(task.exception(), ValueError)

    asyncio.run(run())
