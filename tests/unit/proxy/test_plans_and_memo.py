"""A plan that comes out of the memo is the plan that would be made fresh, and both forward exactly the same bytes."""

from __future__ import annotations

import gc
import tracemalloc
from copy import copy
from inspect import isdatadescriptor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import edgewise
from edgewise.config import parse
from edgewise.contracts.plan import Plan, ResponsePlan, Route
from edgewise.contracts.table import Limits, Table
from edgewise.protocols import http1_fields
from edgewise.protocols.errors import ProtocolError
from edgewise.protocols.http1 import parse_response_head
from edgewise.proxy.plans import Plans, Responses, make_plan, make_response_plan, request_bytes
from edgewise.router import build

TABLE: Table = build(
    parse("""
[upstreams.app]
servers = ["127.0.0.1:1"]
[upstreams.breaking]
servers = ["127.0.0.1:1"]
breaker = { max_active = 5 }
[[routes]]
upstream = "app"
[[routes]]
path = "/items/{id}"
upstream = "breaking"
rewrite = "/v2/{id}"
preserve_host = false
request_headers = { set = { X-Set = "1" }, remove = ["X-Gone"], add = { Accept = "x/y" } }
[[routes]]
path = "/old/*"
redirect = { to = "/new{path}" }
[[routes]]
method = ["POST"]
path = "/posts"
upstream = "app"
""")
)
NAMES = (
    "Accept", "Cookie", "X-Gone", "X_Under", "Via", "traceparent", "tracestate", "X-Forwarded-For", "Expect",
    "X-Forwarded-Proto", "X-Forwarded-Host", "Forwarded", "Connection", "Upgrade", "TE", "Content-Length", "Proxy",
    "Transfer-Encoding", "X-Hop", "Authorization", "X-API-Key",
)  # fmt: skip
VALUES = (
    "", "a", "chunked", "0", "5", "close", "keep-alive", "upgrade, x-hop", "x-hop", "websocket", "100-continue",
    "1.2.3.4", "https", "ftp", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "00-bad", "1.1 other", "é",
)  # fmt: skip
fields = st.lists(st.tuples(st.sampled_from(NAMES), st.sampled_from(VALUES)), max_size=8)
heads = st.builds(
    lambda method, target, minor, host, lines: (
        f"{method} {target} HTTP/1.{minor}\r\n{host}" + "".join(f"{n}: {v}\r\n" for n, v in lines) + "\r\n"
    ).encode("latin-1"),
    st.sampled_from(["GET", "HEAD", "POST", "PUT", "OPTIONS", "get"]),
    st.sampled_from(["/", "/items/7?a=b", "/old/x?y", "/posts", "/a/../items/%37", "/a%2fb", "*", "http://a.test/x"]),
    st.sampled_from([0, 1, 1, 1]),
    st.sampled_from(["Host: a.test\r\n", "Host: a.test\r\n", "Host: A.test:80\r\n", "", "Host: b c\r\n"]),
    fields,
)


def seen(plan: Plan | ResponsePlan | Route) -> dict[str, Any]:
    """Return what a plan says, as values."""
    names = [name for name, member in vars(type(plan)).items() if isdatadescriptor(member)]  # as compiled: no __slots__
    return {name: getattr(plan, name) for name in names if name not in ("__dict__", "prototype")}


def outcome(find: Any, head: bytes) -> Any:
    """Return what a plan says, or with which status the head is refused."""
    try:
        return seen(find(head))
    except ProtocolError as error:
        return error.status, error.detail


@given(heads, st.booleans(), st.sampled_from([b"http", b"https"]))
@settings(suppress_health_check=[HealthCheck.too_slow])
def test_a_plan_through_the_memo_equals_a_plan_made_fresh(head: bytes, trusted: bool, scheme: bytes) -> None:
    memoised = Plans(TABLE, scheme=scheme, trusted=trusted)
    fresh = outcome(lambda head: make_plan(TABLE, head, scheme, trusted=trusted), head)
    assert [outcome(memoised.find, head) for _ in range(3)] == [fresh] * 3
    if isinstance(fresh, dict):
        assert memoised.memo.get(head) is not None


