"""An error in edgewise itself: whoever it was working for is told, and does not wait for ever."""

from __future__ import annotations

import logging
from contextlib import suppress
from copy import copy
from typing import TYPE_CHECKING, Any

from edgewise.proxy import lifecycle
from edgewise.proxy.downstream import Downstream
from edgewise.proxy.upstream import UpstreamConnection

if TYPE_CHECKING:
    from edgewise.contracts.exchange import Exchange
    from edgewise.proxy.engine import Engine
    from edgewise.proxy.poller import Callback

_log = logging.getLogger("edgewise.engine")


def handler_raised(engine: Engine, fd: int, callback: Callback, error: Exception) -> None:
    """End the connection of a descriptor whose event could not be handled: 500 where no head went out, else a cut.

    All streams of an HTTP/2 connection end with it, and a tunnel with either of its sides.
    """
    _log.error("an event of the engine was not handled", exc_info=error)
    tunnel = getattr(getattr(callback, "__self__", None), "tunnel", None)
    if tunnel is not None:
        tunnel.close("edge-engine", cut=True)
    for connection in [one for one in engine.connections if getattr(one, "fd", -1) == fd]:
        _end(connection, error)


def _end(connection: Any, error: Exception) -> None:
    exchange = connection.exchange if isinstance(connection, Downstream | UpstreamConnection) else None
    if exchange is None or exchange.ended or not _answered(exchange, error):
        with suppress(OSError):
            if isinstance(connection, UpstreamConnection):
                connection.close()
            else:
                connection.close(cut=True)


def _answered(exchange: Exchange, error: Exception) -> bool:
    """Fail the exchange as far as its state lets us; its client's connection ends with it."""
    exchange.plan = copy(exchange.plan)
    exchange.plan.close = not exchange.client.multiplexed
    try:
        lifecycle.fail(exchange, 500, "edge-engine", f"{type(error).__name__}: {error}")
    except Exception as again:
        _log.error("nor could its exchange be ended", exc_info=again)
        return False
    return True
