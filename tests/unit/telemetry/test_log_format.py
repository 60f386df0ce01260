from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgewise.contracts.endpoint import Endpoint, Upstream
from edgewise.contracts.exchange import Exchange
from edgewise.contracts.identity import Identity
from edgewise.contracts.plan import Route
from edgewise.http.masking import Masking
from edgewise.telemetry.access_log import AccessLog
from edgewise.telemetry.log_format import Render, combined_renderer, json_renderer, json_string

Make = Callable[..., Exchange]
NOON = 1_700_000_000.5 - 100.0
"""Wall clock minus monotonic clock, so that exchanges that started at 100.0 began at 2023-11-14T22:13:20.5Z."""


class NoPolicy:
    def update(self, endpoints: tuple[Endpoint, ...]) -> None:
        """Nothing is ever picked."""

    def pick(self, exchange: Exchange) -> Endpoint | None:
        return None


def line(exchange: Exchange, render: Render | None = None) -> str:
    log = AccessLog("/dev/null")
    log.done(exchange)
    rendered = (render or json_renderer())(log._entries, NOON)
    assert len(rendered) == 1
    return rendered[0]


def logged(exchange: Exchange) -> dict[str, Any]:
    parsed: dict[str, Any] = json.loads(line(exchange))
    return parsed


def test_a_json_line_tells_the_whole_story_in_a_fixed_order(make_exchange: Make) -> None:
    endpoint = Endpoint("shop/127.0.0.1:9001", ("127.0.0.1", 9001))
    exchange = make_exchange(
        head={
            "method": b"POST",
            "path": b"/items/7",
            "query": b"a=1&b=%20",
            "fields": ((b"user-agent", b'Mozilla "5"'), (b"referer", b"https://example.com/")),
        },
        group=Upstream("shop", [endpoint], NoPolicy()),
        endpoint=endpoint,
        status=201,
        attempts=2,
        request_bytes=11,
        response_bytes=345,
        connected=100.001,
        dispatched=100.0025,
        first_byte=100.0035,
    )
    assert list(logged(exchange).items()) == [
        ("ts", "2023-11-14T22:13:20.500Z"),
        ("method", "POST"),
        ("path", "/items/7"),
        ("query", "a=1&b=%20"),
        ("host", "shop.example.com"),
        ("protocol", "HTTP/1.1"),
        ("route", "items"),
        ("user_agent", 'Mozilla "5"'),
        ("referer", "https://example.com/"),
        ("status", 201),
        ("bytes_in", 11),
        ("upstream", "shop"),
        ("server", "127.0.0.1:9001"),
        ("attempts", 2),
        ("end", ""),
        ("failure", ""),
        ("bytes_out", 345),
        ("client", "192.0.2.7"),
        ("request_id", "0123456789abcdef" * 2),
        ("trace_id", "0123456789abcdef" * 2),
        ("t", {"queue": pytest.approx(1, abs=0.002), "connect": pytest.approx(1.5, abs=0.002),
               "first": pytest.approx(1, abs=0.002), "total": pytest.approx(4, abs=0.002)}),
    ]  # fmt: skip


def test_times_have_three_decimals(make_exchange: Make) -> None:
    assert '"t":{"queue":0.000,"connect":0.000,"first":0.000,"total":2000.062}' in line(
        make_exchange(started=100.0, ended=102.0000625)
    )


def test_a_reused_connection_took_no_time_to_connect(make_exchange: Make) -> None:
    times = logged(make_exchange(dispatched=100.002, first_byte=100.003))["t"]
    assert times["connect"] == 0
    assert times["queue"] == pytest.approx(2, abs=0.002)


def test_a_connection_that_never_came_about_shows_how_long_it_was_tried(make_exchange: Make) -> None:
    times = logged(make_exchange(connected=100.001, ended=102.001, status=504, end="upstream-connect"))["t"]
    assert times["queue"] == pytest.approx(1, abs=0.002)
    assert times["connect"] == pytest.approx(2000, abs=0.002)
    assert times["first"] == 0


def test_the_trace_id_is_the_clients_where_it_sent_one(make_exchange: Make) -> None:
    entry = logged(make_exchange(trace=("ab" * 16, "01")))
    assert entry["trace_id"] == "ab" * 16
    assert entry["request_id"] == "0123456789abcdef" * 2


def test_behind_a_trusted_proxy_the_client_is_whom_it_names(
    make_exchange: Make, make_client: Callable[..., Any]
) -> None:
    client = make_client(forwarded_ip="203.0.113.9")
    assert logged(make_exchange(client=client, forwarded_for=b"203.0.113.9"))["client"] == "203.0.113.9"
    assert logged(make_exchange(client=client))["client"] == "192.0.2.7"


def test_scalars_of_the_filters_context_are_logged_and_nothing_else(make_exchange: Make) -> None:
    context = {"user": "ann\n", "age": 7, "ratio": 0.5, "secret": object(), "list": [1]}
    assert logged(make_exchange(context=context))["context"] == {"user": "ann\n", "age": 7, "ratio": 0.5}
    assert "context" not in logged(make_exchange(context={}))


