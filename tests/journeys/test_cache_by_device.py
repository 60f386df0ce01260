"""Answers kept by kind of device, on real sockets: servers are told the kind, whatever clients say of it themselves."""

from __future__ import annotations

import pytest

from journeys.conftest import InProcess, StartOrigin
from support.in_process import InProcessEngine
from support.origin import OriginConnection
from support.raw_http import RawResponse

IPHONE = "Mozilla/5.0 (iPhone; CPU iPhone OS 17_1 like Mac OS X) Mobile/15E148"
PIXEL = "Mozilla/5.0 (Linux; Android 10; K) Chrome/120.0.0.0 Mobile Safari/537.36"
IPAD = "Mozilla/5.0 (iPad; CPU OS 12_2 like Mac OS X) Mobile/15E148"
MAC = "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) Version/17.1"


class App:
    """An app whose pages say for which kind of device they are."""

    def __init__(self) -> None:
        self.kinds: list[bytes] = []

    def __call__(self, connection: OriginConnection) -> None:
        while True:
            lines = connection.read_request().split(b"\r\n")
            told = [line.partition(b": ")[2] for line in lines if line.lower().startswith(b"x-ua-device:")]
            self.kinds.append(b"+".join(told))
            private = lines[0].split(b" ")[1] == b"/mine"
            kept = b"private" if private else b"max-age=60"
            connection.send(
                b"HTTP/1.1 200 OK\r\nVary: User-Agent\r\nCache-Control: %b\r\nContent-Length: %d\r\n\r\n%b"
                % (kept, len(self.kinds[-1]), self.kinds[-1])
            )


@pytest.fixture
def app() -> App:
    return App()


@pytest.fixture
def site(in_process: InProcess, origin: StartOrigin, app: App) -> InProcessEngine:
    toml = f"""
[upstreams.app]
servers = ["{origin(app).address}"]
[[routes]]
upstream = "app"
cache = {{ device = ["mobile", "tablet"] }}
"""
    return in_process(toml)


def ask(site: InProcessEngine, agent: str, *lines: str, method: str = "GET", path: str = "/") -> RawResponse:
    given = "".join(f"{line}\r\n" for line in (f"User-Agent: {agent}", *lines))
    with site.client() as client:
        return client.ask(f"{method} {path} HTTP/1.1\r\nHost: example.com\r\n{given}\r\n".encode())


def test_a_page_is_fetched_once_for_each_kind_of_device(site: InProcessEngine, app: App) -> None:
    for _ in range(2):
        for agent, kind in ((IPHONE, b"mobile"), (PIXEL, b"mobile"), (IPAD, b"tablet"), (MAC, b"desktop")):
            assert ask(site, agent).body == kind
    assert app.kinds == [b"mobile", b"tablet", b"desktop"]


def test_a_client_does_not_choose_its_kind_by_the_field_for_servers(site: InProcessEngine, app: App) -> None:
    assert ask(site, IPHONE, "X-UA-Device: desktop").body == b"mobile"
    assert ask(site, MAC, "x-ua-device: mobile", "Cookie: a=b", "X-UA-Device: tablet").body == b"desktop"
    assert app.kinds == [b"mobile", b"desktop"]


def test_servers_are_told_with_requests_that_are_not_kept_too(site: InProcessEngine, app: App) -> None:
    assert ask(site, PIXEL, method="DELETE").body == b"mobile"
    for _ in range(2):
        assert ask(site, IPAD, path="/mine").body == b"tablet"
    assert app.kinds == [b"mobile", b"tablet", b"tablet"]


def test_what_the_browser_says_in_a_hint_counts_first(site: InProcessEngine) -> None:
    assert ask(site, MAC, "Sec-CH-UA-Mobile: ?1").body == b"mobile"
    assert ask(site, PIXEL, "Sec-CH-UA-Mobile: ?0").body == b"desktop"
