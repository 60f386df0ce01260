"""The most specific route answers; `match` and the plain form behind `explain` always agree."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgewise.config.schema import Route
from edgewise.http.head import Field, RequestHead, plain_head
from edgewise.router.match import Matcher, NoMatch, Verdict


def route(**keys: Any) -> Route:
    return Route(upstream="app", **keys)


def head(
    host: bytes = b"shop.example.com",
    path: bytes = b"/",
    method: bytes = b"GET",
    query: bytes | None = None,
    fields: dict[bytes, bytes] | None = None,
) -> RequestHead:
    lines = tuple(Field(name, value, b"%b: %b\r\n" % (name, value)) for name, value in (fields or {}).items())
    return plain_head(method, path, query, host, lines)


def match(matcher: Matcher, request: RequestHead) -> tuple[int, dict[str, bytes]] | NoMatch:
    return matcher.match(request.host, request.path, request.method, request.query, request)


def why(matcher: Matcher, request: RequestHead) -> list[Verdict]:
    return matcher.why(request.host, request.path, request.method, request.query, request)


def answering(routes: list[Route], **request: Any) -> int | None:
    found = match(Matcher(routes), head(**request))
    return None if isinstance(found, NoMatch) else found[0]


@pytest.mark.parametrize(
    ("specific", "general"),
    [
        ({"host": "shop.example.com"}, {"host": "*.example.com", "path": "/a/b"}),
        ({"host": "*.example.com"}, {"path": "/a/b"}),
        ({"host": "*.example.com"}, {"host": "*.com", "path": "/a/b"}),
        ({"path": "/a/b"}, {"path": "/a/{x}", "method": "GET"}),
        ({"path": "/a/{x}"}, {"path": "/{y}/{x}", "method": "GET"}),
        ({"path": "/{y}/{x}"}, {"path": "/a/*", "method": "GET"}),
        ({"path": "/a/*"}, {"path": "/*", "method": "GET"}),
        ({"method": "GET"}, {"headers": {"x-beta": "1"}}),
        ({"headers": {"x-beta": "1"}}, {"query": {"v": "2"}}),
        ({"headers": {"x-beta": "*", "accept": "*"}}, {"headers": {"x-beta": "1"}, "query": {"v": "2"}}),
        ({"query": {"v": "2"}}, {}),
        ({"name": "first"}, {"name": "second"}),
    ],
)
def test_the_more_specific_route_answers(specific: dict[str, Any], general: dict[str, Any]) -> None:
    request = {"path": b"/a/b", "query": b"v=2", "fields": {b"x-beta": b"1", b"accept": b"*/*"}}
    assert answering([route(**specific), route(**general)], **request) == 0
    if "name" not in specific:
        assert answering([route(**general), route(**specific)], **request) == 1
    assert answering([route(**general)], **request) == 0


def test_a_host_whose_own_routes_do_not_match_falls_back_to_wildcards_and_then_to_any_host() -> None:
    routes = [route(host="shop.example.com", path="/a"), route(host="*.example.com", path="/b"), route(path="/c")]
    assert [answering(routes, path=path) for path in (b"/a", b"/b", b"/c", b"/d")] == [0, 1, 2, None]


def test_one_of_several_hosts_and_paths_is_enough() -> None:
    routes = [route(host=["a.example", "*.b.example"], path=["/x", "/y/*"])]
    assert answering(routes, host=b"a.example", path=b"/y/z") == 0
    assert answering(routes, host=b"c.b.example", path=b"/x") == 0
    assert answering(routes, host=b"b.example", path=b"/x") is None


def test_a_request_without_host_reaches_only_routes_for_any_host() -> None:
    assert answering([route(host="a.example"), route()], host=b"") == 1


def test_parameters_come_back_as_sent() -> None:
    routes = [route(path="/users/{id}/files/{file*}")]
    found = match(Matcher(routes), head(path=b"/users/a%20b/files/c/d"))
    assert found == (0, {"id": b"a%20b", "file": b"c/d"})


def test_parameters_of_two_requests_are_separate_objects() -> None:
    matcher = Matcher([route(path="/a")])
    first, second = match(matcher, head(path=b"/a")), match(matcher, head(path=b"/a"))
    assert not isinstance(first, NoMatch)
    assert not isinstance(second, NoMatch)
    assert first[1] is not second[1]


def test_no_route_is_404() -> None:
    assert match(Matcher([]), head()) == NoMatch(404)
    assert match(Matcher([route(path="/a", method="POST")]), head(path=b"/b")) == NoMatch(404)


def test_another_method_is_405_with_every_method_that_would_do() -> None:
    routes = [
        route(path="/a", method=["PUT", "GET"]),
        route(path="/*", method="DELETE"),
        route(path="/b", method="POST"),
    ]
    assert match(Matcher(routes), head(path=b"/a", method=b"PATCH")) == NoMatch(
        405, (b"DELETE", b"GET", b"HEAD", b"PUT")
    )


def test_a_less_specific_route_for_the_method_goes_before_405() -> None:
    assert answering([route(path="/a", method="POST"), route()], path=b"/a") == 1


def test_routes_for_get_answer_head_too() -> None:
    routes = [route(method="GET")]
    assert answering(routes, method=b"HEAD") == 0
    assert answering(routes, method=b"get") is None


@pytest.mark.parametrize(
    ("query", "matches"),
    [
        (b"v=2", True),
        (b"a=1&v=2", True),
        (b"v=1&v=2", True),
        (b"%76=%32", True),
        (b"v=2%20", False),
        (b"v", False),
        (b"V=2", False),
        (b"", False),
        (None, False),
    ],
)
def test_query_conditions_compare_decoded_values(query: bytes | None, matches: bool) -> None:
    assert (answering([route(query={"v": "2"})], query=query) == 0) is matches


def test_a_plus_in_a_query_is_a_space() -> None:
    assert answering([route(query={"q": "a b"})], query=b"q=a+b") == 0


def test_a_star_asks_only_for_presence() -> None:
    routes = [route(headers={"X-Beta": "*"}, query={"v": "*"})]
    assert answering(routes, query=b"v", fields={b"x-beta": b""}) == 0
    assert answering(routes, query=b"v") is None


def test_header_conditions_hold_when_any_line_has_the_value() -> None:
    lines = (Field(b"x-beta", b"0", b""), Field(b"x-beta", b"1", b""))
    request = plain_head(host=b"shop.example.com", fields=lines)
    assert match(Matcher([route(headers={"x-beta": "1"})]), request) == (0, {"rest": b""})


def test_internal_routes_answer_only_the_internal_matcher() -> None:
    routes = [route(path="/protected/*", internal=True), route()]
    request = head(path=b"/protected/file")
    assert match(Matcher(routes), request) == (1, {"rest": b"protected/file"})
    assert match(Matcher(routes, internal=True), request) == (0, {"rest": b"file"})
    assert why(Matcher(routes), request)[0].reason == "internal: reached only by X-Accel-Redirect"


def test_why_gives_each_candidate_its_reason_most_specific_first() -> None:
    routes = [
        route(),
        route(host="api.example.com"),
        route(path="/cart", method="POST"),
        route(path="/cart", method="GET", headers={"x-beta": "1"}),
        route(path="/cart", query={"v": "*"}),
        route(path="/checkout"),
    ]
    verdicts = why(Matcher(routes), head(path=b"/cart", fields={b"x-beta": b"0"}))
    assert [(verdict.route, verdict.matched, verdict.reason) for verdict in verdicts] == [
        (1, False, "host is shop.example.com, wanted api.example.com"),
        (3, False, "header x-beta is 0, wanted 1"),
        (2, False, "method is GET, wanted POST"),
        (4, False, "query parameter v is absent, wanted any value"),
        (5, False, "path is /cart, wanted /checkout"),
        (0, True, "matches"),
    ]


def test_why_marks_what_matches_too() -> None:
    verdicts = why(Matcher([route(), route(path="/a")]), head(path=b"/a"))
    assert [verdict.matched for verdict in verdicts] == [True, False]
    assert verdicts[1].reason == "matches too, but is less specific or later in the file"


def test_reasons_cannot_carry_control_characters_to_a_terminal() -> None:
    verdicts = why(Matcher([route(headers={"x": "1"})]), head(fields={b"x": b"\x1b[31m\xff\n"}))
    assert verdicts[0].reason == "header x is \\x1b[31m\\xff\\n, wanted 1"


def test_a_path_of_many_slashes_looks_up_no_more_than_the_longest_pattern() -> None:
    matcher = Matcher([route(path="/a/b/c/*"), route()])
    assert match(matcher, head(path=b"/" * 100_000))[0] == 1  # type: ignore[index]


hosts = st.sampled_from(["a.example", "b.a.example", "*.example", "*.a.example", "c.b.a.example"])
paths = st.sampled_from(
    ["/", "/a", "/a/*", "/a/{x}", "/{x}/b", "/{x}/{y}", "/a/b", "/a/b/*", "/{x}/*", "/a/{x}/*", "/*"]
)
routes = st.builds(
    lambda host, path, method, headers, query, internal: route(
        host=host, path=path, method=method, headers=headers, query=query, internal=internal
    ),
    st.none() | hosts | st.lists(hosts, min_size=1, max_size=2),
    paths | st.lists(paths, min_size=1, max_size=3),
    st.none() | st.sampled_from(["GET", "POST", ["PUT", "POST"]]),
    st.sampled_from([{}, {"x": "1"}, {"x": "*"}]),
    st.sampled_from([{}, {"v": "1"}, {"v": "*"}]),
    st.booleans(),
)
requests = st.builds(
    head,
    st.sampled_from([b"", b"a.example", b"b.a.example", b"z.b.a.example", b"example", b"other"]),
    st.sampled_from([b"/", b"/a", b"/a/", b"/a/b", b"/a/c", b"/b/b", b"/a/b/c", b"/z/y/x", b"//", b"*"]),
    st.sampled_from([b"GET", b"HEAD", b"POST", b"PUT"]),
    st.sampled_from([None, b"v=1", b"v=2"]),
    st.sampled_from([{}, {b"x": b"1"}, {b"x": b"2"}]),
)


@given(st.lists(routes, max_size=12), requests, st.booleans())
def test_match_and_why_agree(configured: list[Route], request_head: RequestHead, internal: bool) -> None:
    matcher = Matcher(configured, internal=internal)
    found = match(matcher, request_head)
    verdicts = why(matcher, request_head)
    expected = next((verdict.route for verdict in verdicts if verdict.matched), None)
    assert (None if isinstance(found, NoMatch) else found[0]) == expected
    if isinstance(found, NoMatch):
        assert (found.status == 405) is any(verdict.reason.startswith("method is") for verdict in verdicts)
