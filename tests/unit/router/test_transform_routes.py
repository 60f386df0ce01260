"""What follows from heads is changed when plans are made: such routes have no policy, and stay as direct as before."""

from __future__ import annotations

import pytest

from edgewise.config import parse
from edgewise.contracts.plan import Route
from edgewise.contracts.table import Table
from edgewise.proxy.plans import make_plan
from edgewise.router import build

TOML = """
[upstreams.app]
servers = ["127.0.0.1:9000"]
[hosts."api.example.com".transform.request]
headers = { set = { X-Host = "api" } }
[[routes]]
path = "/fixed/{id}"
upstream = "app"
rewrite = "/r/{id}"
[routes.transform.request]
headers = { rename = { X-A = "X-B" } }
query = { set = { id = "{id}", at = "{header:X-At}" } }
[[routes]]
path = "/who/{id}"
upstream = "app"
[routes.transform]
request = { headers = { set = { X-Who = "{identity}" } } }
response = { headers = { set = { X-Seen = "{client_ip}", X-Fixed = "1" } } }
[[routes]]
path = "/json"
upstream = "app"
compress = true
transform = { response = { body = { remove = ["/a"] } } }
[[routes]]
path = "/plain"
upstream = "app"
"""


@pytest.fixture(scope="module")
def table() -> Table:
    return build(parse(TOML))


def route(table: Table, path: str) -> Route:
    return next(route for route in table.routes if route.spec.path == path)


def sent(table: Table, target: str, *fields: str, host: str = "a") -> bytes:
    lines = "".join(f"{field}\r\n" for field in (f"Host: {host}", *fields))
    return make_plan(table, f"GET {target} HTTP/1.1\r\n{lines}\r\n".encode(), b"http", trusted=False).head


def test_what_follows_from_the_head_is_in_the_plan(table: Table) -> None:
    found = route(table, "/fixed/{id}")
    assert (found.policies, found.direct) == ((), True)
    head = sent(table, "/fixed/7?a=1", "x-a: 2", "X-At: b c")
    assert head.startswith(b"GET /r/7?a=1&id=7&at=b%20c HTTP/1.1\r\n")
    assert b"X-B: 2\r\n" in head
    assert b"x-a:" not in head.lower()


def test_what_follows_from_who_asks_is_no_part_of_a_plan(table: Table) -> None:
    found = route(table, "/who/{id}")
    assert (len(found.policies), found.direct) == (2, False)
    assert b"x-who" not in sent(table, "/who/7", "X-Who: root").lower()
    assert ("set", b"x-fixed", b"X-Fixed: 1\r\n") in found.response_edits
    assert ("remove", b"x-seen", b"") in found.response_edits


def test_servers_are_asked_for_json_as_it_is_edited(table: Table) -> None:
    assert route(table, "/json").compression is None
    head = sent(table, "/json", "Accept-Encoding: gzip", "Range: bytes=0-1")
    assert b"Accept-Encoding: identity\r\n" in head
    assert b"Range" not in head


def test_a_host_changes_its_own_requests_alone(table: Table) -> None:
    assert b"X-Host: api\r\n" in sent(table, "/plain", host="api.example.com")
    assert b"X-Host" not in sent(table, "/plain")
    assert b"X-Host" not in sent(table, "/fixed/7", host="api.example.com")  # its own table holds whole
