"""Limits on real sockets: two workers count as one, clients are told when to come again, quotas outlive a restart."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from journeys.conftest import StartEdgewise
from support.edgewise_process import EdgewiseProcess, wait_until
from support.http2_raw import Http2Client
from support.origin import Origin, OriginConnection
from support.raw_http import RawClient, RawResponse, get
from support.state_servers import NatsServer

TOML = """
[server]
listen = ["127.0.0.1:$PORT"]
workers = 2
admin = "127.0.0.1:$ADMIN_PORT"
drain_timeout = "1s"
[consumers.ann]
api_keys = ["the-api-key-of-ann"]
groups = ["gold"]
[consumers.ben]
api_keys = ["the-api-key-of-ben"]
[upstreams.app]
servers = ["ORIGIN"]
policies = { rate_limit = { rate = "3/h", burst = 3, by = "all", headers = false } }
[[routes]]
path = "/slow-refill"
respond = { body = "fixed" }
rate_limit = { rate = "1/m", burst = 3 }
[[routes]]
path = "/by-key"
respond = { body = "fixed" }
rate_limit = { rate = "1/m", burst = 2, by = "header:X-Api-Key" }
[[routes]]
path = "/window"
respond = { body = "fixed" }
rate_limit = { rate = "4/h", algorithm = "sliding_window" }
[[routes]]
path = "/shared-one"
upstream = "app"
[[routes]]
path = "/shared-two"
upstream = "app"
[[routes]]
path = "/held/*"
upstream = "app"
rate_limit = false
concurrency = { limit = 2, by = "all" }
[[routes]]
path = "/consumers"
respond = { body = "fixed" }
auth = { api_keys = "consumers", optional = true }
rate_limit = { rate = "1/h", burst = 1, by = "consumer", groups = { gold = "3/h" } }
[[routes]]
path = "/dry"
respond = { body = "fixed" }
rate_limit = { rate = "1/h", burst = 1, dry_run = true }
[[routes]]
path = "/both"
respond = { body = "fixed" }
rate_limit = [{ rate = "1/h", burst = 9, name = "hourly" }, { rate = "3/month", by = "query:user", name = "monthly" }]
[[routes]]
path = "/strict"
respond = { body = "fixed" }
rate_limit = { rate = "5/d", by = "all", strict = true }
[[routes]]
path = "/steady"
respond = { body = "fixed" }
rate_limit = { rate = "200/s", burst = 10, by = "all" }
"""


class Held:
    """A script that answers when it is let."""

    def __init__(self) -> None:
        self.let = threading.Event()
        self.waiting = 0

    def __call__(self, connection: OriginConnection) -> None:
        while True:
            head = connection.read_head()
            if b"/held" in head:
                self.waiting += 1
                self.let.wait(30)
            connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")


held = Held()


@pytest.fixture(scope="module")
def edgewise(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EdgewiseProcess]:
    origin = Origin(held)
    server = EdgewiseProcess(TOML.replace("ORIGIN", origin.address), tmp_path_factory.mktemp("limits"))
    yield server
    server.stop()
    origin.stop()


def answers(edgewise: EdgewiseProcess, path: str, count: int, *fields: str) -> list[RawResponse]:
    """Ask that often, each time on a connection of its own: the workers take turns as the kernel likes."""
    found = []
    for _ in range(count):
        with edgewise.client() as client:
            found.append(client.ask(get(path, "a", *fields)))
    return found


def statuses(edgewise: EdgewiseProcess, path: str, count: int, *fields: str) -> list[int]:
    """The statuses of `answers`."""
    return [answer.status for answer in answers(edgewise, path, count, *fields)]


def refusals(edgewise: EdgewiseProcess, path: str, policy: str) -> int:
    """Return how many requests of a route were refused, as the metrics tell."""
    start = f'edgewise_policy_refusals_total{{http_route="*{path}",policy="{policy}"}} '
    lines = edgewise.admin("/metrics").decode().splitlines()
    return next((int(line.removeprefix(start)) for line in lines if line.startswith(start)), 0)


def test_what_is_over_the_burst_gets_429_and_is_told_when_to_come_again(edgewise: EdgewiseProcess) -> None:
    *passed, refused = answers(edgewise, "/slow-refill", 4)
    assert [answer.status for answer in passed] == [200, 200, 200]
    assert refused.status == 429
    assert 170 <= int(refused.get("retry-after") or 0) * 3 <= 180
    problem = json.loads(refused.body)
    assert (problem["status"], problem["policy"]) == (429, "rate-limit")
    assert passed[0].get("ratelimit-policy") == '"default";q=3;w=180'
    assert (passed[0].get("ratelimit") or "").startswith('"default";r=2;t=')
    assert (refused.get("ratelimit") or "").startswith('"default";r=0;t=')
    wait_until(lambda: refusals(edgewise, "/slow-refill", "rate-limit") == 1, "the refusal is counted")
    line = next(one for one in edgewise.wait_access_log(4) if one["status"] == 429)
    assert line["end"] == "edge-rate-limit"


def test_clients_are_told_apart_by_a_header(edgewise: EdgewiseProcess) -> None:
    assert statuses(edgewise, "/by-key", 3, "X-Api-Key: one") == [200, 200, 429]
    assert statuses(edgewise, "/by-key", 3, "X-Api-Key: two") == [200, 200, 429]
    assert statuses(edgewise, "/by-key", 3) == [200, 200, 429]


def test_a_sliding_window_holds_over_both_workers(edgewise: EdgewiseProcess) -> None:
    assert statuses(edgewise, "/window", 6) == [200] * 4 + [429] * 2


def test_a_limit_of_an_upstream_counts_the_requests_of_all_its_routes(edgewise: EdgewiseProcess) -> None:
    assert statuses(edgewise, "/shared-one", 2) == [200, 200]
    last, refused = answers(edgewise, "/shared-two", 2)
    assert (last.status, refused.status) == (200, 429)
    assert last.get("ratelimit") is None


def test_as_many_requests_as_the_limit_are_under_way_over_both_workers(edgewise: EdgewiseProcess) -> None:
    clients = [edgewise.client() for _ in range(2)]
    for client in clients:
        client.send(get("/held/a"))
    wait_until(lambda: held.waiting == 2, "both are at the server")
    refused = answers(edgewise, "/held/b", 4)
    assert {answer.status for answer in refused} == {503}
    assert refused[0].get("retry-after") == "1"
    held.let.set()
    assert [client.read().status for client in clients] == [200, 200]
    for client in clients:
        client.close()
    wait_until(lambda: statuses(edgewise, "/held/c", 1) == [200], "those that ended count no more")
    wait_until(lambda: refusals(edgewise, "/held/*", "concurrency") >= 4, "refusals are counted")


def test_consumers_have_rates_of_their_own_and_their_group(edgewise: EdgewiseProcess) -> None:
    assert statuses(edgewise, "/consumers", 4, "X-API-Key: the-api-key-of-ann") == [200] * 3 + [429]
    assert statuses(edgewise, "/consumers", 2, "X-API-Key: the-api-key-of-ben") == [200, 429]
    assert statuses(edgewise, "/consumers", 2) == [200, 429]


def test_a_dry_run_only_counts(edgewise: EdgewiseProcess) -> None:
    tried = answers(edgewise, "/dry", 3)
    assert [answer.status for answer in tried] == [200] * 3
    assert tried[0].get("ratelimit") is None
    wait_until(lambda: refusals(edgewise, "/dry", "rate-limit-dry-run") == 2, "what would be refused is counted")
    assert "would refuse requests" in edgewise.log


def test_several_limits_hold_at_once_and_a_refusal_costs_nothing(edgewise: EdgewiseProcess) -> None:
    assert statuses(edgewise, "/both?user=1", 6) == [200] * 3 + [429] * 3
    assert statuses(edgewise, "/both?user=2", 3) == [200] * 3
    (answer,) = answers(edgewise, "/both?user=3", 1)
    policies = [line for line in answer.head.split(b"\r\n") if line.startswith(b"RateLimit-Policy: ")]
    assert policies == [
        b'RateLimit-Policy: "hourly";q=9;w=32400',
        b'RateLimit-Policy: "monthly";q=3;w=2592000',
    ]


def test_a_strict_limit_holds_over_all_workers(edgewise: EdgewiseProcess) -> None:
    assert statuses(edgewise, "/strict", 8) == [200] * 5 + [429] * 3


def test_http_2_clients_are_told_too(edgewise: EdgewiseProcess) -> None:
    with Http2Client(("127.0.0.1", edgewise.port)) as client:
        found = [client.get("/by-key", ("x-api-key", "of-http-2")) for _ in range(3)]
    assert [answer.status for answer in found] == [200, 200, 429]
    assert [answer.get("ratelimit") for answer in found[:2]] == ['"default";r=1;t=60', '"default";r=0;t=120']
    assert found[2].get("retry-after") is not None


def test_a_reload_forgets_no_count_of_a_limit_that_stays_the_same(edgewise: EdgewiseProcess) -> None:
    with edgewise.client() as client:
        ask = get("/by-key", "a", "X-Api-Key: reload")
        assert [client.ask(ask).status for _ in range(2)] == [200, 200]
        host = f"127.0.0.1:{edgewise.admin_port}"
        with RawClient(("127.0.0.1", edgewise.admin_port)) as admin:
            wanted = f"POST /api/v1/reload HTTP/1.1\r\nHost: {host}\r\nContent-Length: 0\r\n\r\n"
            assert admin.ask(wanted.encode()).status == 200
        assert client.ask(ask).status == 429


def test_two_workers_admit_the_rate_together(edgewise: EdgewiseProcess) -> None:
    clients = [edgewise.client() for _ in range(8)]
    head = get("/steady")
    began = time.monotonic()
    admitted = asked = 0
    while time.monotonic() < began + 3.0:
        for client in clients:
            admitted += client.ask(head).status == 200
            asked += 1
    seconds = time.monotonic() - began
    for client in clients:
        client.close()
    assert admitted <= 200 * seconds + 10 + 2
    assert admitted >= min(200 * seconds, asked) * 0.7  # a busy machine may not even ask that often


QUOTAS = """
[server]
listen = ["127.0.0.1:$PORT"]
workers = 2
admin = "127.0.0.1:$ADMIN_PORT"
drain_timeout = "1s"
STATE
[[routes]]
path = "/day"
respond = { body = "fixed" }
rate_limit = { rate = "5/d", by = "header:X-Api-Key" }
[[routes]]
path = "/month"
respond = { body = "fixed" }
rate_limit = { rate = "5/month", by = "header:X-Api-Key" }
"""


def test_quotas_go_on_where_they_were_after_a_restart(tmp_path: Path) -> None:
    ports = None
    for turn in range(2):
        server = EdgewiseProcess(QUOTAS.replace("STATE", '[state]\nurl = "sqlite:state"'), tmp_path, ports=ports)
        try:
            for path in ("/day", "/month"):
                if turn == 0:
                    assert statuses(server, path, 3, "X-Api-Key: a") == [200] * 3
                else:
                    assert statuses(server, path, 4, "X-Api-Key: a") == [200] * 2 + [429] * 2
        finally:
            server.stop()


def test_nodes_share_quotas_through_nats(edgewise_server: StartEdgewise, nats: NatsServer) -> None:
    nodes = [edgewise_server(QUOTAS.replace("STATE", f'[state]\nurl = "{nats.url}"')) for _ in range(2)]
    for path in ("/day", "/month"):
        assert statuses(nodes[0], path, 5, "X-Api-Key: a") == [200] * 5
        wait_until(lambda path=path: statuses(nodes[1], path, 1, "X-Api-Key: a") == [429], "the other node knows")
