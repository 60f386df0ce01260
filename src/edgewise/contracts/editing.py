"""The doors for what changes a request before it goes on, and an answer before its client has it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol, TypeAlias

from edgewise.http.head import ResponseHead

if TYPE_CHECKING:
    from edgewise.contracts.exchange import Exchange


class EditError(Exception):
    """The content of an answer cannot be edited; the text says why."""


class Editor(Protocol):
    """Edits the content of the answer to one request."""

    most: int
    """Bytes of content at most."""
    strict: bool
    """What cannot be edited does not go to the client (502); else it goes as it is."""

    def wanted(self, exchange: Exchange, response: ResponseHead) -> bool:
        """Is the content of this answer to be edited? Raises EditError where it should be and cannot."""

    def edit(self, content: bytes) -> bytes:
        """Return the edited content. Raises EditError."""


Edit: TypeAlias = "Callable[[Exchange, Editor], None]"
"""Has the answer to a request edited."""
Revise: TypeAlias = "Callable[[Exchange, bytes | None, bytes, frozenset[bytes]], None]"
"""(exchange, target or None, lines, names): has another target sent on. For the cache, which goes by what is sent, the
request has these field lines too, and none of the fields with these lower-case names."""
