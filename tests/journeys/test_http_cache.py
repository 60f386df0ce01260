"""Answers from the cache on real sockets: whole, in parts, to many at once, and what never comes from it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from journeys.conftest import InProcess, StartOrigin
from support.cached_answers import how
from support.edgewise_process import wait_until
from support.in_process import InProcessEngine
from support.origin import Origin, OriginConnection
from support.raw_http import ClosedEarly, RawClient, RawResponse, get, post

StartEngine = Callable[..., InProcessEngine]


def answer(body: bytes = b"hello", *lines: str, status: str = "200 OK") -> bytes:
    """Return an origin's whole answer."""
    fields = "".join(f"{line}\r\n" for line in lines)
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n{fields}\r\n".encode() + body


@pytest.fixture
def engine(in_process: InProcess) -> StartEngine:
    """Start an engine whose route before an origin caches: `engine(origin, "settings")`."""

    def start(origin: Origin, cache: str = "", upstream: str = "", route: str = "") -> InProcessEngine:
        toml = f"""
[upstreams.app]
servers = ["{origin.address}"]
{upstream}
[[routes]]
upstream = "app"
cache = {{ {cache} }}
{route}
"""
        return in_process(toml)

    return start


def ask(engine: InProcessEngine, *requests: bytes) -> list[RawResponse]:
    """Ask one after another on one connection."""
    with engine.client() as client:
        return [client.ask(request, head_request=request.startswith(b"HEAD")) for request in requests]


class Gate:
    """An origin that holds back part of each answer until it is opened."""

    def __init__(self, before: bytes, after: bytes) -> None:
        self.opened = threading.Event()
        self.requests: list[bytes] = []
        self._before, self._after = before, after

    def __call__(self, connection: OriginConnection) -> None:
        while True:
            self.requests.append(connection.read_request())
            if self._before:
                connection.send(self._before)
            assert self.opened.wait(60)
            connection.send(self._after)


# ---- what is answered from the store ---------------------------------------------------------------------------------


def test_a_second_request_is_answered_from_what_the_first_one_fetched(origin: StartOrigin, engine: StartEngine) -> None:
    server = origin(answer(b"hello", "Cache-Control: max-age=60", 'ETag: "1"', "X-Own: kept"))
    first, second = ask(engine(server), get("/page"), get("/page"))
    assert len(server.requests) == 1
    assert (how(first), how(second)) == ("fwd=uri-miss; stored", "hit")
    assert first.body == second.body == b"hello"
    assert second.get("x-own") == "kept"
    assert second.get("content-length") == "5"
    assert int(second.get("age") or "x") <= 1


def test_head_is_answered_from_a_stored_get_and_stores_one(origin: StartOrigin, engine: StartEngine) -> None:
    server = origin(answer(b"hello", "Cache-Control: max-age=60"))
    head, whole = ask(engine(server), b"HEAD /page HTTP/1.1\r\nHost: example.com\r\n\r\n", get("/page"))
    assert (head.status, head.get("content-length"), head.body) == (200, "5", b"")
    assert (how(whole), whole.body) == ("hit", b"hello")
    assert [request[:4] for request in server.requests] == [b"GET "]


def test_conditional_requests_and_ranges_are_answered_from_a_whole_object(
    origin: StartOrigin, engine: StartEngine
) -> None:
    server = origin(answer(b"0123456789", "Cache-Control: max-age=60", 'ETag: "1"'))
    same, other, part, none = ask(
        engine(server),
        get("/page", "a", 'If-None-Match: "1"'),
        get("/page", "a", 'If-None-Match: "2"'),
        get("/page", "a", "Range: bytes=2-4"),
        get("/page", "a", "Range: bytes=99-"),
    )
    assert [one.status for one in (same, other, part, none)] == [304, 200, 206, 416]
    assert (same.body, other.body, part.body) == (b"", b"0123456789", b"234")
    assert part.get("content-range") == "bytes 2-4/10"
    assert len(server.requests) == 1
    assert b"if-none-match" not in server.requests[0].lower()


