"""Ends tasks of a process's event loop."""

from __future__ import annotations

import asyncio

_AGAIN = 1.5
"""Seconds after which a task that goes on is cancelled once more."""
_TIMES = 4


async def end(task: asyncio.Task[None]) -> None:
    """Cancel a task until it is done, for six seconds at most.

    Once is not enough before Python 3.12: `asyncio.wait_for` swallows a cancellation that comes along with a result.
    """
    for _ in range(_TIMES):
        task.cancel()
        done, _pending = await asyncio.wait({task}, timeout=_AGAIN)
        if done:
            return
