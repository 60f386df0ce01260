"""JSON over HTTP to a real gRPC server (grpcio): paths, queries and content become messages, and answers JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from support.compiled_protos import descriptor_set, message_class
from support.edgewise_process import ACCESS_LOG, SERVER, EdgewiseProcess, wait_until
from support.http2_raw import Http2Client, request_fields
from support.library_server import SERVICE, LibraryServer
from support.raw_http import RawResponse, get, post

TOML = f"""{SERVER}{ACCESS_LOG}
[upstreams.library]
servers = ["LIBRARY"]
protocol = "h2c"
[upstreams.hedged]
servers = ["LIBRARY", "OTHER"]
protocol = "h2c"
hedge = {{ after = "20ms" }}
[upstreams.nobody]
servers = ["127.0.0.1:1"]
protocol = "h2c"
[[routes]]
path = "/*"
upstream = "library"
transcode = {{ descriptors = "api.binpb", request_limit = "64KiB", response_limit = "64KiB" }}
[[routes]]
host = "lenient.test"
upstream = "library"
[routes.transcode]
descriptors = "api.binpb"
unannotated = true
original_names = true
print_defaults = true
enums_as_numbers = true
ignore_unknown_fields = true
ignore_unknown_parameters = true
[[routes]]
host = "moved.test"
upstream = "library"
transcode = {{ descriptors = "api.binpb" }}
[routes.transform.request]
path = "/v1{{path}}"
headers = {{ set = {{ X-Own = "transformed" }} }}
[[routes]]
host = "stripped.test"
path = "/api/*"
strip_prefix = "/api"
upstream = "library"
transcode = {{ descriptors = "api.binpb" }}
[[routes]]
host = "hedged.test"
upstream = "hedged"
transcode = {{ descriptors = "api.binpb" }}
[[routes]]
host = "gone.test"
upstream = "nobody"
transcode = {{ descriptors = "api.binpb" }}
[[routes]]
host = "hasty.test"
upstream = "library"
timeouts = {{ response = "1s" }}
transcode = {{ descriptors = "api.binpb", ignored_parameters = ["key"] }}
"""


class Site:
    """A standing edgewise before a library."""

    def __init__(self, directory: Path) -> None:
        self.library, self.other = LibraryServer(), LibraryServer()
        (directory / "api.binpb").write_bytes(descriptor_set())
        toml = TOML.replace("LIBRARY", self.library.address).replace("OTHER", self.other.address)
        self.edge = EdgewiseProcess(toml, directory)

    def ask(self, request: bytes, **options: Any) -> RawResponse:
        """Send a request on a connection of its own."""
        with self.edge.client() as client:
            return client.ask(request, **options)

    def json(self, request: bytes, status: int = 200) -> Any:
        """Return the JSON of the answer."""
        answer = self.ask(request)
        assert answer.status == status, answer.body
        assert answer.get("content-type") in ("application/json", "application/problem+json")
        return json.loads(answer.body)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Return the site that the tests here share."""
    site = Site(tmp_path_factory.mktemp("site"))
    yield site
    site.edge.stop()
    site.library.stop()
    site.other.stop()


def request(method: str, path: str, body: bytes = b"", *lines: str, host: str = "example.com") -> bytes:
    """Return a request with JSON."""
    fields = [f"Content-Length: {len(body)}", "Content-Type: application/json"] if body else []
    return "\r\n".join((f"{method} {path} HTTP/1.1", f"Host: {host}", *fields, *lines, "", "")).encode() + body


# ---- requests --------------------------------------------------------------------------------------------------------


def test_a_get_calls_the_method_that_its_path_is_bound_to(site: Site) -> None:
    answer = site.ask(get("/v1/shelves/one%20two"))
    assert (answer.status, answer.get("content-type")) == (200, "application/json")
    assert json.loads(answer.body) == {"name": "shelves/one two", "theme": "history", "capacity": str(2**53)}
    assert answer.get("content-length") == str(len(answer.body))
    assert answer.get("date")


def test_metadata_before_and_behind_the_message_are_fields_of_the_answer(site: Site) -> None:
    answer = site.ask(get("/v1/shelves/1"))
    assert (answer.get("x-first"), answer.get("x-bytes-bin"), answer.get("grpc-trailer-x-last")) == (
        "one",
        "AAE",
        "two",
    )
    assert not [name for name in ("grpc-status", "grpc-encoding", "grpc-accept-encoding") if answer.get(name)]


