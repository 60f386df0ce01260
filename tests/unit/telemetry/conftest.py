"""Exchanges as the engine leaves them, without an engine."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from edgewise.contracts.exchange import Exchange
from edgewise.contracts.plan import Plan, Route
from edgewise.http.head import Field, RequestHead, plain_head


class Client:
    """The downstream connection, as far as telemetry looks at it."""

    def __init__(self, peer_ip: str = "192.0.2.7", tls: bool = False, forwarded_ip: str = "") -> None:
        self.peer_ip = peer_ip
        self.tls = tls
        self._forwarded_ip = forwarded_ip

    def client_ip(self) -> str:
        return self._forwarded_ip


def _head(
    fields: tuple[tuple[bytes, bytes], ...] = (),
    method: bytes = b"GET",
    path: bytes = b"/items",
    query: bytes | None = None,
    host: bytes = b"shop.example.com",
) -> RequestHead:
    lines = tuple(Field(name, value, name + b": " + value + b"\r\n") for name, value in fields)
    return plain_head(method, path, query, host, lines)


@pytest.fixture
def make_exchange() -> Callable[..., Exchange]:
    """Return a maker of finished exchanges: `route`, `head` (arguments of a head) and `client`, then attributes."""

    def make(
        route: Route | None = None, head: dict[str, Any] | None = None, client: Client | None = None, **values: Any
    ) -> Exchange:
        plan = Plan(route or Route("items", 0), _head(**(head or {})))
        plan.trace = values.pop("trace", None)
        plan.forwarded_for = values.pop("forwarded_for", None)
        exchange = Exchange(client or Client(), plan, values.pop("started", 100.0), "0123456789abcdef" * 2)
        exchange.status = 200
        exchange.ended = 100.004
        for name, value in values.items():
            setattr(exchange, name, value)
        return exchange

    return make


@pytest.fixture
def make_client() -> type[Client]:
    """Return the maker of downstream connections."""
    return Client
