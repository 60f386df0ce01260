"""What heads say of gRPC, what servers get for it, and what becomes of their answers' heads."""

from __future__ import annotations

import pytest

from edgewise.config import parse
from edgewise.contracts.plan import Plan, ResponsePlan
from edgewise.protocols.grpc import Kind
from edgewise.proxy.grpc_heads import without_timeout
from edgewise.proxy.plans import Plans, make_plan
from edgewise.router import build

TABLE = build(
    parse("""
[upstreams.app]
servers = ["127.0.0.1:1"]
protocol = "h2c"
[upstreams.old]
servers = ["127.0.0.1:1"]
[[routes]]
upstream = "app"
[[routes]]
host = "edited.test"
upstream = "app"
request_headers = { set = { X-User = "a" } }
[[routes]]
host = "old.test"
upstream = "old"
[[routes]]
host = "mixed.test"
split = { app = 1, old = 1 }
""")
)


def planned(*lines: str, host: str = "a", method: str = "POST") -> Plan:
    head = "\r\n".join([f"{method} /a.B/C HTTP/1.1", f"Host: {host}", *lines, "", ""])
    return make_plan(TABLE, head.encode(), b"http", trusted=False)


def forwarded(*lines: str, host: str = "a") -> list[str]:
    return planned("Content-Type: application/grpc", *lines, host=host).head.decode().split("\r\n")


def answered(plan: Plan, head: bytes) -> ResponsePlan:
    found: ResponsePlan = plan.responses.find(b"HTTP/1.1 200 OK\r\n" + head + b"\r\n")
    return found


@pytest.mark.parametrize(
    ("host", "content_type", "accept", "kind", "form", "answer_type"),
    [
        ("a", "application/grpc", "", Kind.GRPC, Kind.GRPC, b"application/grpc"),
        ("a", "application/grpc+json", "", Kind.GRPC, Kind.GRPC, b"application/grpc"),
        ("a", "application/grpc-web+proto", "", Kind.WEB, Kind.WEB, b"application/grpc-web+proto"),
        ("a", "application/grpc-web-text", "", Kind.WEB_TEXT, Kind.WEB_TEXT, b"application/grpc-web-text"),
        (
            "a", "application/grpc-web", "application/grpc-web-text",
            Kind.WEB, Kind.WEB_TEXT, b"application/grpc-web-text",
        ),
        ("old.test", "application/grpc-web", "", Kind.WEB, Kind.GRPC, b"application/grpc-web"),
        ("mixed.test", "application/grpc-web", "", Kind.WEB, Kind.GRPC, b"application/grpc-web"),
    ],
)  # fmt: skip
def test_the_content_type_says_how_a_call_is_to_be_treated(
    host: str, content_type: str, accept: str, kind: Kind, form: Kind, answer_type: bytes
) -> None:
    call = planned(f"Content-Type: {content_type}", *([f"Accept: {accept}"] if accept else []), host=host).grpc
    assert call is not None
    assert (call.kind, call.form, call.answer_type) == (kind, form, answer_type)


def test_other_requests_are_no_calls() -> None:
    assert planned("Content-Type: application/json").grpc is None
    assert planned("Content-Type: application/grpc", method="PUT").grpc is None
    assert planned().grpc is None


