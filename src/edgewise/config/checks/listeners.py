"""Listeners: that each address is taken once, and that there is one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from edgewise.config.addresses import LISTEN_HOST, parse_address
from edgewise.config.checks.tables import tables, texts, value_at
from edgewise.config.problems import BadValue, Mistake, Path, dotted, show

_DEFAULTS = {"listen": ["127.0.0.1:8080"], "tls_listen": [], "admin": "127.0.0.1:9900"}


def check_listeners(data: dict[str, Any]) -> Iterator[Mistake]:
    """Yield addresses that are taken twice, and the lack of any address to serve."""
    taken: dict[tuple[str, int] | str, Path] = {}
    for path, text in _listeners(data):
        try:
            address = parse_address(text, LISTEN_HOST)
        except BadValue:
            continue
        if isinstance(address, tuple) and address[1] == 0:
            continue
        if taken.setdefault(address, path) is not path:
            other = taken[address]
            message = f"{show(text)} is already the address of {dotted(other)}"
            yield Mistake(path, message, "an address of its own", other=other)
    if value_at(data, "server", "listen") == [] and not value_at(data, "server", "tls_listen") and not data.get("tcp"):
        yield Mistake(("server", "listen"), "there is no address to listen on", "an address in listen or tls_listen")
    for path, table in tables(data, "tcp"):
        if "upstream" not in table and not table.get("sni"):
            yield Mistake(path, "leads nowhere", "upstream, sni or both")


def _listeners(data: dict[str, Any]) -> Iterator[tuple[Path, str]]:
    """Yield the path and address of each listener, those that stand by default first."""
    server = data.get("server")
    given = server if isinstance(server, dict) else {}
    for key in sorted(_DEFAULTS, key=lambda name: (name in given, name == "admin")):
        value = given.get(key, _DEFAULTS[key])
        for index, text in enumerate(texts(value)):
            path: Path = ("server", key, index) if isinstance(value, list) else ("server", key)
            if text != "off":
                yield path, text
    for path, table in tables(data, "tcp"):
        for text in texts(table.get("listen")):
            yield (*path, "listen"), text
