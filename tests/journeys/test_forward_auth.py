"""Forward authentication through a real edgewise: what the service is asked and what its answers do."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing

import pytest

from support.edgewise_process import EdgewiseProcess, wait_until
from support.http2_origin import Http2Origin
from support.http2_raw import Http2Client, request_fields
from support.origin import Origin, OriginConnection
from support.raw_http import RawResponse, field_value, get, post

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
ALICE = (
    b"HTTP/1.1 200 OK\r\nX-Auth-User: alice\r\nX-Auth-Groups: staff, admins\r\nX-Secret: s1\r\nX-Other: no\r\n"
    b"Set-Cookie: seen=1\r\nContent-Length: 7\r\n\r\nignored"
)
CONFIG = """
[server]
workers = 1
admin = "off"
listen = ["127.0.0.1:$PORT"]
trusted_proxies = []
[identity]
user_field = "X-User"
[upstreams.app]
servers = ["APP"]
[upstreams.authz]
servers = ["AUTHZ"]
eject = false
retry = { attempts = 1 }
[upstreams.pair]
servers = ["127.0.0.1:1", "AUTHZ"]
eject = false
[upstreams.fast]
servers = ["HTTP2"]
protocol = "h2c"
[upstreams.authz.timeouts]
response = "20s"
[[routes]]
path = "/plain/*"
upstream = "app"
[routes.auth.forward]
upstream = "authz"
path = "/check?from=edge"
response_headers = ["X-Auth-User", "X-Secret"]
client_headers = ["Set-Cookie"]
user_header = "X-Auth-User"
groups_header = "X-Auth-Groups"
max_body = "1KiB"
[[routes]]
path = "/pair/*"
upstream = "app"
auth = { forward = { upstream = "pair" } }
[[routes]]
path = "/fast/*"
upstream = "app"
auth = { forward = { upstream = "fast" } }
[[routes]]
path = "/cached/*"
upstream = "app"
auth = { forward = { upstream = "authz", request_headers = ["Authorization"], cache = "1h" } }
[[routes]]
path = "/open/*"
upstream = "app"
auth = { forward = { upstream = "authz", on_error = "allow", timeout = "500ms" } }
[[routes]]
path = "/shut/*"
upstream = "app"
auth = { forward = { upstream = "authz", timeout = "500ms" } }
"""


class Site:
    """An edgewise before an app and a service that decides."""

    def __init__(self, edge: EdgewiseProcess, app: Origin, authz: Origin, fast: Http2Origin) -> None:
        self.edge = edge
        self.fast = fast
        self.app = app
        self.authz = authz

    def play(self, answer: object) -> None:
        """Have the service answer so, and forget what came before."""
        self.app.play(OK)
        self.authz.play(answer)  # type: ignore[arg-type]

    def ask(self, request: bytes) -> RawResponse:
        """Send a request on a connection of its own."""
        with self.edge.client() as client:
            return client.ask(request)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Start all three."""
    app, authz, fast = Origin(), Origin(), Http2Origin()
    toml = CONFIG.replace("APP", app.address).replace("AUTHZ", authz.address).replace("HTTP2", fast.address)
    edge = EdgewiseProcess(toml, tmp_path_factory.mktemp("forward"))
    yield Site(edge, app, authz, fast)
    edge.stop()
    fast.stop()
    app.stop()
    authz.stop()


def test_the_service_is_asked_with_the_requests_fields_and_what_it_is(site: Site) -> None:
    site.play(ALICE)
    lines = ("Authorization: Bearer t", "Cookie: a=1", "X-Forwarded-Uri: /forged", "X-Original-URI: /forged",
             "X-Forwarded-For: 9.9.9.9", "X-Auth-User: root", "X_Auth_User: root", "If-None-Match: *",
             "Range: bytes=0-0", "Connection: X-Gone", "X-Gone: 1")  # fmt: skip
    answer = site.ask(post(b"content", "/plain/a?b=c", "shop.example.com", *lines))
    assert answer.status == 200
    [asked] = site.authz.requests
    assert asked.startswith(b"GET /check?from=edge HTTP/1.1\r\n")
    expected = {
        b"authorization": b"Bearer t",
        b"cookie": b"a=1",
        b"x-forwarded-method": b"POST",
        b"x-forwarded-uri": b"/plain/a?b=c",
        b"x-forwarded-host": b"shop.example.com",
        b"x-forwarded-proto": b"http",
        b"x-forwarded-for": b"127.0.0.1",
        b"x-original-uri": b"/plain/a?b=c",
        b"x-original-method": b"POST",
    }
    assert {name: field_value(asked, name) for name in expected} == expected
    lower = asked.lower()
    for name in (b"x-auth-user", b"x_auth_user", b"if-none-match", b"range", b"x-gone", b"content-length", b"forged"):
        assert name not in lower
    assert lower.count(b"x-forwarded-for:") == lower.count(b"x-forwarded-proto:") == 1
    assert field_value(asked, b"x-request-id") == field_value(site.app.requests[0], b"x-request-id")


def test_by_a_2xx_the_request_goes_on_with_the_fields_that_the_service_gives_and_no_forged_ones(site: Site) -> None:
    site.play(ALICE)
    answer = site.ask(post(b"content", "/plain/", "example.com", "X-Auth-User: root", "X-User: root", "X-Secret: mine"))
    assert (answer.status, answer.body, answer.all("set-cookie")) == (200, b"ok", ["seen=1"])
    [request] = site.app.requests
    assert request.endswith(b"\r\n\r\ncontent")
    lower = request.lower()
    for line in (b"\r\nx-auth-user: alice\r\n", b"\r\nx-user: alice\r\n", b"\r\nx-secret: s1\r\n"):
        assert lower.count(line) == 1
    assert b"root" not in lower
    assert b"mine" not in lower
    assert b"x-other" not in lower


