"""TLS: files that must exist, certificates for listeners, authorities for client certificates."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path as FilePath
from typing import Any

from edgewise.config.checks.tables import tables, value_at
from edgewise.config.problems import Mistake, Path, show


def check_tls(data: dict[str, Any], directory: FilePath) -> Iterator[Mistake]:
    """Yield the mistakes of [tls] and of upstreams' tls."""
    for path, name in _files(data):
        if isinstance(name, str) and name and not (directory / name).is_file():
            yield Mistake(path, f"there is no file {show(str(directory / name))}", "the name of a readable PEM file")
    if value_at(data, "server", "tls_listen") and not value_at(data, "tls", "certificates"):
        yield Mistake(("server", "tls_listen"), "there are no certificates", "certificates in [tls]")
    yield from _client_certificates(data)
    for path, table in tables(data, "upstreams"):
        tls = table.get("tls")
        if isinstance(tls, dict) and ("cert" in tls) != ("key" in tls):
            given, lacking = ("cert", "key") if "cert" in tls else ("key", "cert")
            yield Mistake((*path, "tls", given), f"needs {lacking} beside it")


def _files(data: dict[str, Any]) -> Iterator[tuple[Path, Any]]:
    """Yield each path that names a file, and the name."""
    for path, table in tables(data, "tls", "certificates"):
        yield from (((*path, key), table.get(key)) for key in ("cert", "key"))
    yield ("tls", "client_ca"), value_at(data, "tls", "client_ca")
    for path, table in tables(data, "tls", "hosts"):
        yield (*path, "client_ca"), table.get("client_ca")
    for path, table in tables(data, "upstreams"):
        yield from (((*path, "tls", key), value_at(table, "tls", key)) for key in ("ca", "cert", "key"))


def _client_certificates(data: dict[str, Any]) -> Iterator[Mistake]:
    everywhere = value_at(data, "tls", "client_ca")
    whole = data.get("tls")
    places = [*([(("tls",), whole)] if isinstance(whole, dict) else []), *tables(data, "tls", "hosts")]
    for path, table in places:
        if table.get("client_auth") in ("optional", "required") and not table.get("client_ca") and not everywhere:
            yield Mistake((*path, "client_auth"), "there is no client_ca", "client_ca beside it, or in [tls]")