def test_content_of_unknown_length_is_stored_and_then_has_one(origin: StartOrigin, engine: StartEngine) -> None:
    server = origin(
        b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"3\r\nabc\r\n2\r\nde\r\n0\r\nX-Trailer: dropped\r\n\r\n"
    )
    running = engine(server)
    first, second = ask(running, get("/page"), get("/page"))
    assert (first.body, second.body) == (b"abcde", b"abcde")
    assert (first.get("transfer-encoding"), second.get("content-length")) == ("chunked", "5")
    with running.client() as client:
        client.send(b"GET /page HTTP/1.0\r\nHost: example.com\r\n\r\n")
        assert client.read().body == b"abcde"


def test_3_1_trailers_are_not_combined_with_fields(origin: StartOrigin, engine: StartEngine) -> None:
    head = b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n"
    running = engine(origin(head + b"5\r\nhello\r\n0\r\nX-Sum: 1\r\nCache-Control: max-age=600\r\n\r\n"))
    _, second = ask(running, get("/page"), get("/page"))
    assert (how(second), second.body, second.get("x-sum")) == ("hit", b"hello", None)
    assert second.all("cache-control") == ["max-age=60"]


def test_http10_clients_get_the_end_of_unknown_length_by_the_end_of_the_connection(
    origin: StartOrigin, engine: StartEngine
) -> None:
    server = origin(
        b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
    )
    with engine(server).client() as client:
        client.send(b"GET /page HTTP/1.0\r\nHost: example.com\r\n\r\n")
        response = client.read()
        assert (response.body, response.get("transfer-encoding")) == (b"abc", None)
        assert client.is_closed()


def test_a_large_object_goes_to_a_client_that_reads_slowly(origin: StartOrigin, engine: StartEngine) -> None:
    body = bytes(range(256)) * 16384
    server = origin(answer(body, "Cache-Control: max-age=60"))
    running = engine(server)
    with running.client() as client:
        client.send(get("/large"))
        time.sleep(0.2)
        assert client.read().body == body
        client.send(get("/large"))
        time.sleep(0.2)
        assert client.read().body == body
    assert len(server.requests) == 1


def test_pipelined_requests_are_answered_in_order(origin: StartOrigin, engine: StartEngine) -> None:
    def script(connection: OriginConnection) -> None:
        while True:
            connection.send(answer(connection.read_request().split()[1], "Cache-Control: max-age=60"))

    with engine(origin(script)).client() as client:
        client.send(b"".join(get(path) for path in ("/a", "/b", "/a", "/c", "/b")))
        assert [client.read().body for _ in range(5)] == [b"/a", b"/b", b"/a", b"/c", b"/b"]


# ---- what is not stored ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "lines",
    [
        ("Cache-Control: private",),
        ("Cache-Control: no-store",),
        ("Cache-Control: max-age=60", "Set-Cookie: id=1"),
        ("Cache-Control: max-age=60", "Vary: *"),
        (),
    ],
)
def test_what_is_for_one_client_is_asked_for_by_each(
    origin: StartOrigin, engine: StartEngine, lines: tuple[str, ...]
) -> None:
    server = origin([answer(b"one", *lines), answer(b"two", *lines)])
    first, second = ask(engine(server), get("/page"), get("/page"))
    assert (first.body, second.body) == (b"one", b"two")
    assert first.get("set-cookie") == ("id=1" if "Set-Cookie: id=1" in lines else None)


def test_what_is_not_stored_of_a_shared_answer_goes_to_the_one_who_asked(
    origin: StartOrigin, engine: StartEngine
) -> None:
    lines = ('Cache-Control: public, max-age=60, private="X-For"', "Set-Cookie: id=1", "X-For: you", "X-All: 1")
    first, second = ask(engine(origin(answer(b"hello", *lines))), get("/page"), get("/page"))
    assert (first.get("set-cookie"), first.get("x-for"), first.get("x-all")) == ("id=1", "you", "1")
    assert (second.get("set-cookie"), second.get("x-for"), second.get("x-all")) == (None, None, "1")
    assert how(second) == "hit"