def test_a_query_gives_fields_at_any_depth_and_of_any_scalar_type(site: Site) -> None:
    query = "pageSize=2&filter.author=A+%26%20B&filter.tags=x&filter.tags=y&ids=1&ids=-2&filter.in_print=true"
    query += "&filter.colour=GREEN&filter.after=2020-01-02T03:04:05Z&read_mask=name,published&cursor=_-8"
    assert len(site.json(get(f"/v1/shelves/7/books?{query}"))["books"]) == 2
    seen = site.library.requests[-1]
    assert (seen.parent, seen.page_size, list(seen.ids), seen.cursor) == ("shelves/7", 2, [1, -2], b"\xff\xef")
    assert (seen.filter.author, list(seen.filter.tags), seen.filter.in_print, seen.filter.colour) == (
        "A & B",
        ["x", "y"],
        True,
        2,
    )
    assert (seen.filter.after.seconds, list(seen.read_mask.paths)) == (1577934245, ["name", "published"])


def test_content_gives_one_field_or_the_whole_message(site: Site) -> None:
    assert site.json(request("POST", "/v1/shelves?shelf_id=s", b'{"theme": "maps"}')) == {"name": "s", "theme": "maps"}
    whole = request("PUT", "/v1/shelves/9", b'{"shelf": {"theme": "maps"}, "shelfId": "another"}')
    assert site.json(whole) == {"name": "9", "theme": "maps"}


def test_a_path_reaches_into_the_message_that_the_content_gives(site: Site) -> None:
    asked = request("PATCH", "/v1/shelves/1/books/a/b%20c?updateMask=title", b'{"title": "T", "name": "else"}')
    assert site.json(asked) == {"name": "shelves/1/books/a/b c", "title": "T"}
    assert list(site.library.requests[-1].update_mask.paths) == ["title"]


def test_custom_methods_and_verbs_are_bound_too(site: Site) -> None:
    assert site.json(request("LINK", "/v1/shelves/3")) == {"name": "3"}
    assert site.json(request("POST", "/v1/shelves/1/books/2:move", b'{"to": "elsewhere"}')) == {"name": "elsewhere"}
    assert site.json(request("DELETE", "/v1/shelves/1/books/2")) == {}


def test_every_type_goes_to_the_server_and_back(site: Site) -> None:
    value = {
        "scalars": {"aDouble": 0.1, "aFloat": "NaN", "anInt64": "-9223372036854775808", "aColour": "RED"},
        "moreScalars": {"someBytes": "+/8=", "aUint64": "18446744073709551615"},
        "optionalInt32": 0, "chosenNull": None, "doubles": [1.5, "Infinity"], "byBool": {"true": "GREEN"},
        "timestamp": "2020-01-02T03:04:05.120Z", "duration": "-1.500s", "fieldMask": "aB,c", "value": None,
        "struct": {"a": [1, None, {"b": True}]}, "wrappedInt64": "5", "nested": {"nested": {}},
        "any": {"@type": "type.googleapis.com/edgewise.test.Scalars", "aBool": True},
    }  # fmt: skip
    assert site.json(request("POST", "/v1/echo", json.dumps(value).encode())) == value


def test_long_content_is_read_too(site: Site) -> None:
    numbers = list(range(40_000))
    sent = request("POST", "/v1/echo", json.dumps({"int32s": numbers}).encode(), host="lenient.test")
    assert site.json(sent)["int32s"] == numbers
    assert site.json(sent.replace(b"39999", b'"one"'), 400)["policy"] == "transcode"


def test_the_answer_may_be_one_field_of_the_message(site: Site) -> None:
    assert site.json(get("/v1/shelves/1/titles?page_size=1")) == [{"name": "shelves/1/books/0"}]
    assert site.json(get("/v1/shelves/1/titles")) == []


def test_http_bodies_pass_as_they_are(site: Site) -> None:
    answer = site.ask(get("/v1/files/a/b.csv"))
    assert (answer.get("content-type"), answer.body) == ("text/csv; charset=utf-8", b"a,b\n\xff")
    sent = request("PUT", "/v1/files/x", b"\xff\0raw").replace(b"application/json", b"image/png")
    assert site.json(sent) == {"name": "files/x", "file": {"contentType": "image/png", "data": "/wByYXc="}}


