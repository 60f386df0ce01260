"""Signatures: that each has secrets, that their time is signed, and that routes name tables there are."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path as FilePath
from typing import Any

from edgewise.config.checks.policies import policy_tables
from edgewise.config.checks.tables import tables, texts, value_at
from edgewise.config.problems import Mistake, nearest
from edgewise.config.signatures import PRESETS

_SECRETS = ("secrets", "secret_files", "secret_env")


def check_signatures(data: dict[str, Any], directory: FilePath) -> Iterator[Mistake]:
    """Yield the mistakes of [signatures] and of the routes that ask for one."""
    for path, table in tables(data, "signatures"):
        if not any(table.get(key) for key in _SECRETS):
            yield Mistake(path, "has no secret", f"one or more of {', '.join(_SECRETS)}")
        for index, name in enumerate(texts(table.get("secret_files", []))):
            if name and not (directory / name).is_file():
                yield Mistake((*path, "secret_files", index), f"there is no file {str(directory / name)!r}")
        preset = table.get("preset")
        whole = (PRESETS.get(preset, {}) if isinstance(preset, str) else {}) | table
        timed = bool(whole.get("timestamp_header") or whole.get("timestamp"))
        signed = whole.get("signed", "{body}")
        if isinstance(signed, str) and timed != ("{timestamp}" in signed):
            if timed:
                yield Mistake(path, "has a time that is not signed, and so could be any", "{timestamp} in signed")
            else:
                yield Mistake(
                    (*path, "signed"), "signs a time that is nowhere", "timestamp_header, or timestamp and pairs"
                )
        if whole.get("timestamp") and not whole.get("pairs"):
            yield Mistake((*path, "timestamp"), "is the name of a pair", "pairs beside it, or timestamp_header")
    known = value_at(data, "signatures")
    names = list(known) if isinstance(known, dict) else []
    for path, policies in policy_tables(data):
        name = value_at(policies, "auth", "signature")
        if isinstance(name, str) and name not in names:
            where = (*path, "auth", "signature")
            yield Mistake(where, f"there is no table [signatures.{name}]", "the name of one", nearest(name, names))
