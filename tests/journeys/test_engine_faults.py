"""An error in edgewise itself: nobody is left waiting, and nobody else notices."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from journeys.conftest import InProcess, StartOrigin
from support.edgewise_process import wait_until
from support.http2_raw import Http2Client, request_fields
from support.in_process import InProcessEngine
from support.origin import OriginConnection
from support.raw_http import ClosedEarly, get

StartEngine = Callable[..., InProcessEngine]


@pytest.fixture
def engine(in_process: InProcess) -> StartEngine:
    """Start an engine in this process: `engine(address, route)`."""

    def start(address: str, route: str = "") -> InProcessEngine:
        toml = f'[upstreams.app]\nservers = ["{address}"]\n[[routes]]\nupstream = "app"\n{route}\n'
        return in_process(toml)

    return start


def broken(*arguments: Any, **more: Any) -> Any:
    """Raise what nobody expects."""
    raise RuntimeError("on purpose")


def settled(running: InProcessEngine) -> None:
    """Wait until no exchange is under way."""
    wait_until(lambda: running.engine.requests == running.engine.finished, "every exchange has ended")


def test_before_a_head_went_out_the_client_gets_500_and_the_end_of_its_connection(
    origin: StartOrigin, engine: StartEngine, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    running = engine(origin().address)
    upstream = running.table.upstreams["app"]
    pick = upstream.pick
    monkeypatch.setattr(upstream, "pick", broken)
    with running.client() as client, running.client() as other:
        answer = client.ask(get())
        assert (answer.status, answer.get("connection")) == (500, "close")
        assert client.is_closed()
        monkeypatch.setattr(upstream, "pick", pick)
        assert other.ask(get()).status == 200
    settled(running)
    assert "on purpose" in caplog.text


def test_once_a_head_went_out_the_connection_is_cut(
    origin: StartOrigin, engine: StartEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def script(connection: OriginConnection) -> None:
        connection.read_request()
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n01234")
        assert begun.wait(60)
        connection.send(b"56789")

    begun = threading.Event()
    running = engine(origin(script).address)
    with running.client() as client:
        client.send(get())
        client.reader.until(b"01234")
        monkeypatch.setattr("edgewise.proxy.relay.Relay.read", broken)
        begun.set()
        with pytest.raises(ClosedEarly):
            client.reader.exactly(5)
    settled(running)


@pytest.mark.parametrize("cached", ["", "cache = {}"])
def test_a_fault_on_the_way_of_the_answer_is_the_clients_500(
    origin: StartOrigin, engine: StartEngine, monkeypatch: pytest.MonkeyPatch, cached: str
) -> None:
    monkeypatch.setattr("edgewise.proxy.lifecycle.respond", broken)
    running = engine(origin().address, cached)
    with running.client() as client:
        assert client.ask(get()).status == 500
    settled(running)
    assert not running.engine.fills


def test_an_http2_connection_ends_with_all_its_streams(
    origin: StartOrigin, engine: StartEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    running = engine(origin().address)
    monkeypatch.setattr(running.table.upstreams["app"], "pick", broken)
    with Http2Client(("127.0.0.1", running.port)) as client:
        client.request(request_fields())
        client.wait(lambda: client.ended)
    settled(running)
