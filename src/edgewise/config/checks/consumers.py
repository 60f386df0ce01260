"""Consumers and their ways to be told: keys that two of them have, files of users, what cannot be kept from servers."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path as FilePath
from typing import Any

from edgewise.config.checks.policies import policy_tables
from edgewise.config.checks.tables import tables, texts
from edgewise.config.consumers import PLAIN_KEY, SHA256
from edgewise.config.credentials import CONSUMERS
from edgewise.config.htpasswd import MOST_BYTES, read_htpasswd
from edgewise.config.problems import Mistake, Path

_MOST_SHOWN = 3
"""Lines of a file of users that are named."""


def check_consumers(data: dict[str, Any], directory: FilePath) -> Iterator[Mistake]:
    """Yield the mistakes of consumers and of the ways to tell them."""
    yield from _keys(data)
    seen: set[str] = set()
    for path, policies in policy_tables(data):
        auth = policies.get("auth")
        if isinstance(auth, dict):
            yield from _places((*path, "auth", "api_keys"), auth.get("api_keys"))
            yield from _users((*path, "auth", "basic"), auth.get("basic"), directory, seen)


def _keys(data: dict[str, Any]) -> Iterator[Mistake]:
    """Yield the keys that do not tell whose they are."""
    owners: dict[str, Path] = {}
    for path, consumer in tables(data, "consumers"):
        for index, text in enumerate(texts(consumer.get("api_keys"))):
            if not SHA256.fullmatch(text) and not PLAIN_KEY.fullmatch(text):
                continue
            here: Path = (*path, "api_keys", index)
            digest = text if SHA256.fullmatch(text) else f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"
            if digest in owners:
                yield Mistake(here, "the same key stands elsewhere too", other=owners[digest])
            owners.setdefault(digest, here)


def _places(path: Path, table: Any) -> Iterator[Mistake]:
    if not isinstance(table, dict):
        return
    if table.get("header") is False and not (table.get("query") or table.get("cookie")):
        yield Mistake(path, "says nowhere that a key could be", "header, query or cookie")
    if table.get("hide") is True and table.get("cookie"):
        yield Mistake((*path, "hide"), "cookies cannot be kept from servers", "hide = false, or a key in a header")


def _users(path: Path, value: Any, directory: FilePath, seen: set[str]) -> Iterator[Mistake]:
    """Yield what is wrong with a file of users; of a file that several routes name, once."""
    name = value.get("users", CONSUMERS) if isinstance(value, dict) else value
    if not isinstance(name, str) or name in (CONSUMERS, "") or name in seen:
        return
    seen.add(name)
    path = (*path, "users") if isinstance(value, dict) else path
    file = directory / name
    try:
        with file.open("rb") as opened:
            content = opened.read(MOST_BYTES + 1)
    except OSError as error:
        yield Mistake(
            path, f"cannot read {file}: {(error.strerror or 'unknown error').lower()}", '"consumers" or a file'
        )
        return
    if len(content) > MOST_BYTES:
        yield Mistake(path, f"{file} has more than {MOST_BYTES} bytes")
        return
    for problem in read_htpasswd(content).problems[:_MOST_SHOWN]:
        yield Mistake(path, f"{file}: {problem}")
