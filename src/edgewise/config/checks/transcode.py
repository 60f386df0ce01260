"""JSON for gRPC: where the services' descriptors come from, and that the servers speak gRPC."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path as FilePath
from typing import Any

from edgewise.config.checks.policies import policy_tables
from edgewise.config.checks.tables import tables, value_at
from edgewise.config.problems import Mistake, Path, show

_HTTP2 = ("h2", "h2c")
_LARGEST = 64 << 20
"""Bytes of a file of descriptors."""


def check_transcode(data: dict[str, Any], directory: FilePath) -> Iterator[Mistake]:
    """Yield the mistakes of the tables."""
    for path, policies in policy_tables(data):
        spec = policies.get("transcode")
        if isinstance(spec, dict):
            yield from _check_source((*path, "transcode"), spec, directory)
    for path, route in tables(data, "routes"):
        yield from _check_route(path, route, data)


def _check_source(path: Path, spec: dict[str, Any], directory: FilePath) -> Iterator[Mistake]:
    name = spec.get("descriptors")
    if (name is None) == (spec.get("reflection") is not True):
        found = "no descriptors" if name is None else "both a file of descriptors and reflection"
        yield Mistake(path, found, '`descriptors = "api.binpb"` or `reflection = true`')
    elif isinstance(name, str) and name:
        file = directory / name
        if not file.is_file():
            yield Mistake((*path, "descriptors"), f"{show(str(file))} does not exist")
        elif file.stat().st_size > _LARGEST:
            yield Mistake((*path, "descriptors"), f"{show(str(file))} is too large", f"{_LARGEST} bytes at most")
    if find_spec("google") is None or find_spec("google.protobuf") is None or find_spec("google.api") is None:
        yield Mistake(path, "the packages that read descriptors are missing", "pip install 'edgewise[grpc]'")


def _check_route(path: Path, route: dict[str, Any], data: dict[str, Any]) -> Iterator[Mistake]:
    split = route.get("split")
    names = [route.get("upstream"), *(split if isinstance(split, dict) else ())]
    names = [name for name in names if isinstance(name, str)]
    held = [value_at(data, "upstreams", name, "policies", "transcode") for name in names]
    levels = [route.get("transcode"), *held]
    if not any(isinstance(spec, dict) for spec in levels) or route.get("transcode") is False:
        return
    if isinstance(split, dict) and any(isinstance(one, dict) and one.get("reflection") for one in levels):
        told = "reflection asks the servers of one upstream, and the route splits its requests"
        yield Mistake((*path, "split"), told, "`descriptors`, or a route for each upstream")
    if not names:
        yield Mistake((*path, "transcode"), "the route has no upstream")
    for name in names:
        if (
            value_at(data, "upstreams", name) is not None
            and value_at(data, "upstreams", name, "protocol") not in _HTTP2
        ):
            told = f"the servers of {show(name)} do not speak gRPC"
            yield Mistake((*path, "upstream"), told, '`protocol = "h2c"`, or "h2" with `tls = true`')
    if isinstance(route.get("cache"), dict):
        yield Mistake((*path, "cache"), "answers of gRPC are not cached", "no `cache` where `transcode` holds")