def test_lines_say_who_asked(make_exchange: Make) -> None:
    entry = logged(make_exchange(identity=Identity('al"ice\n', "jwt", consumer="acme")))
    assert (entry["user"], entry["consumer"], entry["auth"]) == ('al"ice\n', "acme", "jwt")
    assert "consumer" not in logged(make_exchange(identity=Identity("bob", "basic")))
    assert not {"user", "consumer", "auth"} & logged(make_exchange()).keys()


def test_the_user_of_a_combined_line_is_one_word(make_exchange: Make) -> None:
    render = combined_renderer()
    for name, word in (("alice", "alice"), ('a b"c\n', "a\\x20b\\x22c\\x0A"), ("é", "\\xC3\\xA9"), ("", "-")):
        assert line(make_exchange(identity=Identity(name, "jwt")), render).startswith(f"192.0.2.7 - {word} [14/Nov/")


def test_credentials_are_never_logged(make_exchange: Make) -> None:
    fields = ((b"authorization", b"Bearer tell-no-one"), (b"cookie", b"sid=tell-no-one"))
    for render in (json_renderer(), combined_renderer()):
        assert "tell-no-one" not in line(make_exchange(head={"fields": fields}), render)


def test_the_first_of_several_user_agents_counts(make_exchange: Make) -> None:
    fields = ((b"user-agent", b"first"), (b"user-agent", b"second"))
    assert logged(make_exchange(head={"fields": fields}))["user_agent"] == "first"


def test_a_plan_is_rendered_once(make_exchange: Make) -> None:
    exchange = make_exchange()
    render = json_renderer()
    first = line(exchange, render)
    fragment = exchange.plan.log
    assert fragment is not None
    assert fragment in first
    assert line(exchange, render) == first
    assert exchange.plan.log is fragment


def test_a_combined_line_is_what_log_tools_read(make_exchange: Make) -> None:
    exchange = make_exchange(
        head={"query": b"q=100%25", "fields": ((b"user-agent", b"curl/8 100%"),)}, status=404, response_bytes=12
    )
    expected = '192.0.2.7 - - [14/Nov/2023:22:13:20 +0000] "GET /items?q=100%25 HTTP/1.1" 404 12 "-" "curl/8 100%"\n'
    render = combined_renderer()
    assert line(exchange, render) == expected
    assert line(exchange, render) == expected


def test_combined_lines_escape_as_nginx_does(make_exchange: Make) -> None:
    rendered = line(make_exchange(head={"fields": ((b"user-agent", b'a"b\\c\xff\t'),)}), combined_renderer())
    assert rendered.endswith('"-" "a\\x22b\\x5Cc\\xFF\\x09"\n')


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"plain /path?x=1", '"plain /path?x=1"'),
        (b'"\\', '"\\"\\\\"'),
        (b"\r\n\x00\x7f", '"\\r\\n\\u0000\\u007f"'),
        ("é".encode(), '"\\u00e9"'),
        (b"\xe9", '"\\u00e9"'),
        ("\u2028", '"\\u2028"'),
        ("", '""'),
    ],
)
def test_json_strings_are_printable_ascii(value: str | bytes, expected: str) -> None:
    assert json_string(value) == expected


@given(st.binary(max_size=40), st.binary(max_size=40), st.text(max_size=20), st.sampled_from(["json", "combined"]))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200)
def test_whatever_the_peers_send_a_line_is_one_line_of_printable_ascii(
    make_exchange: Make, value: bytes, method: bytes, name: str, format: str
) -> None:
    exchange = make_exchange(
        route=Route(name, 0),
        head={
            "method": method,
            "path": value,
            "query": value,
            "host": value,
            "fields": ((b"user-agent", value), (b"referer", value)),
        },
        failure=name,
        end=name,
        context={name: name},
    )
    rendered = line(exchange, json_renderer() if format == "json" else combined_renderer())
    assert rendered.endswith("\n")
    assert rendered[:-1].isascii()
    assert rendered[:-1].isprintable()
    if format == "json":
        assert json.loads(rendered)["failure"] == name
    else:
        assert rendered.count('"') == 6


SECRET_HEAD = {
    "path": b"/items",
    "query": b"a=1&token=s3cret&b=%20",
    "fields": ((b"referer", b"https://me:s3cret@example.com/?key=s3cret&c=2"),),
}


def test_secrets_by_name_are_masked_in_query_and_referer(make_exchange: Make) -> None:
    found = logged(make_exchange(head=SECRET_HEAD))
    assert found["query"] == "a=1&token=***&b=%20"
    assert found["referer"] == "https://***@example.com/?key=***&c=2"
    combined = line(make_exchange(head=SECRET_HEAD), combined_renderer())
    assert "/items?a=1&token=***&b=%20 HTTP" in combined
    assert "s3cret" not in combined


def test_what_is_a_secret_is_configured(make_exchange: Make) -> None:
    render = json_renderer(Masking(["a"], ["token"]))
    assert json.loads(line(make_exchange(head=SECRET_HEAD), render))["query"] == "a=***&token=s3cret&b=%20"


def test_secrets_are_masked_in_failures_and_in_what_filters_say(make_exchange: Make) -> None:
    context = {"X-API-Key": "s3cret", "authorization": "s3cret", "user": "ada"}
    found = logged(make_exchange(failure="no answer of redis://:s3cret@127.0.0.1/0", context=context))
    assert found["failure"] == "no answer of redis://***@127.0.0.1/0"
    assert found["context"] == {"X-API-Key": "***", "authorization": "***", "user": "ada"}
