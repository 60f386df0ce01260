"""HTTP/2 clients, frame by frame: what each stream gets, and what the server behind is sent for it."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator

import pytest

from support.edgewise_process import EdgewiseProcess
from support.http2_origin import Http2Origin, Stream
from support.http2_raw import (
    DATA,
    END_STREAM,
    INITIAL_WINDOW_SIZE,
    INTERNAL_ERROR,
    LARGEST_WINDOW,
    NO_ERROR,
    Answer,
    Http2Client,
    frame,
    request_fields,
    rst_stream,
    settings,
    window_update,
)
from support.origin import OK, Origin, OriginConnection
from support.raw_http import PATIENCE, field_value

MEBIBYTE = 1 << 20
WIDE = settings((INITIAL_WINDOW_SIZE, LARGEST_WINDOW)) + window_update(0, LARGEST_WINDOW - 65535)
"""No limit on what is sent to the client."""
CLOSED = settings((INITIAL_WINDOW_SIZE, 0))
"""No content may be sent to the client before it says so."""
Pair = tuple[EdgewiseProcess, Origin]


@contextlib.contextmanager
def connected(edgewise: EdgewiseProcess, opening: bytes = WIDE) -> Iterator[Http2Client]:
    """Open a connection by prior knowledge."""
    with Http2Client(("127.0.0.1", edgewise.port), opening=opening) as client:
        yield client


def ask(edgewise: EdgewiseProcess, path: str = "/", method: str = "GET", *extra: tuple[str, str]) -> Answer:
    """Return the answer to one request without content."""
    with connected(edgewise) as client:
        return client.answer(client.request(request_fields(path, method, *extra)))


def upload(client: Http2Client, content: bytes, *extra: tuple[str, str]) -> Answer:
    """POST content and return the answer."""
    stream = client.request(request_fields("/upload", "POST", *extra), end=False)
    client.send_content(stream, content)
    return client.answer(stream)


def by_path(**scripts: Callable[[OriginConnection], None]) -> Callable[[OriginConnection], None]:
    """Return a script that answers by the first word of the path, and with a word where none is named."""

    def script(connection: OriginConnection) -> None:
        while True:
            head = connection.read_head()
            special = scripts.get(head.split(b" ")[1].decode().strip("/"))
            if special is not None:
                special(connection)
            else:
                connection.read_body(head)
                connection.send(OK)

    return script


class TestStreams:
    def test_answers_come_in_the_order_in_which_they_are_ready(self, proxied) -> None:
        release = threading.Event()

        def slow(connection: OriginConnection) -> None:
            release.wait(PATIENCE)
            connection.send(OK)

        edgewise, _ = proxied(by_path(slow=slow))
        with connected(edgewise) as client:
            first = client.request(request_fields("/slow"))
            others = [client.request(request_fields("/fast")) for _ in range(20)]
            assert {client.answer(other).status for other in others} == {200}
            assert not client.of(first).ended
            release.set()
            assert client.answer(first).body == b"ok"

    def test_a_small_answer_does_not_wait_for_a_large_one(self, proxied) -> None:
        size = 50 * MEBIBYTE

        def large(connection: OriginConnection) -> None:
            connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size + bytes(size))

        edgewise, _ = proxied(by_path(large=large))
        with Http2Client(("127.0.0.1", edgewise.port), opening=WIDE, receive_buffer=65536) as client:
            first = client.request(request_fields("/large"))
            client.wait(lambda: client.of(first).size)
            for _ in range(10):
                assert client.get("/small").body == b"ok"
            assert client.of(first).size < size // 2
            client.send(rst_stream(first))
            assert client.get("/small").body == b"ok"

    def test_many_exchanges_on_many_streams_get_their_own_answers(self, proxied) -> None:
        def echo(connection: OriginConnection) -> None:
            while True:
                body = connection.read_request().split(b" ")[1]
                connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)

        edgewise, _ = proxied(echo)
        with connected(edgewise) as client:
            for turn in range(5):
                streams = {client.request(request_fields(f"/{turn}/{at}")): f"/{turn}/{at}" for at in range(100)}
                assert all(client.answer(stream).body == path.encode() for stream, path in streams.items())

    def test_a_malformed_request_ends_its_stream_only(self, proxied) -> None:
        edgewise, _ = proxied()
        with connected(edgewise) as client:
            bad = client.request([*request_fields(), ("connection", "close")])
            assert client.answer(bad).reset == 1
            refused = client.request(request_fields("/%2f"))
            assert client.answer(refused).status == 400
            assert client.get().status == 200


class TestMessages:
    def test_the_origin_sees_who_asked_and_how(self, proxied) -> None:
        edgewise, origin = proxied()
        extra = (("x-forwarded-for", "6.6.6.6"), ("cookie", "a=1"), ("cookie", "b=2"), ("te", "trailers"))
        assert ask(edgewise, "/path?q=1", "GET", *extra).status == 200
        (request,) = origin.requests
        assert request.startswith(b"GET /path?q=1 HTTP/1.1\r\nHost: example.com\r\n")
        fields = {
            name: field_value(request, name)
            for name in (b"x-forwarded-for", b"x-forwarded-proto", b"x-forwarded-host", b"via", b"cookie", b"te")
        }
        assert fields == {
            b"x-forwarded-for": b"127.0.0.1",
            b"x-forwarded-proto": b"http",
            b"x-forwarded-host": b"example.com",
            b"via": b"2 edgewise",
            b"cookie": b"a=1; b=2",
            b"te": None,
        }

    def test_the_access_log_says_http_2(self, edgewise_server, origin) -> None:
        edgewise = edgewise_server(f'[upstreams.app]\nservers = ["{origin().address}"]\n')
        ask(edgewise, "/logged")
        (line,) = edgewise.wait_access_log()
        assert (line["protocol"], line["path"], line["status"]) == ("HTTP/2.0", "/logged", 200)

    @pytest.mark.parametrize(
        ("content", "extra", "framing"),
        [
            (b"hello", (("content-length", "5"),), b"Content-Length: 5\r\n"),
            (b"hello", (), b"Transfer-Encoding: chunked\r\n"),
            (bytes(300_000), (("content-length", "300000"),), b"Content-Length: 300000\r\n"),
            (bytes(300_000), (), b"Transfer-Encoding: chunked\r\n"),
        ],
        ids=["length", "no-length", "large-length", "large-no-length"],
    )
    def test_content_is_framed_anew_for_http_1(self, proxied, content: bytes, extra, framing: bytes) -> None:
        received = []

        def script(connection: OriginConnection) -> None:
            head = connection.read_head()
            chunked = b"chunked" in head
            received.append((head, connection.reader.chunked()[0] if chunked else connection.read_body(head)))
            connection.send(OK)

        edgewise, _ = proxied(script)
        with connected(edgewise) as client:
            assert upload(client, content, *extra).status == 200
        ((head, body),) = received
        assert body == content
        assert framing in head
        assert (b"Content-Length" in head) != (b"Transfer-Encoding" in head)

    @pytest.mark.parametrize("extra", [(), (("content-length", "0"),)], ids=["no-length", "zero"])
    @pytest.mark.parametrize("end", [True, False], ids=["with-head", "by-empty-data"])
    def test_a_post_without_content_has_none_at_the_origin(self, proxied, end: bool, extra) -> None:
        edgewise, origin = proxied()
        with connected(edgewise) as client:
            stream = client.request(request_fields("/", "POST", *extra), end=end)
            if not end:
                client.send(frame(DATA, END_STREAM, stream))
            assert client.answer(stream).status == 200
        assert origin.requests[0].partition(b"\r\n\r\n")[2] in (b"", b"0\r\n\r\n")

    def test_trailers_of_a_request_follow_its_chunks(self, proxied) -> None:
        edgewise, origin = proxied()
        with connected(edgewise) as client:
            stream = client.request(request_fields("/", "POST"), end=False)
            client.send(frame(DATA, 0, stream, b"hello"))
            block = client.encoder.encode([("x-sum", "1"), ("authorization", "no")])
            client.send(frame(1, 0x5, stream, block))
            assert client.answer(stream).status == 200
        assert origin.requests[0].endswith(b"\r\n\r\n5\r\nhello\r\n0\r\nx-sum: 1\r\n\r\n")

    def test_trailers_of_chunks_end_the_stream(self, proxied) -> None:
        chunks = b"5\r\nhello\r\n0\r\nX-Sum: 1\r\nHost: no\r\n\r\n"
        edgewise, _ = proxied(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks)
        reply = ask(edgewise)
        assert (reply.body, reply.trailers) == (b"hello", [("x-sum", "1")])
        assert reply.get("transfer-encoding") is None

    @pytest.mark.parametrize(
        ("answer", "method", "status", "length", "body"),
        [  # the last one ends with its connection
            (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", "HEAD", 200, "5", b""),
            (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "HEAD", 200, None, b""),
            (b"HTTP/1.1 204 No Content\r\n\r\n", "GET", 204, None, b""),
            (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n", "GET", 304, "9", b""),
            (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "GET", 200, "0", b""),
            (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", "GET", 200, "5", b"hello"),
            (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "GET", 200, None, b""),
            (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n", "GET", 200, None, b"ab"),
            (b"HTTP/1.1 200 OK\r\nConnection: close, x-a\r\nX-A: 1\r\nKeep-Alive: 1\r\n\r\ne", "GET", 200, None, b"e"),
        ],
    )  # fmt: skip
    def test_answers_of_every_framing(self, proxied, answer: bytes, method: str, status: int, length, body) -> None:
        def once(connection: OriginConnection) -> None:
            connection.read_request()
            connection.send(answer)

        edgewise, _ = proxied(once)
        with connected(edgewise) as client:
            reply = client.answer(client.request(request_fields("/", method)))
            assert (reply.status, reply.get("content-length"), reply.body) == (status, length, body)
            assert reply.reset is None
            names = {name for name, _ in reply.fields}
            assert names.isdisjoint({"connection", "keep-alive", "transfer-encoding", "x-a"})
            assert not client.ended

    def test_interim_answers_come_before_the_final_one(self, proxied) -> None:
        hint = b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n"
        edgewise, _ = proxied(hint + b"HTTP/1.1 102 Processing\r\n\r\n" + OK)
        reply = ask(edgewise)
        hinted = {":status": "103", "link": "</a.css>"}
        assert [dict(fields) for fields in reply.interim] == [hinted, {":status": "102"}]
        assert reply.body == b"ok"

    def test_a_client_that_waits_for_100_is_asked_to_go_on(self, proxied) -> None:
        edgewise, origin = proxied()
        with connected(edgewise) as client:
            stream = client.request(
                request_fields("/", "POST", ("expect", "100-continue"), ("content-length", "5")), end=False
            )
            client.wait(lambda: client.of(stream).interim)
            assert client.of(stream).interim == [[(":status", "100")]]
            client.send(frame(DATA, END_STREAM, stream, b"hello"))
            assert client.answer(stream).status == 200
        assert origin.requests[0].endswith(b"\r\n\r\nhello")
        assert b"Expect" not in origin.requests[0]

    def test_the_first_bytes_of_a_stream_of_events_are_not_held_back(self, proxied) -> None:
        more = threading.Event()

        def events(connection: OriginConnection) -> None:
            connection.read_request()
            connection.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n")
            more.wait(PATIENCE)
            connection.send(b"data: 1\n\n")
            more.clear()
            more.wait(PATIENCE)

        edgewise, _ = proxied(events)
        with connected(edgewise) as client:
            stream = client.request(request_fields("/events"))
            client.wait(lambda: client.of(stream).fields)
            more.set()
            client.wait(lambda: client.of(stream).body == b"data: 1\n\n")
            more.set()
            assert client.answer(stream).reset is None


class TestEarlyEnds:
    def test_an_answer_before_the_end_of_an_upload_stops_the_upload_alone(self, proxied) -> None:
        def refuse(connection: OriginConnection) -> None:
            connection.send(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno")

        edgewise, _ = proxied(by_path(refuse=refuse))
        with connected(edgewise) as client:
            stream = client.request(request_fields("/refuse", "POST"), end=False)
            client.send(frame(DATA, 0, stream, bytes(1000)))
            reply = client.answer(stream)
            client.wait(lambda: reply.reset is not None)
            assert (reply.status, reply.body, reply.reset) == (403, b"no", NO_ERROR)
            client.send(frame(DATA, 0, stream, bytes(1000)))
            assert upload(client, b"another").status == 200
            assert not client.ended

    @pytest.mark.parametrize("extra", [(), (("content-length", "5000"),)], ids=["no-length", "length"])
    def test_content_over_the_routes_limit_gets_413(self, proxied, extra) -> None:
        edgewise, _ = proxied(route='body_limit = "1KB"')
        with connected(edgewise) as client:
            stream = client.request(request_fields("/", "POST", *extra), end=False)
            client.send(frame(DATA, 0, stream, bytes(2500)))
            reply = client.answer(stream)
            assert reply.status == 413
            client.wait(lambda: reply.reset == NO_ERROR)
            assert client.get().status == 200

    @pytest.mark.parametrize("head", [b"Content-Length: 100\r\n\r\n", b"Transfer-Encoding: chunked\r\n\r\n64\r\n"])
    def test_an_answer_that_breaks_off_resets_its_stream(self, proxied, head: bytes) -> None:
        def cut(connection: OriginConnection) -> None:
            connection.send(b"HTTP/1.1 200 OK\r\n" + head + b"part")
            connection.close()

        edgewise, _ = proxied(by_path(cut=cut))
        with connected(edgewise) as client:
            reply = client.get("/cut")
            assert (reply.status, reply.body, reply.reset) == (200, b"part", INTERNAL_ERROR)
            assert client.get().status == 200

    def test_a_cancelled_request_is_given_up_at_the_server(self, edgewise_server, origin) -> None:
        gone = threading.Event()

        def wait(connection: OriginConnection) -> None:
            if connection.reader.to_end() == b"":
                gone.set()

        edgewise = edgewise_server(f'[upstreams.app]\nservers = ["{origin(by_path(wait=wait)).address}"]\n')
        with connected(edgewise) as client:
            stream = client.request(request_fields("/wait"))
            assert client.get().status == 200
            client.send(rst_stream(stream))
            assert gone.wait(PATIENCE)
            assert client.get().status == 200
        statuses = sorted(line["status"] for line in edgewise.wait_access_log(3))
        assert statuses == [200, 200, 499]

    def test_a_client_that_closes_gives_up_all_it_asked_for(self, proxied) -> None:
        arrived, gone = threading.Semaphore(0), threading.Semaphore(0)

        def wait(connection: OriginConnection) -> None:
            arrived.release()
            if connection.reader.to_end() == b"":
                gone.release()

        edgewise, _ = proxied(by_path(wait=wait))
        with connected(edgewise) as client:
            for _ in range(5):
                client.request(request_fields("/wait"))
            assert all(arrived.acquire(timeout=PATIENCE) for _ in range(5))
        assert all(gone.acquire(timeout=PATIENCE) for _ in range(5))


class TestRoutes:
    @pytest.fixture(scope="class")
    @classmethod
    def site(cls, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
        directory = tmp_path_factory.mktemp("routes")
        (directory / "file.txt").write_bytes(bytes(range(256)) * 8192)
        origin = Origin()
        routes = {
            "/moved": 'redirect = { to = "https://elsewhere.test{path}", status = 308 }',
            "/fixed": 'respond = { status = 418, body = "teapot" }',
            "/accel": f'upstream = "app"\naccel = {{ "/files" = "{directory}" }}',
            "/stamp": 'upstream = "app"\nfilters = ["support.live_filters:Stamp"]',
            "/replace": 'upstream = "app"\nfilters = ["support.live_filters:Replace"]',
            "/admit": 'upstream = "app"\nfilters = ["support.live_filters:admit"]',
            "/forbid": 'upstream = "app"\nfilters = ["support.live_filters:forbid"]',
            "/sticky": 'upstream = "sticky"',
            "/*": 'upstream = "app"',
        }
        toml = f'[upstreams.app]\nservers = ["{origin.address}"]\n'
        toml += f'[upstreams.sticky]\nservers = ["{origin.address}"]\nsticky = {{ cookie = "ew" }}\n'
        toml += "".join(f'[[routes]]\npath = "{path}"\n{options}\n' for path, options in routes.items())
        edgewise = EdgewiseProcess(toml, directory)
        yield edgewise, origin
        edgewise.stop()
        origin.stop()

    def test_answers_made_at_the_edge(self, site: Pair) -> None:
        moved, fixed = ask(site[0], "/moved"), ask(site[0], "/fixed")
        assert (moved.status, moved.get("location")) == (308, "https://elsewhere.test/moved")
        assert (fixed.status, fixed.body, fixed.get("content-length")) == (418, b"teapot", "6")

    def test_an_answer_at_the_edge_does_not_wait_for_an_upload(self, site: Pair) -> None:
        with connected(site[0]) as client:
            stream = client.request(request_fields("/fixed", "POST"), end=False)
            reply = client.answer(stream)
            client.wait(lambda: reply.reset == NO_ERROR)
            assert reply.body == b"teapot"

    @pytest.mark.parametrize("opening", [WIDE, b""], ids=["wide-window", "usual-window"])
    def test_files_named_by_the_app(self, site: Pair, opening: bytes) -> None:
        edgewise, origin = site
        origin.play(b"HTTP/1.1 200 OK\r\nX-Accel-Redirect: /files/file.txt\r\nContent-Length: 0\r\n\r\n")
        with connected(edgewise, opening or settings()) as client:
            stream = client.request(request_fields("/accel"))
            while not client.of(stream).ended:
                before = client.of(stream).size
                client.read(PATIENCE)
                size = client.of(stream).size - before
                if size and not opening:
                    client.send(window_update(0, size) + window_update(stream, size))
            assert client.of(stream).body == bytes(range(256)) * 8192
            part = client.get("/accel", ("range", "bytes=0-3"))
            assert (part.status, part.body) == (206, bytes(range(4)))

    def test_filters_see_and_change_what_comes_and_goes(self, site: Pair) -> None:
        site[1].play(OK)
        assert ask(site[0], "/stamp").get("x-stamp") == "/stamp"
        replaced = ask(site[0], "/replace")
        assert (replaced.body, replaced.get("content-length")) == (b"was 200", "7")
        assert ask(site[0], "/admit").status == 200
        assert b"X-Admitted: 1\r\n" in site[1].requests[-1]
        forbidden = ask(site[0], "/forbid")
        assert (forbidden.status, forbidden.get("x-why")) == (403, "because")

    def test_a_sticky_cookie_is_set(self, site: Pair) -> None:
        site[1].play(OK)
        assert (ask(site[0], "/sticky").get("set-cookie") or "").startswith("ew=")


class TestTrustedProxies:
    def test_what_a_trusted_proxy_says_is_passed_on(self, edgewise_server, origin) -> None:
        server = origin()
        edgewise = edgewise_server(
            '[server]\nlisten = ["127.0.0.1:$PORT"]\nadmin = "off"\nworkers = 1\ntrusted_proxies = ["127.0.0.1"]\n'
            f'[upstreams.app]\nservers = ["{server.address}"]\n'
        )
        extra = (("x-forwarded-for", "10.1.2.3"), ("x-forwarded-proto", "https"), ("via", "1.1 front"))
        assert ask(edgewise, "/", "GET", *extra).status == 200
        (request,) = server.requests
        assert field_value(request, b"x-forwarded-for") == b"10.1.2.3, 127.0.0.1"
        assert field_value(request, b"x-forwarded-proto") == b"https"
        assert field_value(request, b"via") == b"1.1 front, 2 edgewise"
        (line,) = edgewise.wait_access_log()
        assert line["client"] == "10.1.2.3"


def test_http_2_all_the_way_carries_trailers_both_ways(edgewise_server) -> None:
    def script(stream: Stream) -> None:
        assert stream.read() == b"hello"
        stream.head(200)
        stream.send(b"world")
        stream.end(*stream.trailers)

    server = Http2Origin(script)
    edgewise = edgewise_server(f'[upstreams.app]\nservers = ["{server.address}"]\nprotocol = "h2c"\n')
    with connected(edgewise) as client:
        stream = client.request(request_fields("/", "POST"), end=False)
        client.send(frame(DATA, 0, stream, b"hello"))
        client.send(frame(1, 0x5, stream, client.encoder.encode([("x-sum", "1")])))
        reply = client.answer(stream)
    assert (reply.body, reply.trailers) == (b"world", [("x-sum", "1")])
    server.stop()
    assert not server.errors