@given(heads)
def test_what_is_refused_is_never_remembered(head: bytes) -> None:
    plans = Plans(TABLE, scheme=b"http", trusted=False)
    for _ in range(3):
        if isinstance(outcome(plans.find, head), tuple):
            assert len(plans.memo) == 0


targets = st.sampled_from(
    ["/", "/items/7?a=b", "/old/x?y", "/posts", "/a/../items/%37", "/items/8", "*", "http://a.test/x"]
)
secrets = st.sampled_from(
    ["", "Cookie: a=b\r\n", "Cookie:a \r\n", "Cookie: \xe9\r\n", "Authorization: x\r\n", "X-API-Key: x\r\n"]
)
lines = fields.map(lambda fields: "".join(f"{n}: {v}\r\n" for n, v in fields))


@given(st.sampled_from(["GET", "HEAD", "POST"]), st.lists(st.tuples(targets, secrets), min_size=3, max_size=6), lines)
def test_a_plan_by_a_prototype_equals_a_plan_made_fresh(
    method: str, differing: list[tuple[str, str]], shared: str
) -> None:
    plans = Plans(TABLE, scheme=b"http", trusted=False)
    for target, secret in differing:
        head = f"{method} {target} HTTP/1.1\r\nHost: a.test\r\n{secret}{shared}\r\n".encode("latin-1")
        fresh = outcome(lambda head: make_plan(TABLE, head, b"http", trusted=False), head)
        assert outcome(plans.find, head) == fresh


@given(heads)
def test_a_copy_says_what_its_plan_says(head: bytes) -> None:
    try:
        plan = make_plan(TABLE, head, b"http", trusted=False)
    except ProtocolError:
        return
    assert seen(copy(plan)) == seen(plan)
    assert seen(copy(plan.route)) == seen(plan.route)


def test_heads_that_differ_in_target_and_cookie_share_a_prototype() -> None:
    plans = Plans(TABLE, scheme=b"http", trusted=False)
    head = b"GET /%d HTTP/1.1\r\nHost: a\r\nCookie: %d\r\nAccept: */*\r\n\r\n"
    first, second = (plans.find(head % (number, number)) for number in range(2))
    assert first.prototype is second.prototype
    assert first.prototype is not None
    assert b"Cookie: 1\r\nAccept" in second.head


@given(heads)
def test_lines_that_pass_on_as_they_are_are_the_lines_picked_one_by_one(head: bytes) -> None:
    try:
        plan = make_plan(TABLE, head, b"http", trusted=False)
    except ProtocolError:
        return
    if plan.prototype is not None:
        request, route = plan.request, plan.route
        target = request.target if route.rewrite is None else plan.head.split(b" ")[1]
        assert request_bytes(plan, request, target, trusted=False) == plan.head


@given(heads)
def test_what_goes_upstream_is_framed_once_and_speaks_for_no_one_else(head: bytes) -> None:
    try:
        plan = make_plan(TABLE, head, b"http", trusted=False)
    except ProtocolError:
        return
    names = [line.partition(b":")[0].lower() for line in plan.head.split(b"\r\n")[1:]]
    for name in (b"host", b"content-length", b"transfer-encoding", b"connection", b"upgrade", b"x-forwarded-host"):
        assert names.count(name) <= 1
    assert not {b"content-length", b"transfer-encoding"} <= set(names)
    assert not {b"x-forwarded-for", b"forwarded", b"proxy", b"te"} & set(names)
    assert not any(b"_" in name for name in names)


