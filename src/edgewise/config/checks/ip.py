"""Lists of addresses: that there are some, and that the files that are named can be read."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path as FilePath
from typing import Any

from edgewise.config.checks.policies import policy_tables
from edgewise.config.ip import read_networks
from edgewise.config.problems import BadValue, Mistake, Path

_LISTS = ("allow", "deny", "allow_files", "deny_files")


def check_ip(data: dict[str, Any], directory: FilePath) -> Iterator[Mistake]:
    """Yield the mistakes of tables `ip`."""
    for path, policies in policy_tables(data):
        lists = policies.get("ip")
        if not isinstance(lists, dict):
            continue
        if not any(lists.get(key) for key in _LISTS):
            yield Mistake((*path, "ip"), "names no networks", f"one or more of {', '.join(_LISTS)}")
        for key in ("allow_files", "deny_files"):
            files = lists.get(key)
            for index, name in enumerate(files if isinstance(files, list) else ()):
                if isinstance(name, str) and name:
                    yield from _file((*path, "ip", key, index), directory / name)


def _file(path: Path, file: FilePath) -> Iterator[Mistake]:
    try:
        read_networks(str(file))
    except BadValue as error:
        yield Mistake(path, error.message, error.expected, error.nearest)
    except OSError as error:
        yield Mistake(path, f"{file} cannot be read: {error.strerror}", "the name of a file of networks")
