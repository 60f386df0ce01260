"""The supervisor's wait: descriptors, signals and timers, in plain code without an event loop."""

from __future__ import annotations

import contextlib
import selectors
import signal
import socket
import time
from collections.abc import Callable, Iterable
from typing import Any

from edgewise.server.timers import Timers

READ = selectors.EVENT_READ
WRITE = selectors.EVENT_WRITE


class Reactor:
    """Waits for what was asked for and runs the callbacks, one at a time, in the caller's thread."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.timers = Timers(clock)
        self._selector = selectors.DefaultSelector()
        self._wakeup: tuple[socket.socket, socket.socket] | None = None
        self._handlers: dict[int, Callable[[], None]] = {}
        self._previous: dict[int, Any] = {}

    def watch(self, descriptor: int, callback: Callable[[], None], events: int = READ) -> None:
        """Run `callback` whenever `descriptor` is ready; a second call changes what is waited for."""
        if descriptor in self._selector.get_map():
            self._selector.modify(descriptor, events, callback)
        else:
            self._selector.register(descriptor, events, callback)

    def unwatch(self, descriptor: int) -> None:
        """Forget `descriptor`; one that is not watched is no error. Call it before closing."""
        with contextlib.suppress(KeyError, ValueError):
            self._selector.unregister(descriptor)

    def on_signals(self, handlers: dict[int, Callable[[], None]]) -> None:
        """Run a handler, outside of signal context, each time its signal comes. Only in the main thread."""
        reader, writer = socket.socketpair()
        reader.setblocking(False)
        writer.setblocking(False)
        self._wakeup = (reader, writer)
        self._handlers = handlers
        for number in handlers:
            self._previous[number] = signal.signal(number, _noted)
        signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
        self.watch(reader.fileno(), self._signalled)

    def _signalled(self) -> None:
        assert self._wakeup is not None
        try:
            numbers: Iterable[int] = self._wakeup[0].recv(4096)
        except BlockingIOError:
            return
        for number in dict.fromkeys(numbers):
            if number in self._handlers:
                self._handlers[number]()

    def run_once(self) -> None:
        """Wait for the next event or timer and run what is due."""
        for key, _events in self._selector.select(self.timers.wait()):
            if self._selector.get_map().get(key.fd) is key:
                key.data()
        self.timers.run_due()

    def close(self, *, forked: bool = False) -> None:
        """Free the descriptors and give signals back; in a fork, signals are left as they are."""
        self._selector.close()
        if self._wakeup is not None:
            if not forked:
                signal.set_wakeup_fd(-1)
                for number, handler in self._previous.items():
                    signal.signal(number, handler)
            for sock in self._wakeup:
                sock.close()


def _noted(_number: int, _frame: object) -> None:
    """Let the signal through to the wake-up descriptor."""