def test_lines_of_content_are_the_messages_of_a_stream(site: Site) -> None:
    lines = b'{"title": "A"}\n\n{"title": "B"}\n'
    assert site.json(request("POST", "/v1/books:add", lines)) == {"books": 2, "titles": ["A", "B"]}


def test_head_is_as_get_without_the_content(site: Site) -> None:
    answer = site.ask(b"HEAD /v1/shelves/1 HTTP/1.1\r\nHost: a\r\n\r\n", head_request=True)
    assert (answer.status, answer.body) == (200, b"")
    assert int(answer.get("content-length") or 0) > 20


def test_what_clients_send_along_is_metadata_but_for_what_speaks_of_json(site: Site) -> None:
    lines = ("X-Own: 1", "Grpc-Metadata-X-More: 2", "Grpc-Metadata-X-Forwarded-For: 6.6.6.6", "Accept-Encoding: gzip")
    lines = (*lines, "Authorization: Bearer t", "Grpc-Metadata-Authorization: Bearer another")
    pairs = site.json(get("/v1/seen", "example.com", *lines))["metadata"]
    found = {pair["name"]: pair["value"] for pair in pairs}
    assert [pair["name"] for pair in pairs].count("authorization") == 1
    assert (found["x-own"], found["x-more"], found["authorization"]) == ("1", "2", "Bearer t")
    assert found["x-forwarded-for"] == "127.0.0.1"
    assert not found.keys() & {"accept-encoding", "grpc-metadata-x-more"}


def test_what_a_transformation_made_of_a_request_is_what_is_called(site: Site) -> None:
    assert site.json(get("/shelves/1", "moved.test"))["name"] == "shelves/1"
    assert site.json(get("/api/v1/shelves/1/books?page_size=1", "stripped.test"))["nextPageToken"] == "next"
    pairs = site.json(get("/seen", "moved.test", "X-Own: sent"))["metadata"]
    assert [pair["value"] for pair in pairs if pair["name"] == "x-own"] == ["transformed"]


def test_servers_are_told_how_long_they_are_waited_for(site: Site) -> None:
    assert 50 < site.json(get("/v1/seen"))["remaining"] <= 60
    assert 5 < site.json(get("/v1/seen", "example.com", "grpc-timeout: 9S"))["remaining"] <= 9
    assert site.json(get("/v1/seen", "hasty.test"))["remaining"] <= 1


def test_options_say_how_json_is_written_and_what_is_taken(site: Site) -> None:
    sent = request(
        "POST", "/v1/echo?a=b", b'{"zzz": 1, "scalars": {"aColour": "PINK"}, "timestamp": null}', host="lenient.test"
    )
    assert site.ask(sent).status == 400
    sent = request("POST", "/v1/echo?a=b", b'{"zzz": 1, "scalars": {"aColour": "RED"}}', host="lenient.test")
    told = site.json(sent)
    assert (told["scalars"]["a_colour"], told["scalars"]["an_int64"], told["texts"], told["int32s"]) == (1, "0", {}, [])
    assert "optional_int32" not in told
    unbound = request("POST", f"/{SERVICE}/Unbound", b'{"name": "n"}', host="lenient.test")
    assert site.json(unbound) == {"name": "n", "theme": "", "capacity": "0"}
    assert site.json(get("/v1/shelves/1?key=k", "hasty.test"))["name"] == "shelves/1"


