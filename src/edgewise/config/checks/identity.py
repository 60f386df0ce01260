"""The table [identity]: that JWTs can be signed, and that no two things are told in one field."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path as FilePath
from typing import Any

from edgewise.config.checks.policies import policy_tables
from edgewise.config.checks.tables import tables, texts, value_at
from edgewise.config.identity import Identity
from edgewise.config.problems import Mistake, show

_FIELDS = ("user_field", "consumer_field", "groups_field", "scopes_field", "method_field", "jwt_field")


def check_identity(data: dict[str, Any], directory: FilePath) -> Iterator[Mistake]:
    """Yield the mistakes of the table."""
    table = value_at(data, "identity")
    yield from _said_twice(data)
    if not value_at(data, "identity", "jwt_keys"):
        for path, route in tables(data, "routes"):
            if value_at(route, "respond", "identity_keys") is True:
                yield Mistake((*path, "respond", "identity_keys"), "there are no keys", "jwt_keys in [identity]")
    if not isinstance(table, dict):
        return
    if table.get("format") == "jwt" and not table.get("jwt_keys"):
        yield Mistake(("identity", "format"), "JWTs need a key that signs them", "jwt_keys")
    for name in texts(table.get("jwt_keys")):
        if name and not (directory / name).is_file():
            yield Mistake(("identity", "jwt_keys"), f"there is no file {directory / name}")
    claims = table.get("claim_fields")
    named = [(key, table.get(key, Identity.model_fields[key].default)) for key in _FIELDS]
    named += [("claim_fields", name) for name in claims] if isinstance(claims, dict) else []
    seen: dict[str, str] = {}
    for key, name in named:
        if isinstance(name, str) and seen.setdefault(name.lower(), key) != key:
            yield Mistake(("identity", key), f"{show(name)} is the field of {seen[name.lower()]} already")


def _said_twice(data: dict[str, Any]) -> Iterator[Mistake]:
    """Yield what routes put into fields in which the gateway says who asks."""
    routes = list(tables(data, "routes"))
    asked = any(policies.get("auth") for _, policies in policy_tables(data))
    if not asked and not any(route.get("session") for _, route in routes):
        return
    own = {str(value_at(data, "identity", key) or Identity.model_fields[key].default).lower() for key in _FIELDS}
    for path, route in routes:
        for action in ("set", "add"):
            edits = value_at(route, "request_headers", action)
            for name in edits if isinstance(edits, dict) else ():
                if name.lower() in own:
                    problem = f"{show(name)} is a field of [identity], which says who asks"
                    yield Mistake((*path, "request_headers", action), problem, "another name, there or here")
