"""A login at a real provider in a real browser, over HTTPS: there, back, a script's requests, and the logout."""

from __future__ import annotations

import json
from contextlib import ExitStack
from pathlib import Path

import pytest

from edgewise.tls.development import DevelopmentAuthority
from support.chromium import PROGRAM, Chromium
from support.edgewise_process import EdgewiseProcess, free_port
from support.oidc_process import OidcProvider
from support.origin import Origin, OriginConnection

TOML = """
[server]
listen = ["127.0.0.1:$PORT"]
tls_listen = ["127.0.0.1:$TLS_PORT"]
admin = "127.0.0.1:$ADMIN_PORT"
workers = 2
[tls]
certificates = [{ cert = "$DIR/site.pem", key = "$DIR/site-key.pem" }]
[state]
url = "sqlite:state"
[oidc.staff]
issuer = "ISSUER"
client_id = "edge"
user_claim = "preferred_username"
[upstreams.app]
servers = ["ORIGIN"]
[[routes]]
path = "/open"
respond = { content_type = "text/html", body = "<title>open</title>" }
[[routes]]
path = "/staff/*"
upstream = "app"
auth = { oidc = "staff" }
"""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(180),
    pytest.mark.skipif(not PROGRAM.exists(), reason="Chromium is not installed"),
]


def app(connection: OriginConnection) -> None:
    """A page that says what the app was told."""
    while True:
        request = connection.read_request().decode("latin-1")
        body = f"<!doctype html><title>staff</title><pre>{request}</pre>".encode()
        connection.send(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
        )


def test_a_user_logs_in_works_and_logs_out(tmp_path: Path) -> None:
    ports = (free_port(), free_port(), free_port())
    site = f"https://localhost:{ports[1]}"
    pair = DevelopmentAuthority().issue(("localhost",))
    (tmp_path / "site.pem").write_bytes(pair.certificate)
    (tmp_path / "site-key.pem").write_bytes(pair.key)
    with ExitStack() as stack:
        origin, provider = Origin(app), OidcProvider(tmp_path)
        stack.callback(origin.stop)
        stack.callback(provider.stop)
        provider.register("edge", site)
        toml = TOML.replace("ISSUER", provider.issuer).replace("ORIGIN", origin.address)
        stack.callback(EdgewiseProcess(toml, tmp_path, ports=ports).stop)
        _journey(stack.enter_context(Chromium(tmp_path)), site)


def _journey(browser: Chromium, site: str) -> None:
    browser.open(f"{site}/open")
    browser.wait("document.title == 'open'")
    asking = "fetch('/staff/data').then(answer => `${answer.status} ${answer.redirected}`)"
    assert browser.run(asking) == "401 false"

    browser.run("location = '/staff/reports?year=2026'; 1")
    browser.wait("document.title == 'Provider'")
    browser.run("username.value = 'alice'; password.value = 'secret'; go.click(); 1")
    browser.wait("document.title == 'staff' && document.readyState == 'complete'")
    assert browser.run("location.href") == f"{site}/staff/reports?year=2026"
    text = browser.run("document.body.innerText")
    assert "X-User: alice" in text
    assert "__Host-" not in text
    assert browser.run(asking) == "200 false"
    held = {cookie["name"]: cookie for cookie in browser.cookies(site) if cookie["name"].startswith("__Host-")}
    assert list(held) == ["__Host-session"]
    session = held["__Host-session"]
    assert (session["secure"], session["httpOnly"], session["sameSite"]) == (True, True, "Lax")

    browser.run('document.body.innerHTML = \'<a id="out" href="/oauth2/staff/logout">Log out</a>\'; out.click(); 1')
    browser.wait("location.pathname == '/' && document.readyState == 'complete'")
    assert [cookie["name"] for cookie in browser.cookies(site) if "session" in cookie["name"]] == [], json.dumps(held)
    browser.open(f"{site}/staff/")
    browser.wait("document.title == 'Provider'")
