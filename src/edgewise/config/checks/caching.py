"""The cache: that its directory can be used."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path as FilePath
from typing import Any

from edgewise.config.checks.tables import value_at
from edgewise.config.problems import Mistake, show


def check_cache(data: dict[str, Any], directory: FilePath) -> Iterator[Mistake]:
    """Yield the mistakes of the table."""
    name = value_at(data, "cache", "directory")
    if not isinstance(name, str) or not name or not value_at(data, "cache", "disk"):
        return
    wanted = directory / name
    there = next(path for path in (wanted, *wanted.parents) if path.exists())
    if not there.is_dir():
        yield Mistake(("cache", "directory"), f"{show(str(there))} is no directory", "a directory")
    elif not os.access(there, os.R_OK | os.W_OK | os.X_OK):
        yield Mistake(("cache", "directory"), f"there is no right to write in {show(str(there))}")