def test_while_no_server_answers_what_is_stale_stands_in_unless_it_forbids_that(
    origin: StartOrigin, engine: StartEngine
) -> None:
    def script(connection: OriginConnection) -> None:
        target = connection.read_request().split()[1]
        if connection.index < 2:
            forbid = ", must-revalidate" if target == b"/strict" else ""
            lines = (f"Cache-Control: max-age=1{forbid}", "Age: 1", 'ETag: "a"', "Connection: close")
            connection.send(answer(b"old", *lines))

    running = engine(origin(script), upstream="retry = { attempts = 1 }")
    first = ask(running, get("/strict"), get("/page"))
    assert [reply.status for reply in first] == [200, 200]
    assert [reply.status for reply in ask(running, get("/strict"), get("/page"))] == [502, 200]


def test_a_sticky_cookie_is_not_stored_and_does_not_hinder(origin: StartOrigin, engine: StartEngine) -> None:
    server = origin(answer(b"hello", "Cache-Control: max-age=60"))
    running = engine(server, upstream='sticky = { cookie = "ew" }')
    first, second = ask(running, get("/page"), get("/page"))
    assert (first.all("set-cookie"), second.all("set-cookie")) == ([], [])
    assert how(second) == "hit"


def test_a_post_makes_what_is_stored_of_its_target_invalid(origin: StartOrigin, engine: StartEngine) -> None:
    server = origin([answer(b"old", "Cache-Control: max-age=60"), answer(b"done"), answer(b"new")])
    responses = ask(engine(server), get("/page"), post(b"x", "/page"), get("/page"))
    assert [one.body for one in responses] == [b"old", b"done", b"new"]


def test_a_failed_post_leaves_what_is_stored(origin: StartOrigin, engine: StartEngine) -> None:
    server = origin([answer(b"old", "Cache-Control: max-age=60"), answer(b"no", status="403 Forbidden")])
    responses = ask(engine(server), get("/page"), post(b"x", "/page"), get("/page"))
    assert [one.body for one in responses] == [b"old", b"no", b"old"]


def test_requests_with_content_and_upgrades_go_by_the_cache(origin: StartOrigin, engine: StartEngine) -> None:
    server = origin(answer(b"hello", "Cache-Control: max-age=60"))
    request = get("/page", "a", "Content-Length: 1") + b"x"
    responses = ask(engine(server), request, request)
    assert [how(one) for one in responses] == ["fwd=bypass", "fwd=bypass"]
    assert len(server.requests) == 2


# ---- variants and keys -----------------------------------------------------------------------------------------------


def test_each_variant_is_stored_once(origin: StartOrigin, engine: StartEngine) -> None:
    lines = ("Cache-Control: max-age=60", "Vary: X-Kind")
    server = origin([answer(b"a", *lines), answer(b"b", *lines)])
    kinds = ("a", "b", "a", "b")
    responses = ask(engine(server), *(get("/page", "h", f"X-Kind: {kind}") for kind in kinds))
    assert [one.body for one in responses] == [b"a", b"b", b"a", b"b"]


def test_anonymous_visitors_share_what_varies_on_cookie(origin: StartOrigin, engine: StartEngine) -> None:
    lines = ("Cache-Control: max-age=60", "Vary: Cookie")
    server = origin([answer(b"all", *lines), answer(b"her", *lines)])
    responses = ask(
        engine(server, 'session_cookies = ["sessionid"]'),
        get("/page", "h"),
        get("/page", "h", "Cookie: _ga=1; theme=dark"),
        get("/page", "h", "Cookie: _ga=2; sessionid=s"),
        get("/page", "h", "Cookie: sessionid=s; _ga=3"),
    )
    assert [one.body for one in responses] == [b"all", b"all", b"her", b"her"]