# ---- refusals --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sent", "status", "told"),
    [
        (get("/v1/nothing"), 404, "No method is bound"),
        (request("DELETE", "/v1/shelves/1"), 405, "other methods"),
        (get("/v1/shelves/1/books?zzz=1"), 400, "no parameter 'zzz'"),
        (get("/v1/shelves/1/books?pageSize=ten"), 400, "pageSize: not an integer"),
        (get("/v1/shelves/1/books?pageSize=1&page_size=2"), 400, "twice"),
        (get("/v1/shelves/1/books?parent=shelves/2"), 400, "no parameter"),
        (get("/v1/shelves/%ff"), 400, "not UTF-8"),
        (request("POST", "/v1/echo", b'{"scalars": {"anInt32": 1.5}}'), 400, "scalars.anInt32: not an integer"),
        (request("POST", "/v1/echo", b'{"int32s": [1, "x"]}'), 400, "int32s[1]: not an integer"),
        (request("POST", "/v1/echo", b'{"chosenInt32": 1, "chosenBool": true}'), 400, "excludes"),
        (request("POST", "/v1/echo", b'{"scalars":'), 400, "not JSON"),
        (request("POST", "/v1/echo", b"[" * 5000), 400, "nested too deeply"),
        (request("POST", "/v1/echo", b'{"unknown": 1}'), 400, "no field 'unknown'"),
        (request("POST", "/v1/echo", b" " * 70000), 413, "65536 bytes"),
        (request("POST", "/v1/echo", b"{}").replace(b"application/json", b"text/plain"), 415, "must be JSON"),
        (request("POST", "/v1/echo", b"{}", "Content-Encoding: gzip"), 415, "encoded"),
        (request("DELETE", "/v1/shelves/1/books/2", b"{}"), 400, "no content"),
        (get("/v1/seen", "example.com", "grpc-timeout: soon"), 400, "grpc-timeout"),
    ],
)
def test_requests_that_make_no_call_are_refused_with_the_reason(
    site: Site, sent: bytes, status: int, told: str
) -> None:
    problem = site.json(sent, status)
    assert told in problem["detail"]
    assert problem["policy"] == "transcode"


def test_a_path_tells_its_methods(site: Site) -> None:
    assert site.ask(request("DELETE", "/v1/shelves/1")).get("allow") == "GET, HEAD, LINK, OPTIONS, PUT"
    answer = site.ask(request("OPTIONS", "/v1/shelves/1"))
    assert (answer.status, answer.get("allow")) == (204, "GET, HEAD, LINK, OPTIONS, PUT")


# ---- statuses --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "status"),
    [(1, 499), (2, 500), (3, 400), (4, 504), (5, 404), (6, 409), (7, 403), (8, 429), (9, 400), (10, 409), (11, 400),
     (12, 501), (13, 500), (14, 503), (15, 500), (16, 401)],
)  # fmt: skip
def test_statuses_of_calls_are_told_as_google_rpc_has_it(site: Site, code: int, status: int) -> None:
    assert site.json(get(f"/v1/fail/{code}?message=not+%C3%BC+now"), status) == {"code": code, "message": "not ü now"}


def test_details_of_errors_are_told_and_when_to_come_again(site: Site) -> None:
    answer = site.ask(get("/v1/fail/14?details=true&message=m"))
    assert (answer.status, answer.get("retry-after")) == (503, "7")
    assert json.loads(answer.body)["details"] == [
        {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "6.000000001s"},
        {"@type": "type.googleapis.com/edgewise.library.Shelf", "name": "the shelf"},
        {"@type": "example.com/nobody.Knows", "value": "AQ=="},
    ]


def test_failures_of_the_edge_are_told_in_the_same_form(site: Site) -> None:
    assert site.json(get("/v1/shelves/1", "gone.test"), 502)["code"] == 14
    assert site.json(get("/v1/hang", "hasty.test"), 504)["code"] == 4
    assert site.json(get("/v1/hang", "example.com", "grpc-timeout: 100m"), 504)["code"] == 4


def test_calls_are_not_hedged_since_their_message_is_sent_once(site: Site) -> None:
    site.library.hanging.clear()
    site.other.hanging.clear()
    assert site.json(get("/v1/hang", "hedged.test", "grpc-timeout: 500m"), 504)["code"] == 4
    assert not (site.library.hanging.is_set() and site.other.hanging.is_set())


def test_a_client_that_leaves_cancels_the_call(site: Site) -> None:
    site.library.hanging.clear()
    site.library.cancelled.clear()
    client = site.edge.client()
    client.send(get("/v1/hang"))
    wait_until(site.library.hanging.is_set, "the call is at the server")
    client.close()
    wait_until(site.library.cancelled.is_set, "the call is cancelled")


# ---- streams ---------------------------------------------------------------------------------------------------------


def test_a_stream_is_lines_of_json(site: Site) -> None:
    answer = site.ask(get("/v1/shelves/1:watch?count=3"))
    assert (answer.status, answer.get("content-type")) == (200, "application/x-ndjson")
    assert [json.loads(line)["name"] for line in answer.body.splitlines()] == [f"shelves/1/books/{n}" for n in range(3)]


def test_a_stream_is_events_for_those_who_ask_for_them(site: Site) -> None:
    answer = site.ask(get("/v1/shelves/1:watch?count=2", "example.com", "Accept: text/event-stream"))
    assert answer.get("content-type") == "text/event-stream"
    assert answer.body == b"".join(b'data: {"name":"shelves/1/books/%d"}\n\n' % n for n in range(2))


