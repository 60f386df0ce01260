"""The plan of a response head by its prototype says what the plan made from the head itself says."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from edgewise.config import parse
from edgewise.contracts.plan import ResponsePlan, Route
from edgewise.contracts.table import Limits
from edgewise.protocols.errors import ProtocolError
from edgewise.proxy.plans import Responses
from edgewise.router import build

UPSTREAM = '[upstreams.app]\nservers = ["127.0.0.1:9"]\nretry = { attempts = 2, on = ["connect", 503] }\n'
PLAIN = UPSTREAM + '[[routes]]\nupstream = "app"\n'
EDITED = PLAIN + 'response_headers = { set = { "X-Frame-Options" = "DENY" }, remove = ["Server"] }\n'
EDITS_OWN = PLAIN + 'response_headers = { remove = ["ETag"] }\n'
ROUTES = [build(parse(text)).routes[0] for text in (PLAIN, EDITED, EDITS_OWN)]

STATUSES = st.sampled_from(["200 OK", "200 OK", "200 OK", "404 ", "204 None", "304 x", "503 Late", "103 x"])
SOUND = st.sampled_from([
    "Server: nginx", "Content-Type: text/html", "content-type: text/css", "Connection: keep-alive", "X-Date: 0",
    "Cache-Control: no-store", "Keep-Alive: timeout=5", "X-Content-Length: 1", "DATE: 0",
])  # fmt: skip
FRAMING = st.sampled_from([["Content-Length"], ["Content-Length"], ["content-length"], []])
ODD = st.sampled_from([
    "Connection: close", "Connection: x-runtime", "Transfer-Encoding: chunked", "Dates", "broken line", "",
    "Content-Length : 4", "Content-Length: 5",
])  # fmt: skip
NAMES = st.lists(st.sampled_from(["date", "ETag", "Set-Cookie", "X-Runtime", "Age"]), max_size=2)
ODD_VALUES = st.sampled_from(
    ["0", "1", "017", "x y", " padded", "padded ", "", "1" * 19, "\x01", "\xff", "a, b", "A: 0"]
)


def often(usual: st.SearchStrategy[Any], odd: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Return one strategy, and now and then the other."""
    return st.sampled_from([usual] * 19 + [odd]).flatmap(lambda chosen: chosen)


VALUES = often(st.integers(2, 10**6).map(str), ODD_VALUES)
SEPARATORS = often(st.just(": "), st.sampled_from([":", " : ", ":\t"]))


@st.composite
def families(draw: st.DrawFn) -> list[bytes]:
    """Return heads that differ in the values of some lines."""
    lines = [*draw(st.lists(often(SOUND, ODD), max_size=3))]
    names = [*draw(often(st.just(["Date"]), st.just([]))), *draw(FRAMING), *draw(NAMES)]
    places = [draw(st.integers(0, len(lines))) for _ in names]
    status = draw(STATUSES)
    heads = []
    for _ in range(8):
        whole = list(lines)
        for name, place in zip(names, places, strict=True):
            whole.insert(place, f"{name}{draw(SEPARATORS)}{draw(VALUES)}")
        heads.append("".join(f"{line}\r\n" for line in [f"HTTP/1.1 {status}", *whole, ""]).encode("latin-1"))
    return heads


def said(responses: Responses, head: bytes) -> Any:
    """Return all that a plan says but the order of fields with different names."""
    try:
        plan = responses.find(head)
    except ProtocolError as error:
        return error.status
    start, _, lines = plan.head.partition(b"\r\n")
    return start, sorted(lines.split(b"\r\n")), decisions(plan)


def decisions(plan: ResponsePlan) -> tuple[Any, ...]:
    same = (plan.status, plan.body, plan.chunk, plan.close, plan.keep_alive, plan.accel, plan.grpc_status, plan.web)
    return (*same, plan.dateless, plan.gateway_error, plan.sendable)


def fresh(route: Route, head_only: bool, close: bool, minor: int, entries: int = 4096) -> Responses:
    return Responses(route, head_only, close, minor, Limits(memo_entries=entries))


@settings(deadline=None, max_examples=300)
@given(families(), st.sampled_from(ROUTES), st.booleans(), st.booleans(), st.integers(0, 2))
def test_a_plan_by_prototype_is_the_plan_of_the_head(
    heads: list[bytes], route: Route, head_only: bool, close: bool, minor: int
) -> None:
    remembering = fresh(route, head_only, close, minor)
    for head in heads:
        assert said(remembering, head) == said(fresh(route, head_only, close, minor, entries=0), head)


def test_heads_that_differ_in_their_own_lines_only_are_parsed_no_more_than_three_times() -> None:
    responses = fresh(ROUTES[0], False, False, 1)
    heads = [
        b"HTTP/1.1 200 OK\r\nServer: a\r\nDate: %d\r\nETag: %d\r\nContent-Length: %d\r\n\r\n" % (number, number, number)
        for number in range(2, 8)
    ]
    plans = [responses.find(head) for head in heads]
    assert plans[4].response is plans[5].response is plans[3].response
    assert plans[5].head == b"HTTP/1.1 200 OK\r\nServer: a\r\nDate: 7\r\nETag: 7\r\nContent-Length: 7\r\n\r\n"
    assert plans[5].body == 7
