"""HTTP/1.1 through a real edgewise: framing, connections, and the fields that are added and dropped."""

from __future__ import annotations

import pytest

from support.edgewise_process import EdgewiseProcess, free_port, wait_until
from support.origin import OK, Origin, OriginConnection
from support.raw_http import RawClient, field_value, get, post


def answer(body: bytes, *lines: str, status: str = "200 OK") -> bytes:
    """Return the bytes of an answer with Content-Length."""
    fields = "".join(f"{line}\r\n" for line in lines)
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n{fields}\r\n".encode("latin-1") + body


def path_of(request: bytes) -> bytes:
    """Return the target of a raw request."""
    return request.split(b" ", 2)[1]


def echo_path(connection: OriginConnection) -> None:
    """Answer each request with its target."""
    while True:
        connection.send(answer(path_of(connection.read_request())))


class TestConnections:
    def test_http_2_cannot_begin_where_something_was_asked_already(self, proxied) -> None:
        edgewise, _ = proxied()
        with edgewise.client() as client:
            assert client.ask(get("/")).status == 200
            assert client.ask(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").status in (400, 505)
            assert client.is_closed()

    def test_a_client_connection_carries_several_requests_over_one_upstream_connection(self, proxied) -> None:
        edgewise, origin = proxied()
        with edgewise.client() as client:
            assert [client.ask(get(f"/{number}")).body for number in range(3)] == [b"ok"] * 3
        assert [path_of(request) for request in origin.requests] == [b"/0", b"/1", b"/2"]
        assert len(origin.connections) == 1

    def test_pipelined_requests_are_answered_in_order(self, proxied) -> None:
        edgewise, _ = proxied(echo_path)
        with edgewise.client() as client:
            client.send(b"".join(get(f"/{number}") for number in range(20)))
            assert [client.read().body for _ in range(20)] == [f"/{number}".encode() for number in range(20)]

    def test_pipelined_uploads_keep_their_content_apart(self, proxied) -> None:
        edgewise, origin = proxied()
        with edgewise.client() as client:
            client.send(post(b"first") + post(b"") + post(b"GET / HTTP/1.1\r\n\r\n") + get("/last"))
            assert [client.read().status for _ in range(4)] == [200] * 4
        contents = [request.partition(b"\r\n\r\n")[2] for request in origin.requests]
        assert contents == [b"first", b"", b"GET / HTTP/1.1\r\n\r\n", b""]

    def test_a_head_that_comes_byte_by_byte_is_read_like_any_other(self, proxied) -> None:
        edgewise, _ = proxied(echo_path)
        with edgewise.client() as client:
            for byte in get("/bytes"):
                client.send(bytes([byte]))
            assert client.read().body == b"/bytes"

    def test_connection_close_is_honoured(self, proxied) -> None:
        edgewise, _ = proxied()
        with edgewise.client() as client:
            reply = client.ask(get(close=True))
            assert (reply.status, reply.get("connection")) == (200, "close")
            assert client.is_closed()

    def test_http_1_0_closes_unless_asked_to_keep_the_connection(self, proxied) -> None:
        edgewise, _ = proxied()
        with edgewise.client() as client:
            assert (
                client.ask(b"GET / HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n").get("connection")
                == "keep-alive"
            )
            assert client.ask(b"GET / HTTP/1.0\r\nHost: a\r\n\r\n").body == b"ok"
            assert client.is_closed()

    def test_a_server_that_closed_an_idle_connection_costs_no_request(self, proxied) -> None:
        def one_each(connection: OriginConnection) -> None:
            connection.read_request()
            connection.send(OK)  # it returns, so the connection closes without having said so

        edgewise, origin = proxied(one_each)
        with edgewise.client() as client:
            assert [client.ask(get()).status for _ in range(10)] == [200] * 10
        assert len(origin.connections) >= 10

    def test_a_server_that_is_not_there_is_a_502(self, edgewise_server) -> None:
        edgewise = edgewise_server(
            f'[upstreams.app]\nservers = ["127.0.0.1:{free_port()}"]\n[[routes]]\nupstream = "app"\n'
        )
        with edgewise.client() as client:
            assert client.ask(get()).status == 502


class TestFraming:
    def test_chunked_content_is_framed_anew_in_both_directions(self, proxied) -> None:
        framed = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
        edgewise, origin = proxied(framed)
        upload = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n4;q\r\nwxyz\r\n0\r\n\r\n"
        with edgewise.client() as client:
            reply = client.ask(upload)
            assert reply.body == b"abcde"
            assert b"x=y" not in reply.raw_body
            assert client.ask(get()).body == b"abcde"
        assert origin.requests[0].endswith(b"\r\n\r\n4\r\nwxyz\r\n0\r\n\r\n")

    def test_chunked_answers_reach_http_1_0_clients_unframed(self, proxied) -> None:
        edgewise, _ = proxied(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n")
        with edgewise.client() as client:
            reply = client.ask(b"GET / HTTP/1.0\r\nHost: a\r\n\r\n")
            assert reply.get("transfer-encoding") is None
            assert reply.body == b"abc"

    def test_an_answer_that_ends_with_its_connection_becomes_chunked(self, proxied) -> None:
        def until_close(connection: OriginConnection) -> None:
            connection.read_request()
            connection.send(b"HTTP/1.1 200 OK\r\n\r\nto the end")

        edgewise, _ = proxied(until_close)
        with edgewise.client() as client:
            assert client.ask(get()).body == b"to the end"
            assert client.ask(get()).body == b"to the end"

    @pytest.mark.parametrize("head_fields", ["Content-Length: 5\r\n", "Transfer-Encoding: chunked\r\n", ""])
    def test_head_is_answered_without_content(self, proxied, head_fields: str) -> None:
        def heads(connection: OriginConnection) -> None:
            while True:
                head = connection.read_request()
                connection.send(OK if head.startswith(b"GET") else f"HTTP/1.1 200 OK\r\n{head_fields}\r\n".encode())

        edgewise, _ = proxied(heads)
        with edgewise.client() as client:
            assert client.ask(b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n", head_request=True).status == 200
            assert client.ask(get()).body == b"ok"

    @pytest.mark.parametrize("status", ["204 No Content", "304 Not Modified"])
    def test_204_and_304_have_no_content(self, proxied, status: str) -> None:
        edgewise, _ = proxied([f"HTTP/1.1 {status}\r\nETag: x\r\n\r\n".encode(), OK])
        with edgewise.client() as client:
            reply = client.ask(get())
            assert (reply.status, reply.get("etag")) == (int(status[:3]), "x")
            assert client.ask(get()).body == b"ok"

    def test_an_answer_cut_short_is_never_passed_off_as_whole(self, proxied) -> None:
        def cut(connection: OriginConnection) -> None:
            head = connection.read_request()
            framing = b"Content-Length: 10" if path_of(head) == b"/length" else b"Transfer-Encoding: chunked"
            content = b"hello" if path_of(head) == b"/length" else b"5\r\nhello\r\n"
            connection.send(b"HTTP/1.1 200 OK\r\n" + framing + b"\r\n\r\n" + content)

        edgewise, _ = proxied(cut)
        for path in ("/length", "/chunked"):
            with edgewise.client() as client:
                client.send(get(path))
                received = client.reader.to_end()
                assert b"hello" in received
                assert not received.endswith(b"0\r\n\r\n")

    def test_interim_answers_before_the_final_one_do_not_disturb_it(self, proxied) -> None:
        hints = b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n"
        edgewise, _ = proxied(hints + OK)
        with edgewise.client() as client:
            assert client.ask(get()).body == b"ok"
            assert client.ask(get()).body == b"ok"

    def test_eight_mebibytes_arrive_unchanged_in_both_directions(self, proxied) -> None:
        body = bytes(range(256)) * 32768

        def echo(connection: OriginConnection) -> None:
            while True:
                head = connection.read_head()
                connection.send(answer(connection.read_body(head)))

        edgewise, _ = proxied(echo)
        with edgewise.client() as client:
            assert client.ask(post(body)).body == body
            assert client.ask(post(b"again")).body == b"again"


class TestUploads:
    def test_expect_100_continue_is_answered_before_the_content_comes(self, proxied) -> None:
        edgewise, origin = proxied()
        with edgewise.client() as client:
            client.send(b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n")
            assert client.reader.until(b"\r\n\r\n").startswith(b"HTTP/1.1 100 ")
            client.send(b"hello")
            assert client.read().body == b"ok"
        assert origin.requests[0].endswith(b"hello")

    def test_an_early_answer_to_an_unfinished_upload_is_passed_on_and_closes(self, proxied) -> None:
        def refuse(connection: OriginConnection) -> None:
            connection.read_head()
            connection.send(answer(b"too large", "Connection: close", status="413 Content Too Large"))
            connection.reader.to_end()

        edgewise, _ = proxied(refuse)
        with edgewise.client() as client:
            client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 50000000\r\n\r\n" + b"x" * 1000)
            assert client.read().status == 413
            assert client.is_closed()

    def test_content_over_the_routes_limit_is_refused_with_413(self, proxied) -> None:
        edgewise, origin = proxied(route="body_limit = 1000")
        with edgewise.client() as client:
            assert client.ask(post(b"x" * 1000)).status == 200
            assert client.ask(post(b"x" * 1001)).status == 413
            assert client.is_closed()
        with edgewise.client() as client:
            chunks = b"".join(b"64\r\n" + b"x" * 100 + b"\r\n" for _ in range(11)) + b"0\r\n\r\n"
            client.send(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks)
            assert client.read().status == 413
        assert len(origin.requests) == 1

    def test_a_client_that_leaves_in_mid_upload_never_makes_a_whole_request(self, proxied) -> None:
        edgewise, origin = proxied()
        with edgewise.client() as client:
            client.send(b"POST /half HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
        with edgewise.client() as client:
            assert client.ask(get("/after")).status == 200
        assert [path_of(request) for request in origin.requests] == [b"/after"]

    def test_unread_content_of_a_request_answered_at_the_edge_is_not_taken_for_the_next_request(self, proxied) -> None:
        edgewise, origin = proxied(route='[[routes]]\npath = "/fixed"\nrespond = { body = "fixed" }')
        inner = get("/smuggled")
        with edgewise.client() as client:
            client.send(post(inner, "/fixed") + get("/next", close=True))
            assert client.read().body == b"fixed"
            client.reader.to_end()
        assert [path_of(request) for request in origin.requests] in ([b"/next"], [])


class TestFields:
    def test_what_the_client_claims_of_itself_is_overwritten(self, proxied) -> None:
        edgewise, origin = proxied()
        claims = (
            "X-Forwarded-For: 1.2.3.4",
            "X-Forwarded-Proto: https",
            "X-Real-IP: 1.2.3.4",
            "Forwarded: for=1.2.3.4",
        )
        with edgewise.client() as client:
            client.ask(get("/", "shop.example.com", *claims, "X-Forwarded-Host: evil.com"))
        [request] = origin.requests
        assert field_value(request, b"x-forwarded-for") == b"127.0.0.1"
        assert field_value(request, b"x-forwarded-proto") == b"http"
        assert field_value(request, b"x-forwarded-host") == b"shop.example.com"
        assert field_value(request, b"host") == b"shop.example.com"
        assert b"1.2.3.4" not in request
        assert b"evil.com" not in request

    def test_what_a_trusted_proxy_says_is_kept_and_appended_to(self, edgewise_server, origin) -> None:
        server = origin()
        edgewise = edgewise_server(
            '[server]\nlisten = ["127.0.0.1:$PORT"]\nadmin = "off"\nworkers = 1\ntrusted_proxies = ["127.0.0.0/8"]\n'
            f'[upstreams.app]\nservers = ["{server.address}"]\n[[routes]]\nupstream = "app"\n'
        )
        with edgewise.client() as client:
            client.ask(get("/", "a", "X-Forwarded-For: 1.2.3.4", "X-Forwarded-Proto: https"))
        [request] = server.requests
        assert field_value(request, b"x-forwarded-for") == b"1.2.3.4, 127.0.0.1"
        assert field_value(request, b"x-forwarded-proto") == b"https"

    def test_every_request_has_an_id_that_the_log_repeats(self, proxied) -> None:
        edgewise, origin = proxied()
        with edgewise.client() as client:
            client.ask(get("/one"))
            client.ask(get("/two"))
        ids = [field_value(request, b"x-request-id") for request in origin.requests]
        assert None not in ids
        assert len(set(ids)) == 2
        for number in ids:
            wait_until(lambda number=number: str(number, "ascii") in str(edgewise.access_log), f"{number!r} is logged")

    def test_a_valid_traceparent_is_continued_and_a_bad_one_replaced(self, proxied) -> None:
        edgewise, origin = proxied()
        trace = "0af7651916cd43dd8448eb211c80319c"
        with edgewise.client() as client:
            client.ask(get("/", "a", f"traceparent: 00-{trace}-b7ad6b7169203331-01"))
            client.ask(get("/", "a", "traceparent: 00-nonsense-01", "tracestate: a=b"))
        good, bad = (field_value(request, b"traceparent") or b"" for request in origin.requests)
        assert good.split(b"-")[1] == trace.encode()
        assert good.split(b"-")[2] != b"b7ad6b7169203331"
        assert len(bad) == 55
        assert b"nonsense" not in bad
        assert b"tracestate" not in origin.requests[1].lower()

    def test_hop_by_hop_fields_of_an_answer_end_here(self, proxied) -> None:
        edgewise, _ = proxied(
            answer(b"ok", "Connection: keep-alive, X-Hop", "X-Hop: 1", "Keep-Alive: timeout=5", "X-End: 2")
        )
        with edgewise.client() as client:
            reply = client.ask(get())
        assert [reply.get(name) for name in ("X-Hop", "Keep-Alive", "Connection", "X-End")] == [None, None, None, "2"]

    def test_answers_without_a_date_get_one(self, proxied) -> None:
        edgewise, _ = proxied([OK, answer(b"ok", "Date: Mon, 01 Jan 2024 00:00:00 GMT")])
        with edgewise.client() as client:
            assert (client.ask(get()).get("date") or "").endswith("GMT")
            assert client.ask(get()).all("date") == ["Mon, 01 Jan 2024 00:00:00 GMT"]

    def test_repeated_fields_stay_apart_and_in_order(self, proxied) -> None:
        edgewise, origin = proxied(answer(b"ok", "Set-Cookie: a=1", "Set-Cookie: b=2"))
        with edgewise.client() as client:
            reply = client.ask(get("/", "a", "Accept: x", "Accept: y"))
        assert reply.all("set-cookie") == ["a=1", "b=2"]
        assert origin.requests[0].index(b"Accept: x\r\n") < origin.requests[0].index(b"Accept: y\r\n")


def test_the_same_bytes_are_answered_the_same_whether_the_head_was_seen_before_or_not(proxied) -> None:
    edgewise, origin = proxied()
    replies = []
    for _ in range(3):
        with edgewise.client() as client:
            replies.append(client.ask(get("/same", "a", "Cookie: secret=1", "A: b")).head)
    known = [b"x-request-id", b"traceparent", b"date"]

    def lasting(message: bytes) -> list[bytes]:
        return [line for line in message.split(b"\r\n") if line.split(b":")[0].lower() not in known]

    assert all(lasting(request) == lasting(origin.requests[0]) for request in origin.requests)
    assert all(lasting(reply) == lasting(replies[0]) for reply in replies)


def test_origins_on_unix_sockets_are_proxied(edgewise_server, tmp_path) -> None:
    server = Origin(unix=str(tmp_path / "app.sock"))
    edgewise: EdgewiseProcess = edgewise_server(
        f'[upstreams.app]\nservers = ["{server.address}"]\n[[routes]]\nupstream = "app"\n'
    )
    with RawClient(("127.0.0.1", edgewise.port)) as client:
        assert client.ask(get()).body == b"ok"
    server.stop()
