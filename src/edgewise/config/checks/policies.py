"""Policies: that what a split leads to is protected alike, and that `auth` names a way to tell who asks."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path as FilePath
from typing import Any

from edgewise.config.auth import Auth
from edgewise.config.checks.tables import tables, value_at
from edgewise.config.problems import Mistake, Path

_NO_WAYS = frozenset(("require", "optional"))


def check_policies(data: dict[str, Any], directory: FilePath) -> Iterator[Mistake]:
    """Yield the mistakes of policies."""
    for path, policies in policy_tables(data):
        auth = policies.get("auth")
        if isinstance(auth, dict) and not auth.keys() - _NO_WAYS:
            ways = ", ".join(key for key in Auth.model_fields if key not in _NO_WAYS)
            yield Mistake((*path, "auth"), "names no way to tell who asks", f"one or more of {ways}")
        page = value_at(policies, "maintenance", "page")
        if isinstance(page, str) and page and not (directory / page).is_file():
            yield Mistake((*path, "maintenance", "page"), f"there is no file {directory / page}")
        yield from _cors((*path, "cors"), policies.get("cors"))
    yield from _authorize(data)
    for path, route in tables(data, "routes"):
        split = route.get("split")
        if isinstance(split, dict):
            held = [value_at(data, "upstreams", name, "policies") or {} for name in split]
            if any(one != held[0] for one in held):
                expected = "equal policies in each of them, or policies in the route"
                yield Mistake((*path, "split"), "its upstreams have different policies", expected)


def _authorize(data: dict[str, Any]) -> Iterator[Mistake]:
    found = list(policy_tables(data))
    if any(policies.get("auth") for _, policies in found):
        return
    for path, policies in found:
        if policies.get("authorize"):
            yield Mistake((*path, "authorize"), "nobody is ever verified", "auth")


def _cors(path: Path, cors: Any) -> Iterator[Mistake]:
    """Yield what no browser would accept, or what would hand every site the user's cookies."""
    if not isinstance(cors, dict) or cors.get("credentials") is not True:
        return
    if "*" in cors.get("origins", ["*"]):
        yield Mistake((*path, "credentials"), "any site could act with the user's cookies", "origins that are named")
    if "*" in cors.get("expose", []):
        yield Mistake((*path, "expose"), 'with credentials "*" is a name like any other', "names of fields")


def policy_tables(data: dict[str, Any]) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Yield path and content of every table that policies may stand in."""
    yield from tables(data, "routes")
    yield from tables(data, "hosts")
    for path, upstream in tables(data, "upstreams"):
        if isinstance(upstream.get("policies"), dict):
            yield (*path, "policies"), upstream["policies"]
    if isinstance(data.get("policies"), dict):
        yield ("policies",), data["policies"]