def test_parameters_that_make_no_difference_are_not_sent_on(origin: StartOrigin, engine: StartEngine) -> None:
    server = origin(answer(b"hello", "Cache-Control: max-age=60"))
    running = engine(server, "ignore_marketing = true, sort_query = true")
    ask(running, get("/page?b=2&utm_source=x&a=1"), get("/page?a=1&b=2&gclid=y"))
    assert [request.split()[1] for request in server.requests] == [b"/page?a=1&b=2"]


# ---- staleness -------------------------------------------------------------------------------------------------------


def test_what_is_stale_is_validated_and_answers_again(origin: StartOrigin, engine: StartEngine) -> None:
    server = origin(
        [
            answer(b"hello", "Cache-Control: max-age=0", 'ETag: "1"'),
            b'HTTP/1.1 304 Not Modified\r\nETag: "1"\r\nCache-Control: max-age=60\r\nX-New: yes\r\n\r\n',
        ]
    )
    _, second, third = ask(engine(server), get("/page"), get("/page"), get("/page"))
    assert b'If-None-Match: "1"' in server.requests[1]
    assert (second.status, second.body, second.get("x-new")) == (200, b"hello", "yes")
    assert (how(second), how(third)) == ("fwd=stale; fwd-status=304; stored", "hit")


def test_4_3_2_what_is_validated_for_a_client_with_another_entity_tag_is_sent_whole(
    origin: StartOrigin, engine: StartEngine
) -> None:
    server = origin(
        [
            answer(b"hello", "Cache-Control: no-cache", 'ETag: "1"'),
            b'HTTP/1.1 304 Not Modified\r\nETag: "1"\r\n\r\n',
        ]
    )
    conditions = [get("/page", "a", f"If-None-Match: {tag}") for tag in ('"0"', '"0", "1"')]
    _, whole, same = ask(engine(server), get("/page", "a"), *conditions)
    assert [(one.status, one.body, one.get("etag")) for one in (whole, same)] == [
        (200, b"hello", '"1"'),
        (304, b"", '"1"'),
    ]
    assert all(b'If-None-Match: "1"\r\n' in request for request in server.requests[1:])


def test_a_304_that_speaks_of_something_else_is_asked_again(origin: StartOrigin, engine: StartEngine) -> None:
    server = origin(
        [
            answer(b"old", "Cache-Control: max-age=0", 'ETag: "1"'),
            b'HTTP/1.1 304 Not Modified\r\nETag: "2"\r\n\r\n',
            answer(b"new", "Cache-Control: max-age=60", 'ETag: "2"'),
        ]
    )
    _, second = ask(engine(server), get("/page"), get("/page"))
    assert (second.status, second.body) == (200, b"new")
    assert b"If-None-Match" not in server.requests[2]


def test_while_it_is_renewed_what_is_stale_answers(origin: StartOrigin, engine: StartEngine) -> None:
    lines = ("Cache-Control: max-age=0, stale-while-revalidate=60",)
    server = origin([answer(b"old", *lines), answer(b"new", "Cache-Control: max-age=60")])
    running = engine(server)
    first, second = ask(running, get("/page"), get("/page"))
    assert (first.body, second.body, how(second)) == (b"old", b"old", "hit")
    wait_until(lambda: ask(running, get("/page"))[0].body == b"new", "it was renewed")
    assert len(server.requests) == 2


@pytest.mark.parametrize("failure", [answer(b"", status="503 Service Unavailable"), b""])
def test_what_is_stale_stands_in_for_a_server_that_fails(
    origin: StartOrigin, engine: StartEngine, failure: bytes
) -> None:
    def script(connection: OriginConnection) -> None:
        connection.read_request()
        if connection.index == 0:
            connection.send(answer(b"old", "Cache-Control: max-age=0, stale-if-error=60", "Connection: close"))
        elif failure:
            connection.send(failure)

    first, second = ask(engine(origin(script), upstream="retry = { attempts = 1 }"), get("/page"), get("/page"))
    assert (first.status, first.body) == (second.status, second.body) == (200, b"old")
    assert "fwd=stale" in how(second)


