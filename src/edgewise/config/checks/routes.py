"""Routes: what becomes of a request, that no two take the same requests, that templates use names that exist."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator
from pathlib import Path as FilePath
from typing import Any

from edgewise.config.checks.tables import exactly_one, tables, texts, value_at
from edgewise.config.compress import installed
from edgewise.config.patterns import path_parameters, unknown_fields
from edgewise.config.problems import BadValue, Mistake, Path, dotted, show

_PARAMETER = re.compile(r"\{[^{}*]*\}")
_REST_PARAMETER = re.compile(r"\{[^{}]*\*\}")
_NO_CONTENT = (204, 304)
"""Statuses whose answers end after the head (RFC 9110 section 6.4.1)."""


def check_routes(data: dict[str, Any], directory: FilePath) -> Iterator[Mistake]:
    """Yield the mistakes of routes."""
    for path, route in tables(data, "routes"):
        yield from exactly_one(path, route, ("upstream", "split", "redirect", "respond", "static"))
        yield from _split(path, route)
        yield from _rewriting(path, route)
        status = value_at(route, "respond", "status")
        if status in _NO_CONTENT and value_at(route, "respond", "body"):
            yield Mistake((*path, "respond", "body"), f"an answer of status {status} has no content")
        root = value_at(route, "static", "root")
        if isinstance(root, str) and root and not (directory / root).is_dir():
            message = f"there is no directory {show(str(directory / root))}"
            yield Mistake((*path, "static", "root"), message, "the name of a directory")
        yield from _caching(path, route)
        yield from _compressing(path, route)
        yield from _hinting(path, route)
        if route.get("clear_site_data") and "upstream" not in route and "split" not in route:
            expected = "a route with upstream or split; respond has headers"
            yield Mistake((*path, "clear_site_data"), "it goes out with what an upstream answers", expected)
    yield from _equal_names(data)
    yield from _equal_matches(data)


def _split(path: Path, route: dict[str, Any]) -> Iterator[Mistake]:
    split = route.get("split")
    if isinstance(split, dict) and not any(split.values()):
        yield Mistake((*path, "split"), "no upstream has a weight", "at least one weight above 0")


def _hinting(path: Path, route: dict[str, Any]) -> Iterator[Mistake]:
    if route.get("early_hints") and "upstream" not in route and "split" not in route:
        expected = "a route with upstream or split"
        yield Mistake((*path, "early_hints"), "they go out while an upstream is asked", expected)
    elif route.get("early_hints_http1") and not route.get("early_hints"):
        yield Mistake((*path, "early_hints_http1"), "has no meaning without early_hints")


def _compressing(path: Path, route: dict[str, Any]) -> Iterator[Mistake]:
    if not route.get("compress") and route.get("compress") != {}:
        return
    if "upstream" not in route and "split" not in route:
        expected = "a route with upstream or split; static has precompressed"
        yield Mistake((*path, "compress"), "only what an upstream answers is compressed", expected)
    codings = value_at(route, "compress", "codings")
    for index, coding in enumerate(codings if isinstance(codings, list) else []):
        if isinstance(coding, str) and not installed(coding):
            message = f"there is no library for {show(coding)} on this machine"
            yield Mistake((*path, "compress", "codings", index), message, "pip install 'edgewise[compress]'")


def _caching(path: Path, route: dict[str, Any]) -> Iterator[Mistake]:
    if "cache" not in route:
        return
    if "upstream" not in route and "split" not in route:
        yield Mistake((*path, "cache"), "only what an upstream answers is kept", "a route with upstream or split")
    elif route.get("session") is not None:
        message = "what the upstream answers depends on the session, whose user is no part of a request that is kept"
        yield Mistake((*path, "cache"), message, "a route without session", other=(*path, "session"))


def _rewriting(path: Path, route: dict[str, Any]) -> Iterator[Mistake]:
    if "rewrite" in route and "strip_prefix" in route:
        yield Mistake((*path, "rewrite"), "strip_prefix and rewrite exclude each other")
    parameters = _common_parameters(route)
    for key in (("rewrite",), ("redirect", "to")):
        template = value_at(route, *key)
        if isinstance(template, str) and parameters is not None:
            yield from (Mistake((*path, *key), *words) for words in unknown_fields(template, parameters))


def _common_parameters(route: dict[str, Any]) -> list[str] | None:
    """Return the parameters that every path of a route has; None where a path is not valid."""
    try:
        each = [path_parameters(pattern) for pattern in texts(route.get("path", "/*"))]
    except BadValue:
        return None
    return [name for name in each[0] if all(name in others for others in each)] if each else None


def _equal_names(data: dict[str, Any]) -> Iterator[Mistake]:
    first: dict[str, Path] = {}
    for path, route in tables(data, "routes"):
        name = route.get("name")
        if isinstance(name, str) and first.setdefault(name, path) is not path:
            message = f"the name {show(name)} is that of {dotted(first[name])} too"
            yield Mistake((*path, "name"), message, other=first[name])


def _equal_matches(data: dict[str, Any]) -> Iterator[Mistake]:
    first: dict[str, Path] = {}
    for path, route in tables(data, "routes"):
        for match in _matches(route):
            if first.setdefault(match, path) is not path:
                message = f"takes the same requests as {dotted(first[match])}"
                yield Mistake(path, message, "another host, path, method, headers or query", other=first[match])
                break


def _matches(route: dict[str, Any]) -> Iterator[str]:
    """Yield one text for each host, path and method of a route: equal texts match the same requests."""
    hosts = texts(route.get("host")) or [""]
    paths = [_PARAMETER.sub("{}", _REST_PARAMETER.sub("*", path)) for path in texts(route.get("path", "/*"))]
    methods = texts(route.get("method")) or [""]
    headers = route.get("headers")
    fields = sorted((name.lower(), str(value)) for name, value in headers.items()) if isinstance(headers, dict) else []
    query = route.get("query")
    pairs = sorted((name, str(value)) for name, value in query.items()) if isinstance(query, dict) else []
    for combination in itertools.product(hosts, paths, methods):
        yield json.dumps([combination, fields, pairs, route.get("internal") is True])
