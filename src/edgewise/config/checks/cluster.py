"""Nodes that act together: that they can reach each other, and have a secret in common."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path as FilePath
from typing import Any

from edgewise.config.checks.tables import exactly_one, value_at
from edgewise.config.problems import Mistake, show


def check_cluster(data: dict[str, Any], directory: FilePath) -> Iterator[Mistake]:
    """Yield the mistakes of the table."""
    table = value_at(data, "cluster")
    if not isinstance(table, dict):
        return
    yield from exactly_one(("cluster",), table, ("key", "key_file"))
    if value_at(data, "state") is None:
        yield Mistake(("cluster",), "nodes meet at the engine of shared state", "a [state] table")
    name = table.get("key_file")
    if isinstance(name, str) and name and not (directory / name).is_file():
        yield Mistake(("cluster", "key_file"), f"there is no file {show(str(directory / name))}")