def test_only_if_cached_asks_no_server(origin: StartOrigin, engine: StartEngine) -> None:
    server = origin(answer(b"hello", "Cache-Control: max-age=60"))
    before, _, after = ask(
        engine(server),
        get("/page", "a", "Cache-Control: only-if-cached"),
        get("/page", "a"),
        get("/page", "a", "Cache-Control: only-if-cached"),
    )
    assert (before.status, after.status, after.body) == (504, 200, b"hello")


def test_errors_are_kept_where_the_route_says_so(origin: StartOrigin, engine: StartEngine) -> None:
    server = origin(answer(b"nothing", status="404 Not Found"))
    first, second = ask(engine(server, 'status_ttl = { 404 = "1m" }'), get("/page"), get("/page"))
    assert [first.status, second.status] == [404, 404]
    assert len(server.requests) == 1


# ---- many at once ----------------------------------------------------------------------------------------------------


def ask_at_once(engine: InProcessEngine, count: int, gate: Gate, request: bytes = get("/page")) -> list[RawResponse]:
    """Ask by that many clients at the same time; open the gate once every one of them has asked."""
    clients = [engine.client() for _ in range(count)]
    before = engine.engine.requests
    for client in clients:
        client.send(request)
    wait_until(lambda: engine.engine.requests >= before + count, "all have asked")
    gate.opened.set()
    with ThreadPoolExecutor(32) as pool:
        responses = list(pool.map(RawClient.read, clients))
    for client in clients:
        client.close()
    return responses


def test_a_thousand_clients_are_answered_by_one_request(origin: StartOrigin, engine: StartEngine) -> None:
    body = b"x" * 200_000
    gate = Gate(b"", answer(body, "Cache-Control: max-age=60"))
    running = engine(origin(gate))
    responses = ask_at_once(running, 1000, gate)
    assert {(one.status, len(one.body)) for one in responses} == {(200, len(body))}
    assert len(gate.requests) == 1
    assert sorted({how(one) for one in responses}) == ["fwd=uri-miss; collapsed", "fwd=uri-miss; stored"]


