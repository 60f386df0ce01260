"""TLS: files that must exist, where certificates come from, authorities for client certificates."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path as FilePath
from typing import Any

from edgewise.config.checks.tables import tables, texts, value_at
from edgewise.config.problems import BadValue, Mistake, Path, show
from edgewise.config.tls import public_names
from edgewise.config.values import parse_age

_A_YEAR = 31536000


def check_tls(data: dict[str, Any], directory: FilePath) -> Iterator[Mistake]:
    """Yield the mistakes of [tls] and of upstreams' tls."""
    for path, name in _files(data):
        if isinstance(name, str) and name and not (directory / name).is_file():
            yield Mistake(path, f"there is no file {show(str(directory / name))}", "the name of a readable PEM file")
    sources = [key for key in ("certificates", "acme", "internal") if value_at(data, "tls", key)]
    if value_at(data, "server", "tls_listen") and not (sources or value_at(data, "tls", "acme") == {}):
        expected = "certificates, acme or internal in [tls]"
        yield Mistake(("server", "tls_listen"), "there are no certificates", expected)
    yield from _own_certificates(data)
    yield from _without_listeners(data)
    yield from _hsts(data)
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
    yield ("tls", "acme", "ca_file"), value_at(data, "tls", "acme", "ca_file")
    yield ("tls", "client_ca"), value_at(data, "tls", "client_ca")
    for path, table in tables(data, "tls", "hosts"):
        yield (*path, "client_ca"), table.get("client_ca")
    for path, table in tables(data, "upstreams"):
        yield from (((*path, "tls", key), value_at(table, "tls", key)) for key in ("ca", "cert", "key"))


def _own_certificates(data: dict[str, Any]) -> Iterator[Mistake]:
    """Yield what keeps certificates from being had for the hosts of the routes."""
    acme = value_at(data, "tls", "acme")
    if acme is not True and not isinstance(acme, dict):
        return
    if value_at(data, "tls", "internal") is True:
        yield Mistake(("tls", "internal"), "acme and internal exclude each other", "one of them")
    if acme is not True and acme.get("names"):
        return
    given = {host for _, table in tables(data, "tls", "certificates") for host in texts(table.get("hosts"))}
    hosts: list[str] = []
    for path, route in tables(data, "routes"):
        for host in texts(route.get("host")):
            hosts.append(host)
            if host.startswith("*.") and host not in given:
                message = f"{show(host)} is a wildcard, for which tls.acme gets no certificate"
                expected = (
                    "exact host names; or names in [tls.acme]; "
                    f"or a certificate in tls.certificates with hosts = [{show(host)}]"
                )
                yield Mistake((*path, "host"), message, expected)
    if not public_names(hosts):
        expected = "a host in a route, or names in [tls.acme]"
        yield Mistake(("tls", "acme"), "there are no host names to get certificates for", expected)


def _without_listeners(data: dict[str, Any]) -> Iterator[Mistake]:
    """Yield settings of HTTPS that nothing would serve."""
    if value_at(data, "server", "tls_listen"):
        return
    for key in ("acme", "internal", "redirect", "hsts"):
        value = value_at(data, "tls", key)
        if value is not None and value is not False:
            yield Mistake(("tls", key), "has no meaning without HTTPS", "an address in server.tls_listen")


def _hsts(data: dict[str, Any]) -> Iterator[Mistake]:
    """Yield what the list that browsers come with would refuse (hstspreload.org)."""
    hsts = value_at(data, "tls", "hsts")
    if not isinstance(hsts, dict) or hsts.get("preload") is not True:
        return
    if hsts.get("include_subdomains") is not True:
        yield Mistake(("tls", "hsts", "preload"), "needs include_subdomains = true beside it")
    try:
        too_short = parse_age(hsts.get("max_age")) < _A_YEAR
    except BadValue:
        return
    if too_short:
        yield Mistake(("tls", "hsts", "max_age"), "is too short for preload", 'at least "1y"')


def _client_certificates(data: dict[str, Any]) -> Iterator[Mistake]:
    everywhere = value_at(data, "tls", "client_ca")
    whole = data.get("tls")
    places = [*([(("tls",), whole)] if isinstance(whole, dict) else []), *tables(data, "tls", "hosts")]
    for path, table in places:
        if table.get("client_auth") in ("optional", "required") and not table.get("client_ca") and not everywhere:
            yield Mistake((*path, "client_auth"), "there is no client_ca", "client_ca beside it, or in [tls]")
