"""A child's end of its channel, on an event loop."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio

    from edgewise.server.channel import Channel
    from edgewise.server.messages import ToChild, ToSupervisor


class ChildLink:
    """Calls `heard(message, descriptors)` for each message, and `gone()` once the supervisor has died."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        channel: Channel[ToChild],
        heard: Callable[[ToChild, list[int]], None],
        gone: Callable[[], None],
    ) -> None:
        self._loop = loop
        self._channel = channel
        self._heard = heard
        self._gone = gone
        self._writing = False

    def start(self) -> None:
        """Begin to listen to the supervisor."""
        self._loop.add_reader(self._channel.fileno(), self._readable)

    def _readable(self) -> None:
        try:
            received = self._channel.receive()
        except EOFError:
            self._loop.remove_reader(self._channel.fileno())
            self._gone()
            return
        for message, descriptors in received:
            self._heard(message, descriptors)

    def send(self, message: ToSupervisor) -> None:
        """Send now, or when the supervisor takes it."""
        self._channel.send(message)
        if self._channel.pending and not self._writing:
            self._writing = True
            self._loop.add_writer(self._channel.fileno(), self._writable)

    def _writable(self) -> None:
        self._channel.flush()
        if not self._channel.pending:
            self._writing = False
            self._loop.remove_writer(self._channel.fileno())
