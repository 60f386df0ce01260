"""Transformation on real sockets: what a server gets of a request, and what a client gets of an answer."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from typing import Any

import pytest

from support.edgewise_process import EdgewiseProcess
from support.http2_raw import Http2Client, request_fields
from support.origin import Origin, OriginConnection
from support.raw_http import RawResponse, field_value, get, post

KEYS = {"ada": "key-of-ada-0123456789", "bob": "key-of-bob-0123456789"}
TOML = """
[consumers.ada]
api_keys = ["key-of-ada-0123456789"]
[consumers.bob]
api_keys = ["key-of-bob-0123456789"]
[upstreams.app]
servers = ["ORIGIN"]
[[routes]]
path = "/fixed/*"
upstream = "app"
strip_prefix = "/fixed"
[routes.transform.request]
path = "/v2{path}"
headers = { remove = ["X-Gone"], rename = { X-Old = "X-New" }, set = { X-Set = "set" }, add = { X-Add = "added" } }
query = { remove = ["debug"], rename = { q = "query" }, set = { lang = "en" }, add = { at = "{header:X-At}" } }
[routes.transform.response]
headers = { remove = ["Server"], rename = { X-Internal = "X-Public" }, set = { X-Answer = "yes" } }
[[routes]]
path = "/of/{id}"
upstream = "app"
auth = { api_keys = "consumers" }
[routes.transform.request]
path = "/{consumer}/of/{id}"
headers = { set = { X-User = "{consumer}", X-From = "{client_ip}", X-At = "{header:X-Raw} {id}" } }
query = { set = { user = "{identity}" } }
[routes.transform.response]
headers = { set = { X-Server = "of {consumer}" } }
[[routes]]
path = "/cached"
upstream = "app"
auth = { api_keys = "consumers" }
cache = {}
transform = { request = { query = { set = { user = "{consumer}" } } } }
[[routes]]
path = "/filtered"
upstream = "app"
auth = { api_keys = "consumers" }
cache = {}
filters = ["marking:mark"]
transform = { request = { query = { set = { user = "{consumer}" } }, headers = { set = { X-Tenant = "{consumer}" } } } }
[[routes]]
path = "/json"
upstream = "app"
compress = true
[routes.transform.request.body]
most = "10KiB"
remove = ["/admin"]
set = { "/from" = "{client_ip}", "/meta/tags" = ["a", "{header:X-Tag}"], "/meta/count" = 2 }
[routes.transform.response.body]
most = "10KiB"
unwrap = "/data"
remove = ["/users/*/password"]
rename = { "/total" = "count" }
wrap = "result"
[[routes]]
path = "/lenient"
upstream = "app"
[routes.transform.response.body]
most = "10KiB"
on_error = "pass"
set = { "/edited" = true }
"""
FILTER = """
def mark(request):
    assert "X-Tenant" not in request.headers
    request.headers["X-Marked"] = "1"
