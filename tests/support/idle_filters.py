"""Filters that change nothing: one goes on at once, one makes the exchange wait in a task of its own."""

from __future__ import annotations

import asyncio

from edgewise.contracts.filters import Request, Response


def at_once(request: Request) -> None:
    """Go on."""


async def later(request: Request) -> None:
    """Go on, a turn of the loop later."""
    await asyncio.sleep(0)


class BothWays:
    """Wait on the way there and on the way back."""

    async def request(self, request: Request) -> None:
        """Go on, a turn of the loop later."""
        await asyncio.sleep(0)

    async def response(self, request: Request, response: Response) -> None:
        """Go on, a turn of the loop later."""
        await asyncio.sleep(0)
