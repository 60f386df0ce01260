"""Upstreams learn who asks, and from nobody but the gateway: whatever a client sends, however it comes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from edgewise.protocols.jwk import read_key_set
from edgewise.protocols.jws import json_claims, read_jws
from support.edgewise_process import EdgewiseProcess, wait_until
from support.http2_raw import Http2Client, request_fields
from support.origin import Origin, OriginConnection
from support.raw_http import RawResponse, get, post

KEY = "X-API-Key: key-of-alice-0123456789"
SPOOFED = (
    "X-User: root",
    "x-consumer: root",
    "X-GROUPS: admins",
    "X-Groups: wheel",
    "X-Scopes: all",
    "X-Auth-Method: trust",
    "X-Identity: forged",
    "X-Tenant: root",
    "X_User: root",
    "X_Groups: admins",
    "x_auth-method: trust",
)
OWN = ("x-user", "x-consumer", "x-groups", "x-scopes", "x-auth-method", "x-identity", "x-tenant")
TOLD = [
    "X-User: alice",
    "X-Consumer: alice",
    "X-Groups: ops,staff",
    "X-Scopes: orders:read",
    "X-Auth-Method: api_keys",
    "X-Tenant: t1",
]
TOML = """
[server]
listen = ["127.0.0.1:$PORT"]
admin = "127.0.0.1:$ADMIN_PORT"
workers = 1
[access_log]
path = "access.log"
[decision_log]
path = "decisions.log"
of = "all"
[identity]
claim_fields = { X-Tenant = "tenant" }
[consumers.alice]
api_keys = ["key-of-alice-0123456789"]
groups = ["staff", "ops"]
scopes = ["orders:read"]
claims = { tenant = "t1" }
[upstreams.app]
servers = ["ORIGIN"]
[[routes]]
path = "/open/*"
upstream = "app"
[[routes]]
path = "/known/*"
upstream = "app"
auth = { api_keys = "consumers" }
[[routes]]
path = "/optional/*"
upstream = "app"
auth = { api_keys = "consumers", optional = true }
[[routes]]
path = "/cached/*"
upstream = "app"
auth = { api_keys = "consumers" }
cache = {}
[[routes]]
path = "/filtered/*"
upstream = "app"
auth = { api_keys = "consumers" }
filters = ["support.idle_filters:later"]
[[routes]]
path = "/seen/*"
upstream = "app"
filters = ["support.telling_filters:seen"]
[[routes]]
path = "/carol/*"
upstream = "app"
filters = ["support.telling_filters:carol"]
[[routes]]
path = "/inside/*"
upstream = "app"
internal = true
[[routes]]
path = "/orders/*"
upstream = "app"
auth = { api_keys = "consumers", optional = true }
authorize = [
    { name = "readers", methods = ["GET"], scopes = ["orders:read"] },
    { methods = ["POST"], scopes = ["orders:write"] },
    { methods = ["HEAD"], anonymous = true },
]
"""


def app(connection: OriginConnection) -> None:
    """Answers with what it received, and as its path says."""
    while True:
        request = connection.read_request()
        path, told, status = request.split(b" ")[1], b"", b"200 OK"
        if path.endswith(b"/redirected"):
            told = b"X-Accel-Redirect: /inside/page\r\n"
        elif path.endswith(b"/kept"):
            told = b"Cache-Control: public, max-age=60\r\n"
        elif b"upgrade: websocket" in request.lower():
            connection.send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
            connection.send(request)
            return
        body = b"" if request.startswith(b"HEAD") else request
        connection.send(b"HTTP/1.1 %b\r\n%bContent-Length: %d\r\n\r\n%b" % (status, told, len(request), body))


@pytest.fixture(scope="module")
def origin() -> Iterator[Origin]:
    server = Origin(app)
    yield server
    server.stop()


@pytest.fixture(scope="module")
def edgewise(tmp_path_factory: pytest.TempPathFactory, origin: Origin) -> Iterator[EdgewiseProcess]:
    running = EdgewiseProcess(TOML.replace("ORIGIN", origin.address), tmp_path_factory.mktemp("identity"))
    yield running
    running.stop()
    assert "Traceback" not in running.log, running.log


def ask(edgewise: EdgewiseProcess, path: str, *lines: str) -> RawResponse:
    with edgewise.client() as client:
        return client.ask(get(path, "shop.example", *lines))


def told(request: bytes | str) -> list[str]:
    """Return the lines of a request that say who asks, also those that CGI and WSGI would read so."""
    text = request.decode("latin-1") if isinstance(request, bytes) else request
    lines = text.partition("\r\n\r\n")[0].split("\r\n")[1:]
    return [line for line in lines if line.partition(":")[0].lower().replace("_", "-") in OWN]


@pytest.mark.parametrize(
    "path", ["/known/", "/optional/", "/cached/", "/cached/kept", "/filtered/", "/known/redirected"]
)
@pytest.mark.parametrize("more", [(), ("Connection: close, X-User, x-groups, X_User",)])
def test_who_was_verified_is_told_in_place_of_what_a_client_says(
    edgewise: EdgewiseProcess, path: str, more: tuple[str, ...]
) -> None:
    answer = ask(edgewise, f"{path}?{len(more)}", KEY, *SPOOFED, *more)
    assert answer.status == 200
    assert told(answer.body) == TOLD


@pytest.mark.parametrize("path", ["/open/", "/optional/", "/open/redirected", "/optional/redirected"])
def test_of_nobody_nothing_is_told(edgewise: EdgewiseProcess, path: str) -> None:
    for _ in range(3):  # by a new plan, and by one that is remembered
        assert told(ask(edgewise, path, *SPOOFED).body) == []
    assert told(ask(edgewise, path).body) == []


def test_over_http2_as_over_http1(edgewise: EdgewiseProcess) -> None:
    spoofed = [(name.lower(), value) for name, _, value in (line.partition(": ") for line in SPOOFED)]
    with Http2Client(("127.0.0.1", edgewise.port)) as client:
        for path, key, expected in (("/known/", True, TOLD), ("/open/", False, [])):
            fields = request_fields(path, "GET", *spoofed, *([("x-api-key", KEY.partition(": ")[2])] * key))
            assert told(bytes(client.answer(client.request(fields)).body)) == expected


@pytest.mark.parametrize(("path", "expected"), [("/known/socket", TOLD), ("/open/socket", [])])
def test_websocket_handshakes_too(edgewise: EdgewiseProcess, path: str, expected: list[str]) -> None:
    upgrade = ("Connection: Upgrade, X-User", "Upgrade: websocket", "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==")
    with edgewise.client() as client:
        client.send(get(path, "shop.example", KEY, *upgrade, "Sec-WebSocket-Version: 13", *SPOOFED))
        assert client.read().status == 101
        assert told(client.reader.until(b"\r\n\r\n")) == expected


def test_trailers_do_not_say_it_either(edgewise: EdgewiseProcess, origin: Origin) -> None:
    head = "POST /open/ HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTrailer: X-User\r\n\r\n"
    with edgewise.client() as client:
        answer = client.ask(f"{head}2\r\nok\r\n0\r\nX-User: root\r\nX_groups: all\r\nX-Sum: 1\r\n\r\n".encode())
    assert answer.status == 200
    assert answer.body.endswith(b"0\r\nX-Sum: 1\r\n\r\n")


def test_filters_see_nothing_of_it_and_may_say_who_it_is(edgewise: EdgewiseProcess) -> None:
    assert ask(edgewise, "/seen/", *SPOOFED).body == b"nobody []"
    answer = ask(edgewise, "/carol/", *SPOOFED)
    assert told(answer.body) == ["X-User: carol", "X-Groups: staff", "X-Auth-Method: own"]


class TestRules:
    def ask(self, edgewise: EdgewiseProcess, method: str, *lines: str) -> RawResponse:
        with edgewise.client() as client:
            if method == "POST":
                return client.ask(post(b"{}", "/orders/1", "shop.example", *lines))
            text = get("/orders/1", "shop.example", *lines).replace(b"GET", method.encode(), 1)
            return client.ask(text, head_request=method == "HEAD")

    def test_one_of_them_must_allow_it(self, edgewise: EdgewiseProcess) -> None:
        assert self.ask(edgewise, "GET", KEY).status == 200
        assert self.ask(edgewise, "HEAD").status == 200
        refused = self.ask(edgewise, "POST", KEY)
        assert (refused.status, refused.get("Content-Type")) == (403, "application/problem+json")
        problem = json.loads(refused.body)
        assert (problem["policy"], problem["detail"]) == (
            "authorize",
            "The credential lacks a scope that is needed: orders:write.",
        )

    def test_nobody_is_asked_who_it_is(self, edgewise: EdgewiseProcess) -> None:
        refused = self.ask(edgewise, "GET")
        assert refused.status == 401
        assert refused.get("WWW-Authenticate") is not None

    def test_logs_say_who_and_why(self, edgewise: EdgewiseProcess) -> None:
        marks = [f"X-Request-Mark: {number}" for number in range(3)]
        self.ask(edgewise, "GET", KEY, marks[0])
        self.ask(edgewise, "POST", KEY, marks[1])
        self.ask(edgewise, "GET", marks[2])
        decided: list[dict[str, Any]] = []

        def written() -> bool:
            decided[:] = lines(edgewise, "decisions.log", "/orders/1")
            outcomes = {(line["method"], line["outcome"]) for line in decided}
            return {("GET", "allowed"), ("POST", "refused"), ("GET", "refused")} <= outcomes

        wait_until(written, "the decisions are written")
        allowed = next(line for line in decided if line["outcome"] == "allowed" and line["method"] == "GET")
        assert (allowed["user"], allowed["consumer"], allowed["rule"]) == ("alice", "alice", "readers")
        refused = next(line for line in decided if line["method"] == "POST")
        assert (refused["policy"], refused["reason"]) == ("authorize", "no rule allows POST to alice")
        nobody = next(line for line in decided if line["outcome"] == "refused" and line["method"] == "GET")
        assert (nobody["policy"], "user" in nobody) == ("auth", False)
        wait_until(lambda: len(lines(edgewise, "access.log", "/orders/1")) >= 3, "the access log is written")
        known = [line for line in lines(edgewise, "access.log", "/orders/1") if "user" in line]
        assert {(line["user"], line["consumer"], line["auth"]) for line in known} == {("alice", "alice", "api_keys")}
        refused_here = {line["end"] for line in lines(edgewise, "access.log", "/orders/1")}
        assert {"edge-authorize", "edge-auth"} <= refused_here


def lines(edgewise: EdgewiseProcess, name: str, path: str) -> list[dict[str, Any]]:
    """Return the lines of a log about a path."""
    file = edgewise.directory / name
    found = [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []
    return [line for line in found if line["path"] == path]


def pem(key: Any) -> bytes:
    made: bytes = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return made


def test_a_token_says_it_by_keys_that_are_published_and_change(tmp_path: Path, origin: Origin) -> None:
    (tmp_path / "old.pem").write_bytes(pem(ec.generate_private_key(ec.SECP256R1())))
    (tmp_path / "new.pem").write_bytes(pem(ed25519.Ed25519PrivateKey.generate()))
    table = '[identity]\nformat = "jwt"\njwt_issuer = "edge"\njwt_claims = ["tenant"]\njwt_keys = {}\n'
    published = '[[routes]]\npath = "/.well-known/jwks.json"\nrespond = { identity_keys = true }\n'
    toml = TOML.replace("ORIGIN", origin.address).replace('[identity]\nclaim_fields = { X-Tenant = "tenant" }\n', "")
    toml += published
    edgewise = EdgewiseProcess(toml + table.replace("{}", '["old.pem", "new.pem"]'), tmp_path)
    try:
        first = token(edgewise)
        assert verified(edgewise, first)["sub"] == "alice"
        assert token(edgewise) == first, "it is signed once"
        edgewise.write_config(toml + table.replace("{}", '["new.pem", "old.pem"]'))
        wait_until(lambda: "listening on" in edgewise.log, "edgewise has started")
        edgewise.reload()
        wait_until(lambda: token(edgewise) != first, "the new key signs")
        said = verified(edgewise, token(edgewise))
        assert (said["iss"], said["groups"], said["scope"], said["tenant"]) == (
            "edge",
            ["ops", "staff"],
            "orders:read",
            "t1",
        )
        assert (said["aud"], said["auth_method"], said["consumer"]) == ("*/known/*", "api_keys", "alice")
        assert verified(edgewise, first)["sub"] == "alice", "tokens of before are still good"
    finally:
        edgewise.stop()


def token(edgewise: EdgewiseProcess) -> bytes:
    """Return the token that an upstream gets, and nothing else of who asks."""
    spoofed = [line for line in SPOOFED if not line.startswith("X-Tenant")]
    [line] = told(ask(edgewise, "/known/", KEY, *spoofed).body)
    return line.removeprefix("X-Identity: ").encode()


def verified(edgewise: EdgewiseProcess, text: bytes) -> dict[str, Any]:
    """Return the claims of a token, verified by the published keys."""
    published = ask(edgewise, "/.well-known/jwks.json")
    assert published.get("Content-Type") == "application/jwk-set+json"
    keys, _ = read_key_set(published.body)
    jws = read_jws(text)
    [check] = keys.find(jws.head)
    assert check(jws.signature, jws.signed)
    return json_claims(jws)
