"""`tls.internal`: certificates of this machine's own authority, which who trusts its root can verify."""

from __future__ import annotations

import ssl
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.edgewise_process import wait_until
from support.https_site import NAME, HttpsSite
from support.raw_http import RawClient, get


@pytest.fixture
def site(tmp_path: Path) -> Iterator[HttpsSite]:
    site = HttpsSite(tmp_path / "site", "internal = true\nredirect = true", hosts=(NAME, "*.dev.test"), workers=2)
    yield site
    site.stop()


def root(site: HttpsSite) -> str:
    return (site.state / "internal" / "root.pem").read_text()


@pytest.mark.parametrize("name", [NAME, "any.dev.test", "localhost", "127.0.0.1"])
def test_the_names_of_the_routes_and_of_this_machine_are_certified_from_the_start(site: HttpsSite, name: str) -> None:
    context = ssl.create_default_context(cadata=root(site))
    with RawClient(("127.0.0.1", site.edgewise.tls_port), tls=context, server_name=name) as client:
        assert client.ask(get("/", NAME)).status == 200


def test_the_root_is_kept_over_restarts_and_its_key_is_for_the_owner_alone(site: HttpsSite) -> None:
    before, shown = root(site), site.served()
    key = site.state / "internal" / "root.key"
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert stat.S_IMODE(site.state.stat().st_mode) == 0o700
    site.kill()
    site.start()
    assert root(site) == before
    assert site.served() == shown


def test_a_host_added_by_a_reload_is_certified_by_the_same_root(site: HttpsSite) -> None:
    before = root(site)
    site.edgewise.write_config(site.toml.replace(f'"{NAME}"', f'"{NAME}", "new.example.com"'))
    site.command("reload")
    assert site.ask("new.example.com", before).status == 200
    assert root(site) == before


def test_the_certificate_is_renewed_on_demand_without_a_lost_connection(site: HttpsSite) -> None:
    before = site.served()
    with site.connect(NAME, root(site)) as standing:
        site.command("renew", "internal")
        wait_until(lambda: all(site.served() != before for _ in range(6)), "every worker shows the new certificate")
        assert standing.ask(get("/", NAME)).status == 200
    assert site.ask(NAME, root(site)).status == 200


def test_plain_requests_are_redirected_for_certified_hosts_only(site: HttpsSite) -> None:
    answer = site.ask_plain("/a?b", "any.dev.test")
    assert (answer.status, answer.get("Location")) == (308, f"https://any.dev.test:{site.edgewise.tls_port}/a?b")
    assert site.ask_plain("/", "other.example").status == 404


def test_a_trusted_proxy_that_came_by_https_is_not_redirected(site: HttpsSite) -> None:
    toml = site.toml.replace("workers = 2", 'workers = 2\ntrusted_proxies = ["127.0.0.1"]')
    site.edgewise.write_config(toml)
    site.command("reload")
    with site.edgewise.client() as client:
        assert client.ask(get("/", NAME, "X-Forwarded-Proto: https")).status == 200
        assert client.ask(get("/", NAME, "X-Forwarded-Proto: http")).status == 308
        assert client.ask(get("/", NAME)).status == 200
