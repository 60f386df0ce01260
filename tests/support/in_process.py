"""An engine in this process, on a thread of its own: for tests that must see which functions a request goes through."""

from __future__ import annotations

import asyncio
import socket
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import uvloop

import edgewise
from edgewise.config import parse
from edgewise.proxy.engine import Engine
from edgewise.router import build
from edgewise.server.listeners import Listener
from edgewise.telemetry.access_log import AccessLog
from edgewise.telemetry.ids import IdSource
from edgewise.telemetry.layout import MetricsMemory
from edgewise.telemetry.metrics import MetricsObserver
from support.raw_http import PATIENCE, RawClient

PACKAGE = str(Path(edgewise.__file__).parent) + "/"


class InProcessEngine:
    """One engine that serves what `toml` says on a free port, with metrics and an access log in `log`."""

    def __init__(self, toml: str, log: Path) -> None:
        self.loop = uvloop.new_event_loop()
        self.engine = Engine(self.loop, IdSource())
        self.table = build(parse(toml))
        observers = (MetricsObserver(MetricsMemory(1), 0), AccessLog(str(log)))
        for route in (*self.table.routes, self.table.unmatched):
            route.done = tuple(observer.done for observer in observers)
        self.engine.load(self.table)
        listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = listener.getsockname()[1]
        self.engine.listen(listener, Listener("plain", f"127.0.0.1:{self.port}"))
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self._thread.start()

    def client(self, **options: Any) -> RawClient:
        """Open a raw connection to the engine."""
        return RawClient(("127.0.0.1", self.port), **options)

    def on_loop(self, function: Callable[[], Any]) -> Any:
        """Run `function` on the engine's thread and return what it returns."""

        async def call() -> Any:
            return function()

        return asyncio.run_coroutine_threadsafe(call(), self.loop).result(PATIENCE)

    def follow(self, action: Callable[[], Any]) -> list[tuple[CodeType, int]]:
        """Run `action` and return edgewise's functions that ran on the engine's thread, in order, with their depth."""
        calls: list[tuple[CodeType, int]] = []
        depth = 0

        def profile(frame: FrameType, event: str, argument: object) -> None:
            nonlocal depth
            if event not in ("call", "return") or not frame.f_code.co_filename.startswith(PACKAGE):
                return
            if event == "call":
                depth += 1
                calls.append((frame.f_code, depth))
            else:
                depth -= 1

        self.on_loop(lambda: sys.setprofile(profile))
        try:
            action()
        finally:
            self.on_loop(lambda: sys.setprofile(None))
        return calls

    def stop(self) -> None:
        """Close everything."""
        self.on_loop(lambda: self.engine.drain(0))
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(PATIENCE)
        self.loop.close()


def place(code: CodeType) -> str:
    """Return `file:function` of a code object, the file relative to the package."""
    return f"{code.co_filename.removeprefix(PACKAGE)}:{code.co_qualname}"
