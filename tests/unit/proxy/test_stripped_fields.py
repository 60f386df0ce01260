"""Fields in which only policies speak: no plan, fresh or remembered, forwards a client's own of that name."""

from __future__ import annotations

import pytest

from edgewise.config import parse
from edgewise.contracts.table import Table
from edgewise.proxy.plans import Plans, edited, make_plan
from edgewise.router import build

TABLE: Table = build(
    parse("""
[identity]
user_field = "X-API-Key"
[upstreams.app]
servers = ["127.0.0.1:1"]
[upstreams.calls]
servers = ["127.0.0.1:1"]
protocol = "h2c"
[[routes]]
upstream = "app"
[[routes]]
path = "/calls.v1/*"
upstream = "calls"
""")
)
SPOOFED = (
    "X-API-Key: root",  # a secret among field lines, which prototypes keep apart
    "x-api-key: root",
    "X_API_Key: root",
    "X-Groups: admins",
    "x_groups: admins",
    "X-Identity: forged",
)


def request(*lines: str, path: str = "/a", method: str = "GET") -> bytes:
    return "\r\n".join((f"{method} {path} HTTP/1.1", "Host: shop.example", "Accept: */*", *lines, "\r\n")).encode()


def own(head: bytes) -> list[str]:
    """Return the lines of a head that say who asks."""
    names = {name.decode() for name in TABLE.routes[0].stripped}
    lines = head.decode().lower().split("\r\n")
    return [line for line in lines if line.partition(":")[0].replace("_", "-") in names]


@pytest.mark.parametrize("spoofed", SPOOFED)
@pytest.mark.parametrize("trusted", [False, True])
def test_a_fresh_plan_drops_them(spoofed: str, trusted: bool) -> None:
    assert own(make_plan(TABLE, request(spoofed), b"http", trusted=trusted).head) == []


@pytest.mark.parametrize("spoofed", SPOOFED)
def test_so_does_a_plan_by_a_prototype(spoofed: str) -> None:
    plans = Plans(TABLE, scheme=b"http", trusted=False)
    for number in range(4):  # the same lines with other targets: the prototype of those that name nothing is there
        assert own(plans.find(request(path=f"/a/{number}")).head) == []
        assert own(plans.find(request(spoofed, path=f"/b/{number}")).head) == []


@pytest.mark.parametrize("spoofed", SPOOFED)
def test_and_so_do_calls_whose_metadata_may_have_underscores(spoofed: str) -> None:
    lines = ("Content-Type: application/grpc", "TE: trailers", "Content-Length: 0", "my_own: kept", spoofed)
    head = make_plan(TABLE, request(*lines, path="/calls.v1/Get", method="POST"), b"http", trusted=False).head
    assert own(head) == []
    assert b"my_own: kept" in head


def test_a_default_is_for_heads_without_a_line_of_that_name() -> None:
    edits = (("default", b"x-frame-options", b"X-Frame-Options: SAMEORIGIN\r\n"),)
    assert edited([b"A: 1\r\n"], edits) == [b"A: 1\r\n", b"X-Frame-Options: SAMEORIGIN\r\n"]
    assert edited([b"x-frame-OPTIONS: DENY\r\n"], edits) == [b"x-frame-OPTIONS: DENY\r\n"]
    assert edited([b"X-Frame-Options-Too: 1\r\n"], edits)[1:] == [b"X-Frame-Options: SAMEORIGIN\r\n"]
