"""The door for what keeps an answer as its client gets it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol, TypeAlias

from edgewise.contracts.plan import Answer

if TYPE_CHECKING:
    from edgewise.contracts.exchange import Exchange


class Recorder(Protocol):
    """Is given the answer to one request; exactly one of `keep` and `drop` is called, once."""

    most: int
    """Bytes of content at most."""

    def wanted(self, exchange: Exchange, status: int) -> bool:
        """Is an answer of this status to be kept?"""

    async def keep(self, answer: Answer) -> None:
        """Take an answer, its content without framing. Its end goes to the client once this returns."""

    async def drop(self) -> None:
        """There was no answer that is wanted: it was too long, broke off, or was never made."""


Record: TypeAlias = "Callable[[Exchange, Recorder], None]"
"""Has the answer to a request recorded. The server's answer is read to its end even where the client leaves."""
