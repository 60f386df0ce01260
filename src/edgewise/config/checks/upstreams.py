"""Upstreams: where their servers are, that names given elsewhere exist, what contradicts itself."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from edgewise.config.checks.tables import exactly_one, tables
from edgewise.config.problems import Mistake, Path, nearest, show

_HTTP_ONLY = ("path", "body", "status")
_MEANINGLESS = {"tcp": (*_HTTP_ONLY, "host", "grpc"), "http": ("grpc",), "grpc": _HTTP_ONLY}
"""Keys of a health check that another type of it has."""


def check_upstreams(data: dict[str, Any]) -> Iterator[Mistake]:
    """Yield the mistakes of upstreams and of what names them."""
    for path, table in tables(data, "upstreams"):
        yield from exactly_one(path, table, ("servers", "srv", "app"))
        if table.get("servers") == []:
            yield Mistake((*path, "servers"), "found an empty list", "at least one server")
        yield from _health(path, table)
        yield from _protocol(path, table)
    yield from _names(data)
    yield from _unreachable(data)


def _health(path: Path, table: dict[str, Any]) -> Iterator[Mistake]:
    health = table.get("health")
    if not isinstance(health, dict):
        return
    kind = health.get("type", "grpc" if "grpc" in health and "path" not in health else "")
    for key in [key for key in _MEANINGLESS.get(str(kind), ()) if key in health]:
        expected = 'type = "grpc"' if key == "grpc" else 'type = "http"'
        yield Mistake((*path, "health", key), f"has no meaning for a check of type {kind}", expected)
    if "path" in health and "grpc" in health and "type" not in health:
        yield Mistake((*path, "health", "grpc"), "a check asks for a path or for a gRPC service", "one of them")
    if kind == "grpc" and table.get("protocol", "http1") == "http1":
        yield Mistake((*path, "health"), "gRPC needs servers that speak HTTP/2", 'protocol = "h2" or "h2c"')


def _protocol(path: Path, table: dict[str, Any]) -> Iterator[Mistake]:
    protocol = table.get("protocol", "http1")
    tls = table.get("tls", False) is not False
    if protocol == "h2" and not tls:
        yield Mistake((*path, "protocol"), 'servers can agree to "h2" in a TLS handshake only', 'tls = true, or "h2c"')
    if protocol == "h2c" and tls:
        yield Mistake((*path, "protocol"), '"h2c" is HTTP/2 without TLS', '"h2"')
    if protocol in ("h2", "h2c") and table.get("proxy_protocol"):
        yield Mistake((*path, "proxy_protocol"), "names one client, and a connection of HTTP/2 is for many", "")


def _names(data: dict[str, Any]) -> Iterator[Mistake]:
    upstreams = data.get("upstreams")
    known = sorted(upstreams) if isinstance(upstreams, dict) else []
    for path, name in _references(data):
        if isinstance(name, str) and name not in known:
            close = nearest(name, known)
            choices = "one of " + ", ".join(known) if known else "a table [upstreams.NAME]"
            yield Mistake(path, f"there is no upstream {show(name)}", "" if close else choices, close)


def _references(data: dict[str, Any]) -> Iterator[tuple[Path, Any]]:
    """Yield each place that names an upstream, and the name."""
    for path, table in [*tables(data, "routes"), *tables(data, "tcp")]:
        if "upstream" in table:
            yield (*path, "upstream"), table["upstream"]
    for path, table in tables(data, "routes"):
        split = table.get("split")
        for name in split if isinstance(split, dict) else ():
            yield (*path, "split", name), name
    for path, table in tables(data, "tcp"):
        names = table.get("sni")
        for host, name in names.items() if isinstance(names, dict) else ():
            yield (*path, "sni", host), name


def _unreachable(data: dict[str, Any]) -> Iterator[Mistake]:
    upstreams = data.get("upstreams")
    if isinstance(upstreams, dict) and len(upstreams) > 1 and not data.get("routes") and not data.get("tcp"):
        expected = "a [[routes]] table that names one of them"
        yield Mistake(("upstreams",), f"there are {len(upstreams)} upstreams and no routes", expected)
