"""A route that caches and has filters: the request they leave is what is asked for, and what its answer is kept by."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from journeys.conftest import InProcess, StartOrigin
from support.in_process import InProcessEngine
from support.origin import OriginConnection
from support.raw_http import get

FILTER = '''
class Revise:
    """Sends requests from the fourth on elsewhere, for another tenant."""

    def __init__(self):
        self.seen = 0

    def request(self, request):
        self.seen += 1
        request.headers["X-Tenant"] = "a" if self.seen <= 2 else "b"
        if self.seen > 4:
            request.path = "/other"

revise = Revise()
'''


@pytest.fixture
def site(
    tmp_path: Path, in_process: InProcess, origin: StartOrigin, monkeypatch: pytest.MonkeyPatch
) -> InProcessEngine:
    def answer(connection: OriginConnection) -> None:
        while True:
            lines = connection.read_request().split(b"\r\n")
            tenant = next(line for line in lines if line.startswith(b"X-Tenant"))
            body = lines[0].split(b" ")[1] + tenant[-1:]
            connection.send(
                b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
            )

    (tmp_path / "revising_for_the_cache.py").write_text(FILTER)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    toml = f"""
[upstreams.app]
servers = ["{origin(answer).address}"]
[[routes]]
upstream = "app"
cache = {{ headers = ["X-Tenant"] }}
filters = ["revising_for_the_cache:revise"]
"""
    return in_process(toml)


def test_the_cache_goes_by_the_request_that_filters_leave(site: InProcessEngine) -> None:
    with site.client() as client:
        answers = [client.ask(get("/page")) for _ in range(6)]
    assert [one.body for one in answers] == [b"/pagea", b"/pagea", b"/pageb", b"/pageb", b"/otherb", b"/otherb"]
    assert ["; hit;" in (one.get("cache-status") or "") for one in answers] == [False, True] * 3
