"""Logins with OpenID Connect: that `auth` names a provider there is, and that logins can be kept as they are wanted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path as FilePath
from typing import Any

from edgewise.config.checks.policies import policy_tables
from edgewise.config.checks.tables import tables, value_at
from edgewise.config.oidc import RESERVED
from edgewise.config.problems import Mistake, Path, nearest, show

_PATHS = ("login", "callback", "logout", "backchannel_logout")


def check_oidc(data: dict[str, Any], directory: FilePath) -> Iterator[Mistake]:
    """Yield the mistakes of [oidc.NAME], and of those who name it."""
    for path, policies in policy_tables(data):
        name = value_at(policies, "auth", "oidc")
        known = value_at(data, "oidc") or {}
        if isinstance(name, str) and isinstance(known, dict) and name not in known:
            close = nearest(name, list(known))
            expected = "" if close else "the name of a table [oidc.NAME]"
            yield Mistake((*path, "auth", "oidc"), f"there is no [oidc.{name}]", expected, close)
    for path, table in tables(data, "oidc"):
        yield from _table(path, table, directory)
        if table.get("pass_token") is not None and value_at(data, "sessions", "mode") == "sealed":
            expected = 'sessions with mode = "stateful"'
            yield Mistake((*path, "pass_token"), "sealed sessions have no room for tokens", expected)
    if value_at(data, "oidc") and value_at(data, "sessions", "same_site") == "Strict":
        message = "browsers that come back from a login at a provider would not send the cookie"
        yield Mistake(("sessions", "same_site"), message, 'same_site = "Lax"')
    yield from _taken_twice(data)


def _table(path: Path, table: dict[str, Any], directory: FilePath) -> Iterator[Mistake]:
    if "client_secret" in table and "client_secret_file" in table:
        yield Mistake((*path, "client_secret_file"), "client_secret and client_secret_file exclude each other")
    for key in ("client_secret_file", "ca_file"):
        name = table.get(key)
        if isinstance(name, str) and name and not (directory / name).is_file():
            yield Mistake((*path, key), f"there is no file {directory / name}")
    params = table.get("authorize_params")
    for key in params if isinstance(params, dict) else ():
        if key in RESERVED:
            yield Mistake((*path, "authorize_params", key), "edgewise sets this parameter itself")


def _taken_twice(data: dict[str, Any]) -> Iterator[Mistake]:
    """Yield paths that more than one purpose is to have."""
    taken = [
        ((*path, key), table.get(key) or f"/oauth2/{path[-1]}/{key.replace('_', '-')}")
        for path, table in tables(data, "oidc")
        for key in _PATHS
    ]
    counts = Counter(where for _, where in taken if isinstance(where, str))
    for path, where in taken:
        if isinstance(where, str) and counts[where] > 1 and value_at(data, *map(str, path)) is not None:
            yield Mistake(path, f"{show(where)} is the path of something else too", "a path of its own")