"""
DOCUMENT = b'{"data":{"users":[{"name":"Ada","password":"x"},{"password":"y"}],"total":1.10}}'
EDITED = {"result": {"users": [{"name": "Ada"}, {}], "count": 1.1}}


class App:
    """Answers what it is told by X-Answer-With, and tells what it got last."""

    def __init__(self) -> None:
        self.head = b""
        self.body = b""
        self.asked = 0
        self.answers: dict[str, bytes] = {}

    def __call__(self, connection: OriginConnection) -> None:
        while True:
            self.head = connection.read_head()
            self.body = connection.read_body(self.head)
            self.asked += 1
            target = whole(self.head.split(b" ")[1], "text/plain", "Cache-Control: public, max-age=60")
            told = field_value(self.head, b"x-answer-with")
            connection.send(target if told is None else self.answers[told.decode()])
            if told == b"cut":
                connection.close()
                return


def whole(content: bytes, kind: str, *lines: str, status: str = "200 OK") -> bytes:
    fields = [f"Content-Length: {len(content)}", f"Content-Type: {kind}", "X-Internal: 1", "Server: app", *lines]
    return f"HTTP/1.1 {status}\r\n".encode() + "\r\n".join(fields).encode() + b"\r\n\r\n" + content


ANSWERS = {
    "json": whole(DOCUMENT, "application/json", 'ETag: "tag"', "Content-MD5: x"),
    "problem": whole(DOCUMENT, "application/problem+json; charset=utf-8", status="409 Conflict"),
    "chunked": b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"%x\r\n%b\r\n%x\r\n%b\r\n0\r\n\r\n" % (10, DOCUMENT[:10], len(DOCUMENT) - 10, DOCUMENT[10:]),
    "events": b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"9\r\ndata: 1\n\n\r\n0\r\n\r\n",
    "broken": whole(b"{not json", "application/json"),
    "long": whole(b'"' + b"x" * 20000 + b'"', "application/json"),
    "coded": whole(gzip.compress(DOCUMENT), "application/json", "Content-Encoding: gzip"),
    "cut": b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{",
    "empty": b"HTTP/1.1 204 No Content\r\nContent-Type: application/json\r\n\r\n",
}


@pytest.fixture(scope="module")
def app() -> App:
    made = App()
    made.answers = ANSWERS
    return made


@pytest.fixture(scope="module")
def edgewise(app: App, tmp_path_factory: pytest.TempPathFactory) -> Iterator[EdgewiseProcess]:
    origin = Origin(app)
    directory = tmp_path_factory.mktemp("transform")
    (directory / "marking.py").write_text(FILTER)
    server = EdgewiseProcess(TOML.replace("ORIGIN", origin.address), directory)
    yield server
    server.stop()
    origin.stop()


def ask(edgewise: EdgewiseProcess, request: bytes) -> RawResponse:
    with edgewise.client() as client:
        return client.ask(request)


def sent(app: App, name: str) -> str | None:
    """A field that the server got last."""
    value = field_value(app.head, name.lower().encode())
    return None if value is None else value.decode("latin-1")


def test_what_follows_from_the_head_is_changed(edgewise: EdgewiseProcess, app: App) -> None:
    fields = ["X-Gone: 1", "X-Old: old", "X-Set: client", "X-Add: client", "X-At: a b"]
    for _ in range(3):  # the third time from the memo
        answer = ask(edgewise, get("/fixed/a?q=1&debug=1&lang=de", "a", *fields))
        assert app.head.startswith(b"GET /v2/fixed/a?query=1&lang=en&at=a%20b HTTP/1.1\r\n")
        assert (sent(app, "X-Gone"), sent(app, "X-Old"), sent(app, "X-New")) == (None, None, "old")
        assert (sent(app, "X-Set"), app.head.count(b"X-Add:")) == ("set", 2)
        assert (answer.get("Server"), answer.get("X-Internal"), answer.get("X-Public")) == (None, None, "1")
        assert answer.get("X-Answer") == "yes"


def test_what_follows_from_who_asks_is_never_anothers(edgewise: EdgewiseProcess, app: App) -> None:
    for name in ("ada", "bob", "ada", "bob", "ada", "bob"):
        request = get("/of/7?user=client&x=1", "a", f"X-API-Key: {KEYS[name]}", "X-User: root", "X-Raw: t\xe9 1")
        answer = ask(edgewise, request)
        assert app.head.startswith(f"GET /{name}/of/7?x=1&user={name} HTTP/1.1\r\n".encode())
        assert (sent(app, "X-User"), app.head.lower().count(b"x-user:")) == (name, 1)
        assert (sent(app, "X-From"), sent(app, "X-At")) == ("127.0.0.1", "t\xe9 1 7")
        assert answer.all("X-Server") == [f"of {name}"]
    refused = ask(edgewise, get("/of/7", "a", "X-API-Key: wrong-key-0123456789"))
    assert refused.status == 401


def test_the_cache_goes_by_what_is_sent_on(edgewise: EdgewiseProcess, app: App) -> None:
    before = app.asked
    for name in ("ada", "bob") * 3:
        answer = ask(edgewise, get("/cached?x=1", "a", f"X-API-Key: {KEYS[name]}"))
        assert answer.body == f"/cached?x=1&user={name}".encode()
    assert app.asked - before == 2


def test_what_a_filter_changes_comes_on_top(edgewise: EdgewiseProcess, app: App) -> None:
    before = app.asked
    for name in ("ada", "bob") * 2:
        answer = ask(edgewise, get("/filtered", "a", f"X-API-Key: {KEYS[name]}", "X-Tenant: root"))
        assert answer.body == f"/filtered?user={name}".encode()
        assert sent(app, "X-Marked") == "1"
        assert app.head.lower().count(b"x-tenant:") == 1
    assert app.asked - before == 2


def test_the_json_of_a_request_is_edited_and_framed_anew(edgewise: EdgewiseProcess, app: App) -> None:
    content = json.dumps({"admin": True, "name": "Ada", "meta": {"x": 1}}).encode()
    expected = {"name": "Ada", "meta": {"x": 1, "tags": ["a", "t"], "count": 2}, "from": "127.0.0.1"}
    fields = ["Content-Type: application/json", "X-Tag: t", "Content-Digest: sha-256=:AAAA:"]
    ask(edgewise, post(content, "/json", "a", *fields))
    assert (json.loads(app.body), sent(app, "Content-Digest")) == (expected, None)
    head = "POST /json HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n" + "\r\n".join(fields) + "\r\n\r\n"
    ask(edgewise, head.encode() + b"%x\r\n%b\r\n0\r\n\r\n" % (len(content), content))
    assert json.loads(app.body) == expected
    assert sent(app, "Content-Length") == str(len(app.body))
    with Http2Client(("127.0.0.1", edgewise.port)) as client:
        fields2 = [("content-type", "application/vnd.shop+json"), ("x-tag", "t")]
        stream = client.request(request_fields("/json", "POST", *fields2), end=False)
        client.send_content(stream, content)
        assert client.answer(stream).status == 200
    assert json.loads(app.body) == expected


@pytest.mark.parametrize(
    ("content", "fields", "status"),
    [
        (b"{not json", ["Content-Type: application/json"], 400),
        (b"{}", ["Content-Type: application/json", "Content-Encoding: gzip"], 415),
        (b'"' + b"x" * 20000 + b'"', ["Content-Type: application/json"], 413),
        (b"{not json", ["Content-Type: text/plain"], 200),
        (b"", ["Content-Type: application/json"], 200),
    ],
)
def test_only_json_within_bounds_is_taken(
    edgewise: EdgewiseProcess, content: bytes, fields: list[str], status: int
) -> None:
    answer = ask(edgewise, post(content, "/json", "a", *fields))
    assert answer.status == status
    if status >= 400:
        assert json.loads(answer.body)["policy"] == "transform"


@pytest.mark.parametrize(("told", "status"), [("json", 200), ("problem", 409), ("chunked", 200)])
def test_the_json_of_an_answer_is_edited(edgewise: EdgewiseProcess, app: App, told: str, status: int) -> None:
    fields = [f"X-Answer-With: {told}", "Accept-Encoding: gzip", "Range: bytes=0-4"]
    answer = ask(edgewise, get("/json", "a", *fields))
    assert (answer.status, json.loads(answer.body)) == (status, EDITED)
    assert answer.all("Content-Length") == [str(len(answer.body))]
    assert (answer.get("Transfer-Encoding"), answer.get("Content-MD5")) == (None, None)
    assert answer.get("ETag") == ('W/"tag"' if told == "json" else None)
    assert (sent(app, "Accept-Encoding"), sent(app, "Range")) == ("identity", None)
    with Http2Client(("127.0.0.1", edgewise.port)) as client:
        told2 = client.get("/json", ("x-answer-with", told))
    assert (told2.status, json.loads(told2.body)) == (status, EDITED)


def test_an_answer_that_breaks_off_before_it_was_edited_is_told_as_such(edgewise: EdgewiseProcess) -> None:
    with edgewise.client() as client:
        assert client.ask(get("/json", "a", "X-Answer-With: cut")).status == 502
        assert json.loads(client.ask(get("/json", "a", "X-Answer-With: json")).body) == EDITED
    with Http2Client(("127.0.0.1", edgewise.port)) as client2:
        assert client2.get("/json", ("x-answer-with", "cut")).status == 502
        assert client2.get("/json", ("x-answer-with", "json")).status == 200


def test_what_is_not_json_or_has_no_content_passes(edgewise: EdgewiseProcess) -> None:
    assert ask(edgewise, get("/json", "a", "X-Answer-With: events")).body == b"data: 1\n\n"
    assert ask(edgewise, get("/json", "a", "X-Answer-With: empty")).status == 204
    assert ask(edgewise, get("/json", "a")).body == b"/json"


@pytest.mark.parametrize("told", ["broken", "long", "coded"])
def test_what_cannot_be_edited_is_refused_or_passed_on(edgewise: EdgewiseProcess, told: str) -> None:
    with edgewise.client() as client:
        refused = client.ask(get("/json", "a", f"X-Answer-With: {told}"))
        assert (refused.status, refused.body) == (502, b"502 Bad Gateway\n")
        passed = client.ask(get("/lenient", "a", f"X-Answer-With: {told}"))
        assert passed.status == 200
        assert passed.body == ANSWERS[told].partition(b"\r\n\r\n")[2]
        edited: Any = json.loads(client.ask(get("/lenient", "a", "X-Answer-With: json")).body)
        assert edited["edited"] is True
    failures = [line for line in edgewise.wait_access_log() if line["end"] == "edge-transform"]
    assert all(line["status"] == 502 or line["status"] >= 400 for line in failures)
