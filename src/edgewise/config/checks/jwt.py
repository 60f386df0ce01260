"""Issuers of tokens: that each has keys, that its algorithms are for them, and that routes name issuers there are."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path as FilePath
from typing import Any

from edgewise.config.checks.policies import policy_tables
from edgewise.config.checks.tables import exactly_one, tables, texts, value_at
from edgewise.config.jwt import is_url
from edgewise.config.problems import Mistake, Path, nearest, show

_SOURCES = ("jwks", "discovery", "key_files", "secret_file", "secret_env")
_LEAST = {"HS256": 32, "HS384": 48, "HS512": 64}
"""Bytes of a secret (RFC 7518 section 3.2)."""
_MOST_SECRET = 4096
_SECRETS = ("secret_file", "secret_env")
_PLACES = ("header", "cookie", "query", "hide", "realm")


def check_jwt(data: dict[str, Any], directory: FilePath) -> Iterator[Mistake]:
    """Yield the mistakes of issuers and of the routes that ask for their tokens."""
    for path, table in tables(data, "jwt"):
        yield from _keys(path, {key: value for key, value in table.items() if value not in (False, [])})
        yield from _files(path, table, directory)
        yield from _secret(path, table, directory)
        if table.get("any_audience") is not True and "audience" not in table:
            yield Mistake(path, "says not whom its tokens are for", "audience, or any_audience = true")
        if table.get("any_audience") is True and "audience" in table:
            yield Mistake((*path, "any_audience"), "has no meaning beside audience")
        if table.get("header") is False and not (table.get("cookie") or table.get("query")):
            yield Mistake(path, "says nowhere that a token could be", "header, cookie or query")
        if table.get("hide") is True and (table.get("cookie") or table.get("query")):
            yield Mistake((*path, "hide"), "keeps only a header from servers", "hide = false, or a token in a header")
    for path, policies in policy_tables(data):
        yield from _names(data, (*path, "auth", "jwt"), value_at(policies, "auth", "jwt"))


def _keys(path: Path, table: dict[str, Any]) -> Iterator[Mistake]:
    """Yield what is wrong with where the keys are, and with algorithms that they are not for."""
    yield from exactly_one(path, table, _SOURCES)
    symmetric = [name for name in texts(table.get("algorithms")) if name.startswith("HS")]
    asymmetric = [name for name in texts(table.get("algorithms")) if not name.startswith("HS")]
    jwks = table.get("jwks")
    told = "discovery" in table or (isinstance(jwks, str) and is_url(jwks))
    if symmetric and (told or "key_files" in table):
        expected = f"algorithms of public keys; {show(symmetric[0])} is for a secret that nobody else reads"
        yield Mistake((*path, "algorithms"), "its keys are told to everybody", expected)
    if asymmetric and any(key in table for key in _SECRETS):
        yield Mistake((*path, "algorithms"), f"{show(asymmetric[0])} is not for a secret", "HS256, HS384 or HS512")
    issuers = texts(table.get("issuer"))
    if "discovery" in table and not (len(issuers) == 1 and is_url(issuers[0])):
        yield Mistake((*path, "discovery"), "asks one issuer that is a URL", 'such as "https://login.example.com"')
    if "ca_file" in table and not told:
        yield Mistake((*path, "ca_file"), "has no meaning for keys that are not at a URL")


def _files(path: Path, table: dict[str, Any], directory: FilePath) -> Iterator[Mistake]:
    for key in ("jwks", "key_files", "secret_file", "ca_file"):
        for name in texts(table.get(key)):
            if name and "://" not in name and not (directory / name).is_file():
                yield Mistake((*path, key), f"there is no file {directory / name}")


def _secret(path: Path, table: dict[str, Any], directory: FilePath) -> Iterator[Mistake]:
    """Yield that a secret is too short for an algorithm."""
    name = table.get("secret_file")
    if not isinstance(name, str) or not (directory / name).is_file():
        return
    with (directory / name).open("rb") as file:
        size = len(file.read(_MOST_SECRET).rstrip(b"\r\n"))
    for algorithm in texts(table.get("algorithms")) or ["HS256"]:
        if size < _LEAST.get(algorithm, 0):
            expected = f"{_LEAST[algorithm]} or more, from a source of randomness"
            yield Mistake((*path, "secret_file"), f"{size} bytes are too few for {algorithm}", expected)


def _names(data: dict[str, Any], path: Path, value: Any) -> Iterator[Mistake]:
    """Yield the issuers that are not there; several on one route have their tokens in the same place."""
    found = {}
    known = value_at(data, "jwt") or {}
    for name in texts(value):
        table = value_at(data, "jwt", name)
        if isinstance(table, dict):
            found[name] = {key: table[key] for key in _PLACES if key in table}
        elif isinstance(known, dict):
            close = nearest(name, list(known))
            yield Mistake(path, f"there is no issuer {show(name)}", f"a table [jwt.{name}]", close)
    first = next(iter(found.values()), None)
    if any(one != first for one in found.values()):
        yield Mistake(path, "the issuers have their tokens in different places", f"equal {', '.join(_PLACES)}")
