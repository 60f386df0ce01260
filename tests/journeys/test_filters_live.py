"""Filters on requests and answers through a real edgewise: what they may do, and that their failures stay their own."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.edgewise_process import EdgewiseProcess, wait_until
from support.http2_raw import Http2Client
from support.origin import OK, Origin
from support.raw_http import field_value, get, post

NAMES = (
    "mark", "move", "trace", "forbid", "admit", "hang", "stubborn", "broken", "wrong", "change_method", "Stamp",
    "Status", "Replace", "Rewrite", "Explode", "no_path", "no_headers", "no_content", "NoStatus", "NoHeaders",
)  # fmt: skip
EDITS = 'response_headers = { set = { X-Edit = "1" }, remove = ["X-Secret"] }'

Pair = tuple[EdgewiseProcess, Origin]


@pytest.fixture(scope="module")
def standing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    server = Origin()
    toml = (
        '[server]\nlisten = ["127.0.0.1:$PORT"]\nadmin = "off"\nworkers = 1\ntrusted_proxies = ["127.0.0.1"]\n'
        f'[upstreams.app]\nservers = ["{server.address}"]\n[[routes]]\nupstream = "app"\n'
    )
    for name in NAMES:
        toml += f'[[routes]]\nname = "{name}"\npath = "/{name}/*"\nupstream = "app"\n{EDITS}\n'
        toml += f'filters = ["support.live_filters:{name}"]\nfilter_timeout = "400ms"\n'
    toml += '[[routes]]\npath = "/items/{id}"\nupstream = "app"\nrewrite = "/v2/{id}"\n'
    toml += 'filters = ["support.live_filters:mark", "support.live_filters:admit"]\n'
    toml += '[[routes]]\npath = "/many/*"\nupstream = "app"\n'
    toml += 'filters = ["support.live_filters:admit", "support.live_filters:forbid", "support.live_filters:broken"]\n'
    edgewise = EdgewiseProcess(toml, tmp_path_factory.mktemp("filters"))
    yield edgewise, server
    edgewise.stop()
    server.stop()


@pytest.fixture
def pair(standing: Pair) -> Pair:
    standing[1].play(OK)
    return standing


def logged(edgewise: EdgewiseProcess, path: str) -> dict[str, object]:
    """Return the log line of a path."""
    lines = wait_until(lambda: [line for line in edgewise.access_log if line["path"] == path], f"{path} is logged")
    assert len(lines) == 1
    line: dict[str, object] = lines[0]
    return line


class TestRequests:
    def test_a_filter_sees_the_request_and_adds_fields(self, pair: Pair) -> None:
        edgewise, origin = pair
        with edgewise.client() as client:
            client.ask(get("/mark/a?b", "a.test", "X-Forwarded-For: 9.9.9.9"))
        assert field_value(origin.requests[0], b"x-mark") == b"GET /mark/a 9.9.9.9 http mark"
        assert origin.requests[0].startswith(b"GET /mark/a?b HTTP/1.1\r\nHost: a.test\r\n")

    def test_a_filter_sends_a_request_elsewhere(self, pair: Pair) -> None:
        edgewise, origin = pair
        with edgewise.client() as client:
            client.ask(get("/move/a?b"))
            client.ask(get("/move/a?b", "a", "X-To: /x/../y"))
        assert [request.split(b" ")[1] for request in origin.requests] == [b"/moved?by=filter", b"/y?by=filter"]

    @pytest.mark.parametrize("path", ["/a b", "/a HTTP/1.1\\r\\nX: y", "x", "/%2f"])
    def test_a_path_that_is_none_is_a_500_and_never_sent(self, pair: Pair, path: str) -> None:
        edgewise, origin = pair
        with edgewise.client() as client:
            assert client.ask(get("/move/a", "a", f"X-To: {path}")).status == 500
        assert origin.requests == []

    def test_what_a_filter_says_of_one_request_is_not_said_of_the_next(self, pair: Pair) -> None:
        edgewise, origin = pair
        head = get("/trace/a?trace", "a", "X-Forwarded-For: 9.9.9.9")
        plain = get("/trace/a", "a", "X-Forwarded-For: 9.9.9.9")
        with edgewise.client() as client:
            for request in (head, plain) * 3:
                client.ask(request)
        traced = [b"0af7651916cd43dd8448eb211c80319c" in request for request in origin.requests]
        assert traced == [True, False] * 3
        assert {field_value(request, b"x-forwarded-for") for request in origin.requests} == {b"9.9.9.9, 127.0.0.1"}

    def test_rewrites_and_hop_by_hop_rules_hold_behind_a_filter(self, pair: Pair) -> None:
        edgewise, origin = pair
        with edgewise.client() as client:
            client.ask(get("/items/7?a=b", "a", "Connection: keep-alive, X-Hop", "X-Hop: 1", "X-End: 2", "Proxy: x"))
        [request] = origin.requests
        assert request.startswith(b"GET /v2/7?a=b HTTP/1.1\r\n")
        assert [field_value(request, name) for name in (b"x-hop", b"x-end", b"proxy")] == [None, b"2", None]
        assert field_value(request, b"x-admitted") == b"1"

    def test_http_1_0_without_host_passes_filters(self, pair: Pair) -> None:
        edgewise, origin = pair
        with edgewise.client() as client:
            assert client.ask(b"GET /mark/old HTTP/1.0\r\n\r\n").status == 200
        assert field_value(origin.requests[0], b"via") == b"1.0 edgewise"

    def test_a_filter_answers_in_place_of_the_server(self, pair: Pair) -> None:
        edgewise, origin = pair
        with edgewise.client() as client:
            reply = client.ask(get("/forbid/a"))
            assert (reply.status, reply.body, reply.get("x-why")) == (403, b"no", "because")
            assert client.ask(post(b"content", "/forbid/a")).status == 403
            assert client.ask(b"HEAD /forbid/a HTTP/1.1\r\nHost: a\r\n\r\n", head_request=True).status == 403
        assert origin.requests == []

    def test_filters_run_in_order_until_one_answers(self, pair: Pair) -> None:
        edgewise, _ = pair
        with edgewise.client() as client:
            assert client.ask(get("/many/a")).status == 403

    def test_content_waits_for_an_async_filter_and_keeps_its_order(self, pair: Pair) -> None:
        edgewise, origin = pair
        content = b"".join(b"%06d" % number for number in range(2000))
        with edgewise.client() as client:
            client.send(
                b"POST /admit/a HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(content) + content[:999]
            )
            for start in range(999, len(content), 1000):
                time.sleep(0.005)
                client.send(content[start : start + 1000])
            assert client.read().status == 200
        assert origin.requests[0].endswith(b"\r\n\r\n" + content)

    def test_requests_behind_an_async_filter_are_answered_in_order(self, pair: Pair) -> None:
        edgewise, origin = pair
        with edgewise.client() as client:
            client.send(get("/admit/1") + post(b"two", "/admit/2") + get("/3"))
            assert [client.read().status for _ in range(3)] == [200] * 3
        assert [request.split(b" ")[1] for request in origin.requests] == [b"/admit/1", b"/admit/2", b"/3"]


class TestFailures:
    @pytest.mark.parametrize("name", ["broken", "wrong", "change_method", "hang", "Explode"])
    def test_a_filter_that_fails_is_a_500_and_harms_no_other_request(self, pair: Pair, name: str) -> None:
        edgewise, _ = pair
        with edgewise.client() as client, edgewise.client() as other:
            began = time.monotonic()
            client.send(get(f"/{name}/fails"))
            assert other.ask(get("/fine")).status == 200
            assert client.read().status == 500
            assert time.monotonic() - began < 10
        line = logged(edgewise, f"/{name}/fails")
        assert (line["status"], line["end"]) == (500, "edge-filter")

    @pytest.mark.parametrize("name", ["no_path", "no_headers", "no_content", "NoStatus", "NoHeaders"])
    @pytest.mark.parametrize("version", ["HTTP/1.1", "HTTP/2"])
    def test_what_a_filter_left_behind_and_cannot_be_sent_is_a_500(self, pair: Pair, name: str, version: str) -> None:
        edgewise, _ = pair
        path = f"/{name}/{version[5:]}"
        if version == "HTTP/2":
            with Http2Client(("127.0.0.1", edgewise.port)) as http2:
                assert [http2.get(path).status, http2.get("/fine").status] == [500, 200]
        else:
            with edgewise.client() as http1:
                assert [http1.ask(get(path)).status, http1.ask(get("/fine")).status] == [500, 200]
        line = logged(edgewise, path)
        assert (line["status"], line["end"]) == (500, "edge-filter")

    def test_the_log_has_the_traceback(self, pair: Pair) -> None:
        edgewise, _ = pair
        with edgewise.client() as client:
            client.ask(get("/broken/logged"))
        wait_until(lambda: "broken on purpose" in edgewise.log and "live_filters.py" in edgewise.log, "it is logged")

    def test_a_client_that_leaves_cancels_the_filter(self, pair: Pair, tmp_path: Path) -> None:
        edgewise, origin = pair
        note = tmp_path / "note"
        with edgewise.client() as client:
            client.send(get("/hang/gone", "a", f"X-Note: {note}"))
            time.sleep(0.05)
        wait_until(note.exists, "the filter is cancelled")
        assert logged(edgewise, "/hang/gone")["status"] == 499
        assert origin.requests == []

    def test_a_filter_that_ignores_its_cancellation_brings_nothing_back_to_life(self, pair: Pair) -> None:
        edgewise, origin = pair
        with edgewise.client() as client:
            client.send(get("/stubborn/gone"))
            time.sleep(0.05)
        assert logged(edgewise, "/stubborn/gone")["status"] == 499
        with edgewise.client() as client:
            assert client.ask(get("/after")).status == 200
        assert [request.split(b" ")[1] for request in origin.requests] == [b"/after"]


class TestAnswers:
    def test_a_filter_edits_an_answer_and_the_routes_own_edits_hold(self, pair: Pair) -> None:
        edgewise, origin = pair
        fields = "Server: x\r\nX-Secret: y\r\nConnection: X-Hop\r\nX-Hop: 1\r\nX-Keep: z\r\nDate: now"
        origin.play(f"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n{fields}\r\n\r\nok".encode())
        with edgewise.client() as client:
            for _ in range(3):
                reply = client.ask(get("/Stamp/a"))
                names = ("x-stamp", "server", "x-secret", "x-hop", "x-keep", "x-edit", "date")
                assert [reply.get(name) for name in names] == ["/Stamp/a", None, None, None, "z", "1", "now"]
                assert reply.body == b"ok"

    def test_chunked_answers_stay_chunked_behind_a_filter(self, pair: Pair) -> None:
        edgewise, origin = pair
        origin.play(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n")
        with edgewise.client() as client:
            reply = client.ask(get("/Stamp/a"))
            assert (reply.body, reply.all("transfer-encoding"), len(reply.all("date"))) == (b"abc", ["chunked"], 1)

    def test_a_status_that_a_filter_changed_is_sent_and_logged(self, pair: Pair) -> None:
        edgewise, origin = pair
        origin.play(b"HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\ngone")
        with edgewise.client() as client:
            reply = client.ask(get("/Status/gone"))
            assert (reply.status, reply.body) == (410, b"gone")
            assert reply.head.startswith(b"HTTP/1.1 410 Gone\r\n")
        assert logged(edgewise, "/Status/gone")["status"] == 410

    def test_an_async_filter_answers_in_the_servers_place(self, pair: Pair) -> None:
        edgewise, origin = pair
        origin.play(b"HTTP/1.1 503 No\r\nContent-Length: 300000\r\n\r\n" + b"x" * 300000)
        with edgewise.client() as client:
            assert client.ask(get("/Replace/a")).body == b"was 503"
            origin.play(OK)
            assert client.ask(get("/Replace/a")).body == b"was 200"

    def test_content_assigned_as_text_is_sent(self, pair: Pair) -> None:
        edgewise, _ = pair
        with edgewise.client() as client:
            reply = client.ask(get("/Rewrite/a"))
            assert (reply.status, reply.body, reply.get("content-length")) == (200, b"rewritten", "9")
