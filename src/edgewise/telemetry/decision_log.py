"""Who was allowed what, and why not: lines of JSON, written off the request path."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, NamedTuple

from edgewise.contracts.policies import POLICIES
from edgewise.telemetry.log_sink import LogSink

if TYPE_CHECKING:
    from edgewise.contracts.exchange import Exchange
    from edgewise.contracts.identity import Identity
    from edgewise.contracts.plan import Route

_BATCH = 512
"""Decisions that wait at most before lines are written without waiting for the tick."""
_DECIDING = frozenset(POLICIES.index(name) + 1 for name in ("auth", "authorize"))
"""As `Exchange.refused` has them."""


class _Decision(NamedTuple):
    """What a line needs of an exchange."""

    at: float
    """Monotonic seconds."""
    request_id: str
    route: Route
    method: bytes
    host: bytes
    path: bytes
    client: str
    identity: Identity | None
    refused: int
    reason: str


class DecisionLog:
    """A `contracts.observer.Observer` of routes with `auth` or `authorize`.

    Raises OSError where the file cannot be opened; later trouble never reaches a request.
    """

    __slots__ = ("_all", "_decisions", "_sink")

    def __init__(self, path: str, *, all: bool) -> None:
        """`all`: what was allowed is written too."""
        self._sink = LogSink(path)
        self._all = all
        self._decisions: list[_Decision] = []

    @property
    def dropped(self) -> int:
        """Lines lost so far."""
        return self._sink.dropped

    def done(self, exchange: Exchange) -> None:
        """Note what was decided; nothing was where another policy refused the request before."""
        refused = exchange.refused in _DECIDING
        if not refused and (not self._all or (exchange.identity is None and exchange.refused)):
            return
        head = exchange.plan.request
        self._decisions.append(
            _Decision(
                exchange.ended,
                exchange.request_id,
                exchange.route,
                head.method,
                head.host,
                head.path,
                exchange.client.client_ip(),
                exchange.identity,
                exchange.refused if refused else 0,
                exchange.failure if refused else "",
            )
        )
        if len(self._decisions) >= _BATCH:
            self._write()

    def tick(self, now: float) -> None:
        """Write what waits."""
        if self._decisions:
            self._write()
        else:
            self._sink.flush()

    def reopen(self) -> None:
        """Open the file anew after log rotation; keeps the old one and raises OSError where that fails."""
        self.tick(0.0)
        self._sink.reopen()

    def close(self) -> None:
        """Write what waits and close the file."""
        self.tick(0.0)
        self._sink.close()

    def _write(self) -> None:
        decisions, self._decisions = self._decisions, []
        offset = time.time() - time.monotonic()
        self._sink.write([_line(decision, offset) for decision in decisions])


def _line(decision: _Decision, offset: float) -> str:
    identity, route = decision.identity, decision.route
    at = decision.at + offset
    members: dict[str, object] = {
        "ts": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(at)) + f".{int(at * 1000) % 1000:03d}Z",
        "request_id": decision.request_id,
        "route": route.name,
        "method": decision.method.decode("latin-1"),
        "host": decision.host.decode("latin-1"),
        "path": decision.path.decode("latin-1"),
        "client": decision.client,
    }
    if identity is not None:
        members |= {"user": identity.name, "auth": identity.method}
        members |= {} if identity.consumer is None else {"consumer": identity.consumer}
    if decision.refused:
        members |= {"outcome": "refused", "policy": POLICIES[decision.refused - 1], "reason": decision.reason}
    else:
        members |= {"outcome": "allowed" if identity is not None or route.rule is not None else "unverified"}
        rule = None if route.rule is None else route.rule(identity, decision.method)
        members |= {} if rule is None else {"rule": rule}
    return json.dumps(members).replace("\x7f", "\\u007f") + "\n"
