"""What runs in a managed app's process: uvicorn on one inherited socket, until told to stop.

`python -m edgewise.server.app_process SOCKET LIFELINE INTERFACE MODULE:ATTR SECONDS`: descriptors of the listening
socket and of a socket pair shared with the supervisor (READY goes up when the app serves, or FAILED and why it never
will; its end of file means that the supervisor died), asgi | wsgi | auto, the app, and the seconds to finish requests.

uvicorn runs both kinds, WSGI through `server.wsgi`. Granian was the alternative; it puts a supervisor of its own and a
second process around each worker, where here one process a socket is what is watched, restarted and made sticky.
"""

from __future__ import annotations

import asyncio
import importlib
import inspect
import os
import signal
import socket
import sys
from typing import Any

import uvicorn

from edgewise.server.app_protocol import FAILED, READY
from edgewise.server.wsgi import Wsgi


class AppError(Exception):
    """The app cannot be loaded; the text says why."""


def load_app(target: str) -> Any:
    """Import `module:attribute` (dots in the attribute allowed). Raises AppError for what is the target's fault."""
    module_name, colon, attribute = target.partition(":")
    if not colon or not module_name or not attribute:
        raise AppError(f"{target!r} is not MODULE:ATTRIBUTE")
    try:
        found: Any = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name and (module_name == error.name or module_name.startswith(error.name + ".")):
            raise AppError(f"no module named {error.name!r} from {os.getcwd()}") from None
        raise
    try:
        for part in attribute.split("."):
            found = getattr(found, part)
    except AttributeError:
        raise AppError(f"module {module_name!r} has no attribute {attribute!r}") from None
    if not callable(found):
        raise AppError(f"{target} is {type(found).__name__}, not an application")
    return found


def interface_of(app: Any) -> str:
    """Tell "asgi" from "wsgi": an ASGI app is a coroutine function, or an object or class whose call is one.

    A class takes (scope) as ASGI 2 did, or is a factory: neither is guessed at, both are served as ASGI.
    """
    if inspect.isclass(app):
        return "asgi"
    if inspect.iscoroutinefunction(app) or inspect.iscoroutinefunction(getattr(app, "__call__", None)):  # noqa: B004
        return "asgi"
    try:
        positional = [
            parameter
            for parameter in inspect.signature(app).parameters.values()
            if parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD)
            and parameter.default is parameter.empty
        ]
    except (TypeError, ValueError):
        return "wsgi"
    return "asgi" if len(positional) == 3 else "wsgi"


def as_asgi(app: Any, interface: str) -> Any:
    """Return `app` as an ASGI application."""
    if (interface_of(app) if interface == "auto" else interface) == "asgi":
        return app
    return Wsgi(app)


class SupervisedServer(uvicorn.Server):
    """uvicorn that tells the supervisor when it serves, and stops when the supervisor is gone."""

    def __init__(self, config: uvicorn.Config, lifeline: socket.socket) -> None:
        super().__init__(config)
        self._lifeline = lifeline

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started and not self.should_exit:
            self._lifeline.sendall(READY)
            asyncio.get_running_loop().add_reader(self._lifeline.fileno(), self._supervisor_gone)

    def _supervisor_gone(self) -> None:
        asyncio.get_running_loop().remove_reader(self._lifeline.fileno())
        self.should_exit = True


def main(arguments: list[str]) -> int:
    """Serve until SIGTERM; return the exit status."""
    listening, lifeline_number, interface, target, seconds = arguments
    lifeline = socket.socket(fileno=int(lifeline_number))
    sys.path.insert(0, os.getcwd())
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        app = as_asgi(load_app(target), interface)
    except AppError as error:
        lifeline.sendall(FAILED + str(error).encode()[:4000])
        return 1
    config = uvicorn.Config(
        app,
        proxy_headers=True,
        forwarded_allow_ips="*",
        access_log=False,
        server_header=False,
        timeout_keep_alive=3600,
        timeout_graceful_shutdown=max(1, round(float(seconds))),
        log_level="warning",
    )
    server = SupervisedServer(config, lifeline)
    server.run(sockets=[socket.socket(fileno=int(listening))])
    return 0 if server.started else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