@pytest.mark.parametrize(
    ("answer", "name"),
    [
        (b"HTTP/1.1 401 No\r\nWWW-Authenticate: Basic\r\nContent-Length: 5\r\n\r\nlogin", "www-authenticate"),
        (b"HTTP/1.1 302 Found\r\nLocation: /login\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "location"),
        (b"HTTP/1.1 403 Forbidden\r\nX-Why: no\r\nContent-Length: 0\r\n\r\n", "x-why"),
        (b"HTTP/1.1 404 Not Found\r\nX-Why: no\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nno\r\n0\r\n\r\n", "x-why"),
    ],
)  # fmt: skip
def test_a_refusal_or_redirect_of_the_service_is_the_clients_answer(site: Site, answer: bytes, name: str) -> None:
    site.play(answer)
    with site.edge.client() as client:
        for _ in range(2):
            came = client.ask(get("/plain/"))
            assert came.status == int(answer.split()[1])
            assert came.get(name)
            assert came.body == {401: b"login", 404: b"no"}.get(came.status, b"")
    assert not site.app.requests
    assert len(site.authz.connections) == 1


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2000\r\n\r\n" + b"x" * 2000,
        b"HTTP/1.1 200 OK\r\nX Y: 1\r\n\r\n",
        b"no HTTP at all\r\n\r\n",
    ],
)
def test_without_an_answer_of_use_nobody_passes(site: Site, answer: bytes) -> None:
    site.play(answer)
    refused = site.ask(get("/plain/"))
    assert (refused.status, refused.get("retry-after")) == (503, "1")
    assert json.loads(refused.body)["policy"] == "auth"
    assert not site.app.requests
    assert site.ask(get("/open/")).status == 200


def cut_off(connection: OriginConnection) -> None:
    """Answer half of what was announced."""
    connection.read_request()
    connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
    connection.close()


def silent(connection: OriginConnection) -> None:
    """Answer nothing."""
    connection.read_request()
    connection.reader.some()


def test_an_answer_that_breaks_off_or_does_not_come_lets_nobody_pass_but_where_the_route_says_so(site: Site) -> None:
    for script in (cut_off, silent):
        site.play(script)
        assert site.ask(get("/shut/")).status == 503
        assert not site.app.requests
        assert site.ask(get("/open/", "example.com", "X-User: root")).status == 200
        assert b"root" not in site.app.requests[0]


def test_a_client_that_leaves_meanwhile_takes_the_question_back(site: Site) -> None:
    site.play(silent)
    with site.edge.client() as client:
        client.send(get("/plain/"))
        wait_until(lambda: site.authz.connections and site.authz.connections[0].received, "the service is asked")
        sock = site.authz.connections[0].sock
    wait_until(lambda: sock.fileno() == -1, "the service's connection is closed")
    assert not site.app.requests


def test_a_verdict_is_kept_for_the_same_request_with_the_same_fields_and_no_other(site: Site) -> None:
    site.play(b"HTTP/1.1 204 No Content\r\n\r\n")
    for _ in range(3):
        assert site.ask(get("/cached/a", "example.com", "Authorization: A", "X-Other: 1")).status == 200
    assert len(site.authz.requests) == 1
    for path, fields in (("/cached/b", ["Authorization: A"]), ("/cached/a", ["Authorization: B"]), ("/cached/a", []),
                         ("/cached/a", ["Authorization: A", "Authorization: A"])):  # fmt: skip
        assert site.ask(get(path, "example.com", *fields)).status == 200
    assert len(site.authz.requests) == 5
    assert all(b"X-Other" not in request for request in site.authz.requests)
    site.play(b"HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n")
    assert [site.ask(get("/cached/c")).status for _ in range(2)] == [401, 401]
    site.play([b"HTTP/1.1 200 OK\r\nCache-Control: no-store\r\nContent-Length: 0\r\n\r\n",
               b"HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n"])  # fmt: skip
    assert [site.ask(get("/cached/c")).status for _ in range(2)] == [200, 403]


def test_streams_of_http2_are_asked_about_side_by_side(site: Site) -> None:
    site.play(ALICE)
    with closing(Http2Client(("127.0.0.1", site.edge.port))) as client:
        streams = [client.request(request_fields(f"/plain/{number}")) for number in range(20)]
        assert [client.answer(stream).status for stream in streams] == [200] * 20
    asked = {field_value(request, b"x-forwarded-uri") for request in site.authz.requests}
    assert asked == {b"/plain/%d" % number for number in range(20)}


def test_the_service_has_an_upstreams_balancing_retries_and_versions_of_http(site: Site) -> None:
    site.play(ALICE)
    assert [site.ask(get("/pair/")).status for _ in range(6)] == [200] * 6
    assert len(site.authz.requests) == 6
    assert [site.ask(get("/fast/x")).status for _ in range(3)] == [200] * 3
    assert len(site.fast.streams) == 3
    assert len(site.fast.connections) == 1


def test_refusals_are_refusals_in_the_log(site: Site) -> None:
    site.play(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
    before = len(site.edge.access_log)
    site.ask(get("/plain/logged"))
    wait_until(lambda: any(one["path"] == "/plain/logged" for one in site.edge.access_log[before:]), "it is logged")
    [line] = [one for one in site.edge.access_log if one["path"] == "/plain/logged"]
    assert (line["status"], line["end"]) == (403, "edge-auth")
