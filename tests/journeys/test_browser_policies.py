"""CORS, security headers and maintenance on real sockets: on answers of servers, of the cache, of files and our own."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from support.edgewise_process import EdgewiseProcess, wait_until
from support.http2_raw import Http2Client, request_fields
from support.origin import Origin, OriginConnection
from support.raw_http import RawResponse, get

APP = "https://app.example"
PREFLIGHT = ("Access-Control-Request-Method: PUT", "Access-Control-Request-Headers: authorization")
TOML = """
[server]
listen = ["127.0.0.1:$PORT"]
admin = "127.0.0.1:$ADMIN_PORT"
workers = 1
[policies]
security_headers = { content_security_policy = "default-src 'self'" }
[consumers.alice]
api_keys = ["key-of-alice-0123456789"]
[upstreams.app]
servers = ["ORIGIN"]
[[routes]]
path = "/api/*"
upstream = "app"
cors = { origins = ["https://app.example", "https://*.shop.example"], credentials = true, expose = ["X-Total"] }
auth = { api_keys = "consumers" }
[[routes]]
path = "/public/*"
upstream = "app"
cors = true
cache = {}
[[routes]]
path = "/named/*"
upstream = "app"
cors = { origins = ["https://app.example"] }
cache = {}
[[routes]]
path = "/put/*"
method = "PUT"
upstream = "app"
cors = { origins = ["https://app.example"], methods = ["PUT"] }
[[routes]]
path = "/files/*"
strip_prefix = "/files"
cors = true
[routes.static]
root = "$DIR/files"
[[routes]]
path = "/mock/{id}"
cors = true
[routes.respond]
status = 201
content_type = "application/json"
template = true
delay = "10ms"
headers = { Location = "/mock/{id}" }
body = '{"id": "{id}", "by": "{method}", "other": {}}'
[[routes]]
path = "/plain/*"
upstream = "app"
security_headers = false
[[routes]]
path = "/down/*"
upstream = "app"
cors = true
[routes.maintenance]
retry_after = "2m"
message = "Back at noon."
page = "$DIR/down.html"
bypass_secret = "a-secret-of-the-team"
"""


def app(connection: OriginConnection) -> None:
    """An app with a word of its own on CORS and frames."""
    while True:
        request = connection.read_request()
        fields = b"Access-Control-Allow-Origin: https://evil.example\r\nAccess-Control-Max-Age: 1\r\n"
        fields += b"X-Frame-Options: DENY\r\nCache-Control: max-age=60\r\n"
        method = request.split(b" ")[0]
        connection.send(b"HTTP/1.1 200 OK\r\n%bContent-Length: %d\r\n\r\n%b" % (fields, len(method), method))


@pytest.fixture(scope="module")
def origin() -> Iterator[Origin]:
    server = Origin(app)
    yield server
    server.stop()


@pytest.fixture(scope="module")
def edgewise(tmp_path_factory: pytest.TempPathFactory, origin: Origin) -> Iterator[EdgewiseProcess]:
    directory = tmp_path_factory.mktemp("browsers")
    (directory / "files").mkdir()
    (directory / "files" / "a.txt").write_text("a")
    (directory / "down.html").write_text("<h1>Soon</h1>")
    running = EdgewiseProcess(TOML.replace("ORIGIN", origin.address), directory)
    yield running
    running.stop()
    assert "Traceback" not in running.log, running.log


def ask(edgewise: EdgewiseProcess, path: str, *lines: str, method: str = "GET") -> RawResponse:
    with edgewise.client() as client:
        return client.ask(get(path, "shop.example", *lines).replace(b"GET", method.encode(), 1))


def told(answer: RawResponse) -> dict[str, list[str]]:
    """Return what an answer says of CORS."""
    names = {line.partition(b":")[0].decode().lower() for line in answer.head.split(b"\r\n")[1:]}
    return {name: answer.all(name) for name in sorted(names) if name.startswith("access-control-") or name == "vary"}


NAMED = {
    "access-control-allow-credentials": ["true"],
    "access-control-allow-origin": [APP],
    "access-control-expose-headers": ["X-Total"],
    "vary": ["Origin"],
}
ANY = {"access-control-allow-origin": ["*"], "access-control-expose-headers": ["*"]}


class TestCors:
    def test_a_preflight_is_answered_before_anything_asks_who_it_is(
        self, edgewise: EdgewiseProcess, origin: Origin
    ) -> None:
        for path in ("/api/1", "/down/1", "/put/1"):  # for PUT alone: OPTIONS itself would match no route
            answer = ask(edgewise, path, f"Origin: {APP}", *PREFLIGHT, method="OPTIONS")
            assert (answer.status, answer.body) == (204, b"")
            assert answer.get("Access-Control-Allow-Headers") == "authorization"
            assert "PUT" in (answer.get("Access-Control-Allow-Methods") or "")
        assert ask(edgewise, "/put/1", method="OPTIONS").status == 405

    def test_one_of_another_origin_is_refused(self, edgewise: EdgewiseProcess) -> None:
        for other in ("https://evil.example", "null"):
            answer = ask(edgewise, "/api/1", f"Origin: {other}", *PREFLIGHT, method="OPTIONS")
            assert (answer.status, json.loads(answer.body)["policy"]) == (403, "cors")
            assert answer.get("Access-Control-Allow-Origin") is None

    def test_pages_may_read_refusals_too(self, edgewise: EdgewiseProcess) -> None:
        refused = ask(edgewise, "/api/1", f"Origin: {APP}")
        assert (refused.status, told(refused)) == (401, NAMED)
        down = ask(edgewise, "/down/1", f"Origin: {APP}")
        assert (down.status, told(down)) == (503, ANY)
        missing = ask(edgewise, "/files/none.txt", f"Origin: {APP}")
        assert (missing.status, told(missing).items() >= ANY.items()) == (404, True)

    def test_the_servers_own_word_gives_way(self, edgewise: EdgewiseProcess) -> None:
        key = "X-API-Key: key-of-alice-0123456789"
        assert told(ask(edgewise, "/api/1", f"Origin: {APP}", key)) == NAMED
        for lines in ((), ("Origin: https://evil.example",), ("Origin: null",)):
            assert told(ask(edgewise, "/api/1", key, *lines)) == {"vary": ["Origin"]}
        assert told(ask(edgewise, "/plain/1"))["access-control-allow-origin"] == ["https://evil.example"]

    def test_so_it_is_on_cached_answers_for_each_origin(self, edgewise: EdgewiseProcess) -> None:
        for path, of_app, of_none in (
            ("/named/1", {"access-control-allow-origin": [APP], "access-control-expose-headers": ["*"]}, {}),
            ("/public/1", ANY, ANY),
        ):
            vary = {"vary": ["Origin"]} if path == "/named/1" else {}
            for _ in range(2):
                assert told(ask(edgewise, path)) == of_none | vary
                assert told(ask(edgewise, path, f"Origin: {APP}")) == of_app | vary
            assert "hit" in (ask(edgewise, path).get("Cache-Status") or "")

    def test_files_and_fixed_answers_have_it(self, edgewise: EdgewiseProcess) -> None:
        for path in ("/files/a.txt", "/mock/1"):
            assert told(ask(edgewise, path, f"Origin: {APP}")).items() >= ANY.items()

    def test_over_http2(self, edgewise: EdgewiseProcess) -> None:
        with Http2Client(("127.0.0.1", edgewise.port)) as client:
            asking = [("origin", APP), ("access-control-request-method", "PUT")]
            answer = client.answer(client.request(request_fields("/put/1", "OPTIONS", *asking)))
            assert (answer.status, answer.get("access-control-allow-origin")) == (204, APP)
            answer = client.answer(client.request(request_fields("/named/2", "GET", ("origin", APP))))
            assert (answer.status, answer.get("access-control-allow-origin")) == (200, APP)
            assert answer.get("vary") == "Origin"


class TestSecurityHeaders:
    def test_answers_have_those_that_they_lack_and_keep_their_own(self, edgewise: EdgewiseProcess) -> None:
        for path, status, frames in (
            ("/public/1", 200, ["DENY"]),
            ("/public/1", 200, ["DENY"]),
            ("/files/a.txt", 200, ["SAMEORIGIN"]),
            ("/files/none", 404, ["SAMEORIGIN"]),
            ("/mock/1", 201, ["SAMEORIGIN"]),
            ("/api/1", 401, ["SAMEORIGIN"]),
            ("/down/1", 503, ["SAMEORIGIN"]),
        ):
            answer = ask(edgewise, path)
            assert answer.status == status
            assert answer.all("X-Frame-Options") == frames, path
            assert answer.all("X-Content-Type-Options") == ["nosniff"], path
            assert answer.all("Content-Security-Policy") == ["default-src 'self'"], path
            assert answer.all("Cross-Origin-Resource-Policy") == [], "pages of other origins may use it"

    def test_a_route_may_have_none(self, edgewise: EdgewiseProcess) -> None:
        assert ask(edgewise, "/plain/1").get("X-Content-Type-Options") is None


class TestMaintenance:
    def test_programs_get_a_problem_and_browsers_the_page(self, edgewise: EdgewiseProcess) -> None:
        refused = ask(edgewise, "/down/1")
        assert (refused.status, refused.get("Retry-After")) == (503, "120")
        assert refused.get("Content-Type") == "application/problem+json"
        assert json.loads(refused.body)["detail"] == "Back at noon."
        page = ask(edgewise, "/down/1", "Accept: text/html")
        assert (page.status, page.get("Retry-After"), page.body) == (503, "120", b"<h1>Soon</h1>")
        assert (page.get("Content-Type"), page.get("Cache-Control")) == ("text/html; charset=utf-8", "no-store")

    def test_who_brings_the_secret_passes(self, edgewise: EdgewiseProcess) -> None:
        assert ask(edgewise, "/down/1", "X-Maintenance-Bypass: a-secret-of-the-team").body == b"GET"
        assert ask(edgewise, "/down/1", "Cookie: maintenance-bypass=a-secret-of-the-team").body == b"GET"
        assert ask(edgewise, "/down/1", "X-Maintenance-Bypass: another-secret-there").status == 503

    def test_refusals_are_counted(self, edgewise: EdgewiseProcess) -> None:
        ask(edgewise, "/down/1")
        row = b'edgewise_policy_refusals_total{http_route="*/down/*",policy="maintenance"}'
        wait_until(lambda: row in edgewise.admin("/metrics"), "the refusals are counted")


def test_a_mock_says_what_its_template_makes_of_the_request(edgewise: EdgewiseProcess) -> None:
    answer = ask(edgewise, "/mock/a%22b%0A%C3%BC", method="POST")
    assert (answer.status, answer.get("Location")) == (201, "/mock/a%22b%0A%C3%BC")
    assert json.loads(answer.body) == {"id": 'a"b\nü', "by": "POST", "other": {}}
