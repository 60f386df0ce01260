"""After a storm of exchanges that end in every way there is, nothing is left: no attempt, no place taken."""

from __future__ import annotations

import contextlib
import random
import threading
import time
from pathlib import Path

import pytest

from support.edgewise_process import wait_until
from support.http2_origin import Gone, Http2Origin, Stream
from support.http2_raw import (
    DATA,
    END_STREAM,
    INITIAL_WINDOW_SIZE,
    INTERNAL_ERROR,
    LARGEST_WINDOW,
    NO_ERROR,
    REFUSED_STREAM,
    Http2Client,
    frame,
    request_fields,
    rst_stream,
    settings,
    window_update,
)
from support.in_process import InProcessEngine
from support.raw_http import ClosedEarly, RawClient, get, post

WIDE = settings((INITIAL_WINDOW_SIZE, LARGEST_WINDOW)) + window_update(0, LARGEST_WINDOW - 65535)
SETTINGS = """
protocol = "h2c"
max_connections = 3
eject = false
retry = { attempts = 2, on = ["connect", 503] }
timeouts = { response = "1s", idle = "1s", queue = "1s" }
"""


def misbehave(stream: Stream) -> None:
    """Answer in one of many ways, most of them well."""
    chance = random.Random(f"{stream.path}{stream.number}{stream.connection.index}").random()
    if chance < 0.04:
        stream.cancel(random.choice([REFUSED_STREAM, INTERNAL_ERROR]))
    elif chance < 0.06:
        stream.connection.leave(max(0, stream.number - 4))
    elif chance < 0.07:
        stream.connection.close()
    elif chance < 0.10:
        stream.answer(403)
        stream.cancel(NO_ERROR)
    elif chance < 0.13:
        stream.head(200, ("content-length", "100000"))
        stream.send(bytes(50000))
        stream.cancel(INTERNAL_ERROR)
    elif chance < 0.15:
        stream.answer(503)
    elif chance < 0.16:
        stream.wait(lambda: False)
    else:
        stream.read()
        stream.answer(200, bytes(random.choice([0, 10, 40000])))


def well(stream: Stream) -> None:
    """Answer well."""
    with contextlib.suppress(Gone):
        stream.read()
        stream.answer()


def storm_by_http2(port: int, seed: int) -> None:
    """Ask for much on one connection after another, and give some of it up."""
    chance = random.Random(seed)
    for _ in range(4):
        with Http2Client(("127.0.0.1", port), opening=WIDE) as client:
            for turn in range(30):
                path = f"/{seed}/{turn}"
                if chance.random() < 0.3:
                    stream = client.request(request_fields(path, "POST"), end=False)
                    client.send(frame(DATA, 0, stream, bytes(1000)))
                    if chance.random() < 0.8:
                        client.send(frame(DATA, END_STREAM, stream, bytes(1000)))
                else:
                    stream = client.request(request_fields(path))
                if chance.random() < 0.2:
                    client.read(0.002)
                    client.send(rst_stream(stream))
            if chance.random() < 0.7:
                with contextlib.suppress(AssertionError):
                    client.wait(lambda: sum(one.ended for one in client.answers.values()) > 20, 2)


def storm_by_http1(port: int, seed: int) -> None:
    """Ask one thing after another, and leave early now and then."""
    chance = random.Random(seed)
    for turn in range(60):
        with RawClient(("127.0.0.1", port)) as client, contextlib.suppress(ClosedEarly, OSError):
            client.send(get(f"/{seed}/{turn}") if chance.random() < 0.7 else post(bytes(5000), f"/{seed}/{turn}"))
            if chance.random() < 0.8:
                client.read()


def tick(engine: InProcessEngine) -> None:
    """Look at deadlines four times a second, as workers do."""
    engine.engine.tick(time.monotonic())
    engine.loop.call_later(0.25, tick, engine)


@pytest.mark.parametrize("seed", range(3))
def test_nothing_is_left_of_a_storm(tmp_path: Path, seed: int) -> None:
    server = Http2Origin(misbehave, max_streams=20)
    engine = InProcessEngine(f'[upstreams.app]\nservers = ["{server.address}"]\n{SETTINGS}', tmp_path / "access.log")
    engine.on_loop(lambda: tick(engine))
    threads = [threading.Thread(target=storm_by_http2, args=(engine.port, 10 * seed + at)) for at in range(4)]
    threads += [threading.Thread(target=storm_by_http1, args=(engine.port, 100 + 10 * seed + at)) for at in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (endpoint,) = engine.table.upstreams["app"].endpoints
    group = engine.table.upstreams["app"]
    wait_until(lambda: engine.engine.requests == engine.engine.finished, "every exchange has ended")
    assert engine.engine.requests > 300
    # A connection may still be being made for an exchange that has gone meanwhile: it is done or given up in time.
    wait_until(
        lambda: (
            (endpoint.active, group.active, group.retries, len(endpoint.waiting), endpoint.connecting)
            == (0, 0, 0, 0, None)
        ),
        "no attempt, no place and no connection in the making is left",
    )
    assert len(endpoint.idle) == len(set(endpoint.idle))
    server.script = well
    with engine.client() as client:
        assert [client.ask(get(f"/after/{turn}")).status for turn in range(20)] == [200] * 20
    wait_until(lambda: endpoint.connections == 0, "idle connections have been closed")
    assert engine.engine.servers == 0
    assert not endpoint.idle
    engine.stop()
    server.stop()
