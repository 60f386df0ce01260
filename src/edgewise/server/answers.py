"""What the control process asked of the supervisor, until the answer is here."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from typing import Generic, TypeVar

Answer = TypeVar("Answer")


class Answers(Generic[Answer]):
    """Requests of one kind that are under way."""

    def __init__(self) -> None:
        self._numbers = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[Answer]] = {}

    def number(self) -> int:
        """Return a number for a request: never 0, and never given before."""
        return next(self._numbers)

    async def ask(self, request: int, send: Callable[[], None], patience: float | None = None) -> Answer:
        """Send a request, and wait for its answer. Raises TimeoutError after `patience` seconds; None: never."""
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting[request] = future
        send()
        try:
            async with asyncio.timeout(patience):
                return await future
        finally:
            del self._waiting[request]

    def take(self, request: int, answer: Answer) -> None:
        """Take the answer; one that nobody waits for any more is passed over."""
        future = self._waiting.get(request)
        if future is not None and not future.done():
            future.set_result(answer)