def test_who_waits_gets_content_while_it_comes(origin: StartOrigin, engine: StartEngine) -> None:
    gate = Gate(b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 10\r\n\r\n01234", b"56789")
    running = engine(origin(gate))
    with running.client() as one, running.client() as other:
        one.send(get("/page"))
        assert one.reader.until(b"01234").endswith(b"01234")
        other.send(get("/page"))
        assert other.reader.until(b"01234").endswith(b"01234"), "it joins a fetch whose content is on its way"
        gate.opened.set()
        assert one.reader.exactly(5) == other.reader.exactly(5) == b"56789"
    assert len(gate.requests) == 1


def test_who_asks_first_and_leaves_does_not_take_the_answer_from_the_others(
    origin: StartOrigin, engine: StartEngine
) -> None:
    gate = Gate(b"", answer(b"hello", "Cache-Control: max-age=60"))
    running = engine(origin(gate))
    with running.client() as other:
        with running.client() as first:
            first.send(get("/page"))
            wait_until(lambda: gate.requests, "the server was asked")
            other.send(get("/page"))
            wait_until(lambda: running.engine.requests == 2, "the other one asked")
        wait_until(lambda: running.engine.finished == 1, "the first one is gone")
        gate.opened.set()
        assert other.read().body == b"hello"
    assert len(gate.requests) == 1


def test_a_fetch_that_nobody_waits_for_any_more_is_given_up(origin: StartOrigin, engine: StartEngine) -> None:
    gate = Gate(b"", answer(b"hello"))
    running = engine(origin(gate))
    with running.client() as client:
        client.send(get("/page"))
        wait_until(lambda: gate.requests, "the server was asked")
    (endpoint,) = running.table.upstreams["app"].endpoints
    wait_until(lambda: (endpoint.active, endpoint.connections) == (0, 0), "the request was given up")
    assert not running.engine.fills
    gate.opened.set()


def test_what_is_private_is_for_the_first_and_the_others_ask_at_once(origin: StartOrigin, engine: StartEngine) -> None:
    gate = Gate(b"", answer(b"own", "Cache-Control: private", "Set-Cookie: id=1"))
    running = engine(origin(gate))
    responses = ask_at_once(running, 50, gate)
    assert {(one.status, one.body) for one in responses} == {(200, b"own")}
    assert len(gate.requests) == 50


def test_a_server_that_is_gone_answers_all_that_wait_with_one_failure(origin: StartOrigin, engine: StartEngine) -> None:
    opened = threading.Event()
    asked: list[bytes] = []

    def script(connection: OriginConnection) -> None:
        asked.append(connection.read_request())
        assert opened.wait(60)

    running = engine(origin(script), upstream="retry = { attempts = 1 }")
    gate = Gate(b"", b"")
    gate.opened = opened
    responses = ask_at_once(running, 50, gate)
    assert {one.status for one in responses} == {502}
    assert len(asked) == 1


def test_content_that_breaks_off_is_cut_for_all_and_not_stored(origin: StartOrigin, engine: StartEngine) -> None:
    def script(connection: OriginConnection) -> None:
        connection.read_request()
        if connection.index == 0:
            connection.send(b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 10\r\n\r\n01234")
        else:
            connection.send(answer(b"whole", "Cache-Control: max-age=60"))

    running = engine(origin(script))
    with running.client() as client, pytest.raises(ClosedEarly):
        client.ask(get("/page"))
    assert ask(running, get("/page"))[0].body == b"whole"
    wait_until(lambda: running.engine.requests == running.engine.finished, "every exchange has ended")


def test_waiting_for_one_variant_does_not_delay_another(origin: StartOrigin, engine: StartEngine) -> None:
    release = threading.Event()

    def script(connection: OriginConnection) -> None:
        while True:
            kind = connection.read_request().partition(b"X-Kind: ")[2][:1]
            if kind == b"a":
                assert release.wait(60)
            connection.send(answer(kind, "Cache-Control: max-age=60", "Vary: X-Kind"))

    running = engine(origin(script))
    ask(running, get("/page", "h", "X-Kind: b"))
    with running.client() as slow:
        slow.send(get("/page", "h", "X-Kind: a"))
        wait_until(lambda: running.engine.fills, "the slow one is being fetched")
        assert ask(running, get("/page", "h", "X-Kind: c"))[0].body == b"c"
        release.set()
        assert slow.read().body == b"a"


def test_what_outgrows_the_largest_object_goes_to_who_waits_and_is_not_stored(
    origin: StartOrigin, engine: StartEngine
) -> None:
    body = b"%x\r\n%b\r\n" % (65536, bytes(65536))
    server = origin(
        b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nTransfer-Encoding: chunked\r\n\r\n" + body * 64 + b"0\r\n\r\n"
    )
    running = engine(server, 'max_object = "1MiB"')
    first, second = ask(running, get("/large"), get("/large"))
    assert len(first.body) == len(second.body) == 64 * 65536
    assert len(server.requests) == 2


# ---- beside other features -------------------------------------------------------------------------------------------


def test_a_cached_answer_leaves_no_exchange_and_no_place_taken(origin: StartOrigin, engine: StartEngine) -> None:
    server = origin(answer(b"hello", "Cache-Control: max-age=60"))
    running = engine(server)
    ask(running, *[get(f"/{number % 7}") for number in range(100)])
    (endpoint,) = running.table.upstreams["app"].endpoints
    wait_until(lambda: running.engine.finished == 100, "every exchange has ended")
    assert running.engine.requests == 100
    assert (endpoint.active, endpoint.requests) == (0, 7)
    assert not running.engine.fills


def test_requests_for_the_cache_of_a_rewritten_route_go_to_the_rewritten_path(
    origin: StartOrigin, engine: StartEngine
) -> None:
    server = origin(answer(b"hello", "Cache-Control: max-age=60"))
    running = engine(server, route='path = "/shop/*"\nstrip_prefix = "/shop"')
    ask(running, get("/shop/item?q=1"), get("/shop/item?q=1"))
    assert [request.split()[1] for request in server.requests] == [b"/item?q=1"]