class TestMetadata:
    def test_names_with_underscores_pass_to_servers_of_http2_only(self) -> None:
        assert "a_b: 1" in forwarded("a_b: 1")
        assert "a_b: 1" not in forwarded("a_b: 1", host="old.test")
        assert "a_b: 1" not in forwarded("a_b: 1", host="mixed.test")

    @pytest.mark.parametrize("name", ["x_forwarded_for", "X_Forwarded_Proto", "x_real_ip", "content_length", "te_"])
    def test_none_passes_for_a_field_that_edgewise_writes(self, name: str) -> None:
        lines = forwarded(f"{name}: 6.6.6.6")
        assert (f"{name}: 6.6.6.6" in lines) == (name == "te_")

    def test_none_passes_for_a_field_that_the_route_or_the_client_sets(self) -> None:
        assert "x_user: root" not in forwarded("x_user: root", host="edited.test")
        assert "X-User: a" in forwarded("x_user: root", host="edited.test")
        assert "x_user: root" not in forwarded("x_user: root", "x-user: a")

    def test_the_deadline_is_not_among_them(self) -> None:
        assert not [line for line in forwarded("grpc-timeout: 1S") if "timeout" in line]

    def test_what_only_gRPC_Web_needs_stays_at_the_edge(self) -> None:
        lines = "Content-Type: application/grpc-web-text+proto", "X-Grpc-Web: 1", "Accept: a/b", "Content-Length: 8"
        sent = planned(*lines, "X-Mine: 1").head.decode().split("\r\n")
        assert {"Content-Type: application/grpc+proto", "Transfer-Encoding: chunked", "X-Mine: 1"} <= set(sent)
        assert not {"X-Grpc-Web: 1", "Accept: a/b", "Content-Length: 8", lines[0]} & set(sent)


class TestDeadlines:
    HEAD = b"POST /a HTTP/2.0\r\nHost: a\r\ncontent-type: application/grpc\r\ngrpc-timeout: %b\r\nx-a: 1\r\n\r\n"

    def test_heads_that_differ_in_it_alone_share_a_plan(self) -> None:
        plans = Plans(TABLE, scheme=b"http", trusted=False, http2=True)
        found = [plans.find_call(self.HEAD % value) for value in (b"1S", b"999m", b"998m", b"997m")]
        assert [timeout for _, timeout in found] == [b"1S", b"999m", b"998m", b"997m"]
        assert found[2][0] is found[3][0]
        assert plans.memo.misses == 2

    def test_what_is_no_call_keeps_the_field(self) -> None:
        plans = Plans(TABLE, scheme=b"http", trusted=False, http2=True)
        head = self.HEAD.replace(b"application/grpc", b"application/json") % b"1S"
        for _ in range(3):
            plan, timeout = plans.find_call(head)
            assert timeout is None
            assert b"\r\ngrpc-timeout: 1S\r\n" in plan.head

    def test_it_is_taken_out_wherever_it_is(self) -> None:
        assert without_timeout(b"POST / HTTP/2.0\r\ngrpc-timeout: 5m\r\n\r\n") == (b"POST / HTTP/2.0\r\n\r\n", b"5m")
        assert without_timeout(b"POST / HTTP/2.0\r\nx: grpc-timeout: 5m\r\n\r\n") is None
        assert without_timeout(b"GET / HTTP/2.0\r\ngrpc-timeout: 5m\r\n\r\n") is None


class TestAnswers:
    def test_one_without_messages_tells_its_status(self) -> None:
        head = b"content-type: application/grpc\r\ngrpc-status: 14\r\nContent-Length: 0\r\n"
        plan = answered(planned("Content-Type: application/grpc"), head)
        assert (plan.grpc_status, plan.gateway_error, plan.sendable) == (14, True, False)
        plain = answered(planned("Content-Type: application/json"), head)
        assert (plain.grpc_status, plain.gateway_error) == (None, False)

    @pytest.mark.parametrize("text", [False, True])
    def test_one_to_gRPC_Web_is_translated_where_it_is_gRPC(self, text: bool) -> None:
        web = b"application/grpc-web" + b"-text" * text
        request = planned(f"Content-Type: {web.decode()}")
        plan = answered(request, b"content-type: application/grpc\r\nTransfer-Encoding: chunked\r\n")
        assert b"\r\nContent-Type: %b+proto\r\n" % web in plan.head
        assert (plan.web, plan.chunk) == (Kind.WEB_TEXT if text else Kind.WEB, True)
        plan = answered(request, b"content-type: text/html\r\nContent-Length: 5\r\n")
        assert (plan.web, plan.body, plan.chunk) == (Kind.NONE, 5, False)
