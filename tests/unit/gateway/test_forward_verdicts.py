"""Forward authentication by itself: what verdicts depend on, how many are kept and for how long."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from edgewise.config import ConfigError, parse
from edgewise.contracts.identity import Identity
from edgewise.contracts.policies import Denial, Fetched, FetchError
from edgewise.gateway import forward
from edgewise.gateway.forward import ForwardAuth, Terms, Verdicts
from edgewise.protocols.http1 import parse_request_head

TERMS = Terms(
    target=b"/check",
    sent=None,
    forwarded=(b"X-Role",),
    answered=(),
    user=b"x-user",
    groups=b"x-groups",
    timeout=1.0,
    allow=False,
    keep=0.0,
    keyed=frozenset((b"cookie",)),
)


class Service:
    """Answers what it is told to, and counts."""

    def __init__(self, *fields: tuple[bytes, bytes], status: int = 200) -> None:
        self.answer: Fetched | None = Fetched(status, fields, b"")
        self.asked: list[tuple[bytes, bytes]] = []

    async def __call__(self, exchange: Any, target: bytes, lines: bytes, *, timeout: float) -> Fetched:
        """Answer."""
        self.asked.append((target, lines))
        if self.answer is None:
            raise FetchError("it is gone")
        return self.answer


def request(*fields: str, line: str = "GET /a", ip: str = "192.0.2.1", tls: bool = False, trusted: bool = False) -> Any:
    """Return an exchange of a request."""
    lines = "".join(f"{field}\r\n" for field in fields)
    head = parse_request_head(f"{line} HTTP/1.1\r\nHost: example.com\r\n{lines}\r\n".encode(), 100)
    client = SimpleNamespace(peer_ip=ip, tls=tls, plans=SimpleNamespace(trusted=trusted))
    plan = SimpleNamespace(request=head, forwarded_proto=trusted)
    return SimpleNamespace(plan=plan, client=client, route=SimpleNamespace(stripped=frozenset((b"x-role",))),
                           forward_lines=b"", answer_lines=b"", end="", failure="", refused=0)  # fmt: skip


def asked(service: Service, exchange: Any, verdicts: Verdicts | None = None, **terms: Any) -> Any:
    """Return what the way says."""
    way = ForwardAuth(TERMS._replace(**terms), service, verdicts or Verdicts(10))
    result = way.authenticate(exchange)
    return asyncio.run(result) if asyncio.iscoroutine(result) else result


def test_the_services_fields_name_the_sender_and_its_groups_and_go_on_to_servers() -> None:
    exchange = request("X-Role: root")
    service = Service((b"x-user", b"alice"), (b"x-groups", b" a, b ,,"), (b"x-role", b"r1"), (b"x-role", b"r2"))
    identity = asked(service, exchange)
    assert (identity.name, identity.method, identity.groups) == ("alice", "forward", {"a", "b"})
    assert exchange.forward_lines == b"X-Role: r1\r\nX-Role: r2\r\n"
    assert b"root" not in service.asked[0][1]


def test_a_sender_that_the_service_does_not_name_is_let_in_without_a_name() -> None:
    identity = asked(Service(), request())
    assert isinstance(identity, Identity)
    assert identity.name == ""


def test_host_and_scheme_are_those_that_a_trusted_proxy_says_and_no_other_client() -> None:
    fields = ("X-Forwarded-Host: shop.test", "X-Forwarded-Proto: https")
    for trusted, host, scheme in ((True, b"shop.test", b"https"), (False, b"example.com", b"http")):
        service = Service()
        asked(service, request(*fields, trusted=trusted))
        lines = service.asked[0][1]
        assert b"X-Forwarded-Host: %b\r\n" % host in lines
        assert b"X-Forwarded-Proto: %b\r\n" % scheme in lines


def test_only_the_fields_that_are_listed_are_sent_where_there_is_a_list() -> None:
    service = Service()
    fields = ("Cookie: a", "Accept: */*", "X-A: 1", "Connection: X-A")
    asked(service, request(*fields), sent=frozenset((b"accept", b"x-a")))
    assert service.asked[0][1].startswith(b"Accept: */*\r\nX-Forwarded-Method: GET\r\n")


def test_a_verdict_is_kept_by_all_that_it_depends_on() -> None:
    service, verdicts = Service((b"x-user", b"alice")), Verdicts(100)
    requests = [
        {"line": "GET /a"}, {"line": "POST /a"}, {"line": "GET /a?"}, {"line": "GET /a?b"}, {"ip": "192.0.2.2"},
        {"tls": True},
    ]  # fmt: skip
    for _ in range(2):
        for options in requests:
            assert asked(service, request("Cookie: a", **options), verdicts, keep=60.0).name == "alice"
        assert asked(service, request("Cookie: b"), verdicts, keep=60.0).name == "alice"
        assert asked(service, request("Cookie: a", "X-Other: 1"), verdicts, keep=60.0).name == "alice"
    assert len(service.asked) == len(requests) + 1


def test_verdicts_end_after_their_time_and_their_number_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr(forward, "monotonic", lambda: now)
    service, verdicts = Service(), Verdicts(3)
    asked(service, request(), verdicts, keep=60.0)
    now = 1059.0
    asked(service, request(), verdicts, keep=60.0)
    assert len(service.asked) == 1
    now = 1060.0
    asked(service, request(), verdicts, keep=60.0)
    assert len(service.asked) == 2
    for number in range(20):
        asked(service, request(line=f"GET /{number}"), verdicts, keep=60.0)
    assert len(verdicts._young) + len(verdicts._old) <= 6


def test_refusals_failures_and_answers_for_once_are_not_kept() -> None:
    once = [((b"cache-control", b"private, no-store"),), ((b"cache-control", b"no-cache"),), ((b"set-cookie", b"a=1"),)]
    services = [Service(status=401), Service(status=302), Service(status=500), *(Service(*fields) for fields in once)]
    for service in services:
        verdicts = Verdicts(10)
        for _ in range(2):
            asked(service, request(), verdicts, keep=60.0)
        assert len(service.asked) == 2


def test_what_the_service_refuses_is_counted_as_a_refusal_and_a_redirect_is_not() -> None:
    for status, end in ((401, "edge-auth"), (403, "edge-auth"), (302, ""), (307, "")):
        exchange = request()
        answer = asked(Service((b"location", b"/x"), (b"content-length", b"0"), status=status), exchange)
        assert (answer.status, answer.fields, exchange.end) == (status, ((b"location", b"/x"),), end)
        assert bool(exchange.refused) == bool(end)


def test_without_an_answer_the_request_is_refused_or_goes_on_as_nobodys() -> None:
    for service in (Service(status=500), Service(status=199), Service()):
        if service.answer is not None and service.answer.status == 200:
            service.answer = None
        refused = asked(service, request())
        assert isinstance(refused, Denial)
        assert refused.status == 503
        allowed = asked(service, request(), allow=True)
        assert (allowed.name, allowed.groups) == ("", frozenset())


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ('{ upstream = "aa" }', "there is no upstream 'aa'"),
        ('{ upstream = "a", path = "check" }', "not a path"),
        ('{ upstream = "a", path = "/che ck" }', "not a path"),
        ('{ upstream = "a", cache = "1m" }', "does not say what answers depend on"),
        ('{ upstream = "a", timeout = 0 }', "timeout"),
    ],
)
def test_mistakes_are_named(table: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        parse(f"[upstreams.a]\nservers = ['127.0.0.1:1']\n[policies.auth]\nforward = {table}\n")