def test_a_status_before_the_first_message_is_that_of_the_answer(site: Site) -> None:
    assert site.json(get("/v1/shelves/1:watch?fail_after=1"), 404) == {"code": 5, "message": "no more of them"}


def test_a_status_behind_messages_is_the_last_line_or_event(site: Site) -> None:
    asked = "/v1/shelves/1:watch?count=1&fail_after=1&pad=9"
    lines = site.ask(get(asked)).body.splitlines()
    assert json.loads(lines[-1]) == {"error": {"code": 5, "message": "no more of them"}}
    events = site.ask(get(asked, "example.com", "Accept: text/event-stream")).body
    assert events.endswith(b'event: error\ndata: {"code":5,"message":"no more of them"}\n\n')


def test_an_empty_stream_has_no_lines(site: Site) -> None:
    answer = site.ask(get("/v1/shelves/1:watch"))
    assert (answer.status, answer.get("content-type"), answer.body) == (200, "application/x-ndjson", b"")


def test_a_message_over_the_limit_ends_the_answer(site: Site) -> None:
    assert site.json(get("/v1/shelves/1:watch?count=1&pad=70000"), 502)["code"] == 14


def test_a_stream_of_http_bodies_is_their_content(site: Site) -> None:
    answer = site.ask(get("/v1/exports/1?count=3"))
    assert (answer.get("content-type"), answer.body) == ("text/csv", b"0\n1\n2\n")


# ---- wires -----------------------------------------------------------------------------------------------------------


def test_a_connection_serves_one_call_after_the_other(site: Site) -> None:
    with site.edge.client() as client:
        for name in ("a", "b", "a"):
            assert json.loads(client.ask(get(f"/v1/shelves/{name}")).body)["name"] == f"shelves/{name}"
            assert client.ask(post(b"{}", "/v1/echo", "example.com", "Content-Type: application/json")).body == b"{}"


def test_http_1_0_gets_whole_answers_and_streams(site: Site) -> None:
    answer = site.ask(b"GET /v1/shelves/1 HTTP/1.0\r\nHost: a\r\n\r\n")
    assert json.loads(answer.body)["name"] == "shelves/1"
    with site.edge.client() as client:
        client.send(b"GET /v1/shelves/1:watch?count=2 HTTP/1.0\r\nHost: a\r\n\r\n")
        assert client.read().body.count(b"\n") == 2


def test_http_2_clients_get_the_same(site: Site) -> None:
    with Http2Client(("127.0.0.1", site.edge.port)) as client:
        assert json.loads(client.get("/v1/shelves/1").body)["theme"] == "history"
        stream = client.request(request_fields("/v1/echo", "POST"), end=False)
        client.send_content(stream, b'{"optionalInt32"', end=False)
        client.send_content(stream, b": 7}")
        assert client.answer(stream).body == b'{"optionalInt32":7}'
        assert client.get("/v1/shelves/1:watch?count=3").body.count(b"\n") == 3
        refused = client.get("/v1/fail/5?message=m")
        assert (refused.status, json.loads(refused.body)["code"]) == (404, 5)


def test_content_in_pieces_is_waited_for(site: Site) -> None:
    with site.edge.client() as client:
        client.send(b"POST /v1/echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n{\r\n")
        client.send(b"1\r\n}\r\n0\r\n\r\n")
        assert client.read().body == b"{}"


def test_grpc_clients_pass_on_the_same_route(site: Site) -> None:
    shelf, name = message_class("edgewise.library.Shelf"), message_class("edgewise.library.GetShelfRequest")
    with grpc.insecure_channel(f"127.0.0.1:{site.edge.port}") as channel:
        call = channel.unary_unary(
            f"/{SERVICE}/GetShelf", request_serializer=name.SerializeToString, response_deserializer=shelf.FromString
        )
        assert call(name(name="shelves/1"), timeout=15).theme == "history"


def test_the_log_has_what_the_client_asked_and_the_status_of_the_call(site: Site) -> None:
    site.ask(get("/v1/fail/5?message=logged"))
    line = wait_until(
        lambda: next((one for one in site.edge.access_log if "message=logged" in json.dumps(one)), None),
        "it is logged",
    )
    assert (line["method"], line["status"], line["grpc_status"]) == ("GET", 404, 5)