response_heads = st.builds(
    lambda status, lines: (
        f"HTTP/1.1 {status} Reason\r\n" + "".join(f"{name}: {value}\r\n" for name, value in lines) + "\r\n"
    ).encode("latin-1"),
    st.sampled_from([100, 101, 103, 200, 204, 206, 304, 404, 502, 503]),
    st.lists(
        st.tuples(
            st.sampled_from(
                ["Content-Length", "Transfer-Encoding", "Connection", "Date", "Upgrade", "X-Hop", "Set-Cookie", "Via"]
            ),
            st.sampled_from(["0", "5", "chunked", "close", "x-hop", "upgrade", "websocket", "a"]),
        ),
        max_size=6,
    ),
)


@given(response_heads, st.booleans(), st.booleans(), st.sampled_from([0, 1]))
def test_a_response_plan_through_the_memo_equals_one_made_fresh(
    head: bytes, head_only: bool, close: bool, minor: int
) -> None:
    route: Route = TABLE.routes[0]

    def fresh(head: bytes) -> ResponsePlan:
        return make_response_plan(route, parse_response_head(head), head_only=head_only, close=close, minor=minor)

    memoised = Responses(route, head_only, close, minor, Limits())
    expected = outcome(fresh, head)
    assert [outcome(memoised.find, head) for _ in range(3)] == [expected] * 3
    if isinstance(expected, dict):
        lines = expected["head"].lower()
        assert lines.count(b"\r\ncontent-length:") + lines.count(b"\r\ntransfer-encoding:") <= 1
        assert b"x-hop: " not in lines or b"connection: x-hop" not in head.lower()


def test_a_trusted_peers_word_is_part_of_the_plan_and_a_strangers_is_not() -> None:
    head = b"GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 1.2.3.4\r\nX-Forwarded-Proto: https\r\n\r\n"
    trusted, stranger = (make_plan(TABLE, head, b"http", trusted=trusted) for trusted in (True, False))
    assert (trusted.forwarded_for, trusted.forwarded_proto, trusted.simple) == (b"1.2.3.4", True, False)
    assert (stranger.forwarded_for, stranger.forwarded_proto, stranger.simple) == (None, False, True)


def test_a_new_generation_forgets_every_plan() -> None:
    plans = Plans(TABLE, scheme=b"http", trusted=False)
    head = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
    first = [plans.find(head) for _ in range(3)]
    plans.load(TABLE)
    assert plans.find(head) is not first[2]
    assert first[2] is first[1]


def held() -> int:
    """Return the bytes that are traced, of edgewise and of this test alone: threads of earlier tests may go on."""
    places = [tracemalloc.Filter(True, f"{Path(edgewise.__file__).parent}/*"), tracemalloc.Filter(True, __file__)]
    return sum(trace.size for trace in tracemalloc.take_snapshot().filter_traces(places).traces)


@pytest.mark.parametrize("padding", [0, 3500])
def test_a_flood_of_heads_that_come_twice_costs_no_more_memory_than_its_bound(padding: int) -> None:
    bound = 1 << 20
    table = build(parse('[server]\nmemo_bytes = 1048576\n[upstreams.app]\nservers = ["127.0.0.1:1"]\n'))
    plans = Plans(table, scheme=b"http", trusted=False)

    def flood(numbers: range) -> None:
        for number in numbers:
            lines = b"".join(b"X-%d: %d%s\r\n" % (n, number, b"y" * (padding // 10)) for n in range(10))
            head = b"GET /%d HTTP/1.1\r\nHost: a\r\nCookie: %d\r\n%s\r\n" % (number, number, lines)
            plans.find(head)
            plans.find(head)

    flood(range(2000))
    plans.memo.clear()
    gc.collect()
    tracemalloc.start()
    before = held()
    flood(range(2000, 4000))
    for codec_memo in (http1_fields.LINES, http1_fields.FIELDS):  # bounded apart, and shared by the process
        codec_memo.forget()
    gc.collect()  # whenever the collector was due is no matter of the memo's
    used = held() - before
    tracemalloc.stop()
    assert plans.memo.size <= bound
    assert used <= 1.25 * bound
