"""What of a request is hashed to choose an endpoint."""

from __future__ import annotations

from collections.abc import Callable

from edgewise.balancer.cookies import cookie_reader
from edgewise.contracts.balancing import SESSION, HeldSession
from edgewise.contracts.exchange import Exchange
from edgewise.http.addresses import client_network

KeyReader = Callable[[Exchange], bytes]


def client_key(exchange: Exchange) -> bytes:
    """Return the client's address; of IPv6 only the /64, because one host may use many addresses of it."""
    return client_network(exchange.client.peer_ip).encode()


def session_key(exchange: Exchange) -> bytes:
    """Return what names the session that the gateway holds, else the client's address."""
    held: HeldSession | None = exchange.context.get(SESSION) if exchange.context else None
    return (held.affinity() if held is not None else None) or client_key(exchange)


def key_reader(spec: str) -> KeyReader:
    """Return the reader for `ip`, `path`, `session`, `header:NAME` or `cookie:NAME`; anything else raises ValueError.

    A request without the session, header or cookie is hashed by its client's address.
    """
    kind, _, name = spec.partition(":")
    if spec == "ip":
        return client_key
    if spec == "path":
        return lambda exchange: exchange.plan.request.path
    if spec == "session":
        return session_key
    if kind == "header" and name:
        lower = name.lower().encode("latin-1")
        return lambda exchange: exchange.plan.request.get(lower) or client_key(exchange)
    if kind == "cookie" and name:
        read = cookie_reader(name)
        return lambda exchange: read(exchange.plan.request) or client_key(exchange)
    raise ValueError(f"hash key must be ip, path, session, header:NAME or cookie:NAME, not {spec!r}")
