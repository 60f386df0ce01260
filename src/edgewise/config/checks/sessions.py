"""Sessions held by the gateway: that what their kind needs is there, and that routes can use them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path as FilePath
from typing import Any

from edgewise.config.checks.tables import tables, texts, value_at
from edgewise.config.problems import Mistake, show

_LOGIN = re.compile(r"/(?:[!-\"$-.0-;=>@-\[\]-~][!-\"$->@-\[\]-~]*)?")
"""A path of this host: not "//", which would be another one, and without backslash, query or fragment."""


def check_sessions(data: dict[str, Any], directory: FilePath) -> Iterator[Mistake]:
    """Yield the mistakes of the table and of the routes."""
    yield from _table(data, directory)
    held = any(route.get("session") is not None for _, route in tables(data, "routes"))
    for path, upstream in tables(data, "upstreams"):
        if upstream.get("hash_key") == "session" and not held:
            yield Mistake((*path, "hash_key"), "no route has a session", 'a route with session = "optional"')
    for path, route in tables(data, "routes"):
        login = route.get("login")
        if login is not None and route.get("session") != "required":
            yield Mistake((*path, "login"), "has no meaning without a session that is required", 'session = "required"')
        if isinstance(login, str) and not _LOGIN.fullmatch(login):
            yield Mistake((*path, "login"), f"{show(login)} is not a path of this host", 'a path such as "/login"')
        if route.get("csrf") == "token" and route.get("session") is None:
            yield Mistake((*path, "csrf"), "tokens are those of a session", 'session = "optional" or "required"')
        for key in ("session", "csrf"):
            if route.get("internal") is True and route.get(key):
                yield Mistake((*path, key), "an internal route takes over what another route admitted")


def _table(data: dict[str, Any], directory: FilePath) -> Iterator[Mistake]:
    table = value_at(data, "sessions")
    if not isinstance(table, dict):
        return
    sealed = table.get("mode") == "sealed"
    for key in ("secrets", "secret_files"):
        if table.get(key) and not sealed:
            yield Mistake(("sessions", key), "has no meaning for stateful sessions", 'mode = "sealed"')
    if sealed and not (table.get("secrets") or table.get("secret_files")):
        yield Mistake(("sessions", "mode"), "sealed sessions need a secret", "secrets or secret_files")
    for name in texts(table.get("secret_files")):
        if name and not (directory / name).is_file():
            yield Mistake(("sessions", "secret_files"), f"there is no file {directory / name}")
    yield from _cookie(data, table)


def _cookie(data: dict[str, Any], table: dict[str, Any]) -> Iterator[Mistake]:
    """Yield what browsers would not store (RFC 6265bis section 4.1.3)."""
    secure = table.get("secure", bool(value_at(data, "server", "tls_listen")))
    name = table.get("cookie")
    if secure is not False:
        return
    if isinstance(name, str) and name.lower().startswith(("__host-", "__secure-")):
        yield Mistake(("sessions", "cookie"), f"browsers store {show(name)} only with secure", "secure = true")
    if table.get("same_site") == "None":
        yield Mistake(("sessions", "same_site"), 'browsers store "None" only with secure', "secure = true")
