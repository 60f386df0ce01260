"""The kinds of work that are measured, each with its unit and goal."""

from __future__ import annotations

import contextlib
import json
import socket
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from bench.arena import API_KEY, Arena
from bench.load import Load, h2load, run, wrk
from bench.peers import CACHES, GATEWAYS, TRANSCODERS, Running

IDLE_CONNECTIONS = 10_000
GIB = 1 << 30


@dataclass(frozen=True)
class Sample:
    """One measurement: its value in the scenario's unit, and what was seen beside it.

    `busy` is the share of its core that the proxy used: below 1, the load was the limit and not the proxy.
    """

    value: float
    p99_ms: float = 0.0
    rate: float = 0.0
    errors: int = 0
    busy: float = 0.0


@dataclass(frozen=True)
class Scenario:
    """One row. `goal` is the largest ratio to `baseline` that counts as reached; None: shown for information."""

    name: str
    title: str
    unit: str
    measure: Callable[[Running, Arena, float], Sample]
    goal: float | None = None
    baseline: str = "nginx"
    peers: tuple[str, ...] = ()
    fresh: bool = False
    goal_value: float | None = None


def _timed(running: Running, load: Callable[[], Load], amount: Callable[[Load], float], scale: float) -> Sample:
    """CPU time of the proxy's process tree while the load ran, a unit of `amount`, times `scale`."""
    before, began = running.tree.cpu_seconds(), time.perf_counter()
    done = load()
    used, took = running.tree.cpu_seconds() - before, time.perf_counter() - began
    if not done.count:
        raise RuntimeError(f"{running.name} completed nothing: {done}")
    return Sample(used / amount(done) * scale, done.p99_ms, done.count / done.seconds, done.errors, used / took)


def _requests(load: Callable[[Running, Arena, float], Load]) -> Callable[[Running, Arena, float], Sample]:
    """CPU microseconds a request."""

    def measure(running: Running, arena: Arena, seconds: float) -> Sample:
        return _timed(running, lambda: load(running, arena, seconds), lambda done: done.count, 1e6)

    return measure


def _url(running: Running, path: str = "/hello") -> str:
    return f"http://127.0.0.1:{running.http_port}{path}"


def _wrk(path: str = "/hello", script: str | None = None, headers: tuple[str, ...] = ()) -> Callable[..., Load]:
    def load(running: Running, arena: Arena, seconds: float) -> Load:
        return wrk(_url(running, path), seconds=seconds, directory=arena.directory, script=script, headers=headers)

    return load


def _tls_wrk(running: Running, arena: Arena, seconds: float) -> Load:
    return wrk(f"https://127.0.0.1:{running.https_port}/hello", seconds=seconds, directory=arena.directory)


def _tls_h2load(running: Running, arena: Arena, seconds: float) -> Load:
    return h2load(f"https://127.0.0.1:{running.https_port}/hello", seconds=seconds, directory=arena.directory)


def _h2load(path: str, *, connections: int, streams: int) -> Callable[..., Load]:
    """HTTP/2 over TLS."""

    def load(running: Running, arena: Arena, seconds: float) -> Load:
        url = f"https://127.0.0.1:{running.https_port}{path}"
        return h2load(url, seconds=seconds, directory=arena.directory, connections=connections, streams=streams)

    return load


def _grpc(running: Running, arena: Arena, seconds: float) -> Load:
    """Unary calls over HTTP/2 without TLS, as between services."""
    return h2load(
        f"http://127.0.0.1:{running.grpc_port}/bench.Echo/Unary",
        seconds=seconds,
        directory=arena.directory,
        connections=16,
        streams=10,
        options=["-H", "te: trailers", "-H", "content-type: application/grpc", "-d", f"{arena.directory}/message.bin"],
    )


def _handshakes(kind: str) -> Callable[..., Load]:
    def load(running: Running, arena: Arena, seconds: float) -> Load:
        return _client("bench.handshake_load", running.https_port, seconds, kind)

    return load


def _bodies(running: Running, arena: Arena, seconds: float) -> Sample:
    """CPU seconds a GiB of 8 MiB responses."""
    return _timed(
        running,
        lambda: wrk(_url(running, "/big"), seconds=seconds, directory=arena.directory, connections=8),
        lambda done: done.bytes / GIB,
        1,
    )


def _large_hits(running: Running, arena: Arena, seconds: float) -> Sample:
    """CPU seconds a GiB of a cached answer of 1 MiB."""
    return _timed(
        running,
        lambda: wrk(
            _url(running, "/cached/large/page.json"), seconds=seconds, directory=arena.directory, connections=8
        ),
        lambda done: done.bytes / GIB,
        1,
    )


def _file_bodies(running: Running, arena: Arena, seconds: float) -> Sample:
    """CPU seconds a GiB of a file of 8 MiB."""
    return _timed(
        running,
        lambda: wrk(_url(running, "/files/big.bin"), seconds=seconds, directory=arena.directory, connections=8),
        lambda done: done.bytes / GIB,
        1,
    )


def _websockets(running: Running, arena: Arena, seconds: float) -> Load:
    return _client("bench.websocket_load", running.http_port, seconds, "64")


def _client(module: str, port: int, seconds: float, option: str) -> Load:
    """Runs a load client of our own in a process of its own."""
    done = json.loads(run([sys.executable, "-m", module, str(port), str(seconds), option], seconds + 30))
    return Load(done["count"], 0, done["failed"], done["seconds"], done["p99"] * 1000)


def _idle(running: Running, arena: Arena, seconds: float) -> Sample:
    """Bytes of memory a connection that has had one answer and waits for its next request."""
    with _connections(running, 200):
        pass
    time.sleep(1)
    before = running.tree.pss()
    with _connections(running, IDLE_CONNECTIONS) as errors:
        time.sleep(1.5)
        after = running.tree.pss()
    return Sample((after - before) / IDLE_CONNECTIONS, errors=errors)


def _at_rest(running: Running, arena: Arena, seconds: float) -> Sample:
    """Memory of the whole process tree after start, bytes."""
    time.sleep(1)
    return Sample(running.tree.pss())


@contextlib.contextmanager
def _connections(running: Running, count: int) -> Iterator[int]:
    """Open connections, each of which has made one request; yields how many failed."""
    request = b"GET /hello HTTP/1.1\r\nHost: shop.example.com\r\n\r\n"
    with contextlib.ExitStack() as stack:
        errors = 0
        for _ in range(count):
            sock = stack.enter_context(socket.create_connection(("127.0.0.1", running.http_port), 10))
            sock.sendall(request)
            errors += not sock.recv(4096).startswith(b"HTTP/1.1 200")
        yield errors


MICROSECONDS, PER_GIB, BYTES = "CPU µs a request", "CPU s a GiB", "bytes a connection"
_CALL = (f"X-API-Key: {API_KEY}", "Origin: https://shop.example.com")
"""Fields of a call to an API by a page's script."""
EDGE = ("edgewise", "edgewise-pure", "nginx", "haproxy", "envoy", "caddy")
"""Those that can answer with fixed content: Traefik has no such route without a plug-in."""

FILES = ("edgewise", "edgewise-pure", "nginx", "caddy")
"""Those that serve files."""

SCENARIOS = (
    Scenario("same", "proxied GET, same heads, keep-alive", MICROSECONDS, _requests(_wrk()), 1.0),
    Scenario("unique", "proxied GET, unique heads", MICROSECONDS, _requests(_wrk("/catalogue", "chrome")), 1.3),
    Scenario("varied", "the same, each response head unique too", MICROSECONDS, _requests(_wrk("/varied", "chrome"))),
    Scenario("tls-wrk", "TLS, HTTP/1.1, proxied (wrk)", MICROSECONDS, _requests(_tls_wrk), 1.2),
    Scenario("tls-h2load", "TLS, HTTP/1.1, proxied (h2load)", MICROSECONDS, _requests(_tls_h2load), 1.2),
    Scenario(
        "h2",
        "TLS, HTTP/2, 10 streams a connection, proxied",
        MICROSECONDS,
        _requests(_h2load("/hello", connections=16, streams=10)),
        1.0,
    ),
    Scenario(
        "h2-one",
        "TLS, HTTP/2, one stream a connection, proxied",
        MICROSECONDS,
        _requests(_h2load("/hello", connections=64, streams=1)),
    ),
    Scenario(
        "h2-edge",
        "TLS, HTTP/2, 10 streams, answered at the edge",
        MICROSECONDS,
        _requests(_h2load("/edge", connections=16, streams=10)),
        0.6,
        peers=EDGE,
    ),
    Scenario(
        "handshake",
        "TLS connection with one answer at the edge",
        "CPU µs a connection",
        _requests(_handshakes("full")),
        1.3,
        peers=EDGE,
    ),
    Scenario(
        "resumed",
        "the same, session resumed",
        "CPU µs a connection",
        _requests(_handshakes("resumed")),
        1.3,
        peers=EDGE,
    ),
    Scenario("grpc", "gRPC unary call", "CPU µs a call", _requests(_grpc), 0.5, baseline="envoy"),
    Scenario(
        "transcode",
        "JSON to a gRPC unary call and back",
        "CPU µs a call",
        _requests(_wrk("/v1/customers/ada/orders", "order")),
        0.7,
        baseline="envoy",
        peers=TRANSCODERS,
    ),
    Scenario(
        "new",
        "new connection per request",
        MICROSECONDS,
        _requests(_wrk(headers=("Connection: close",))),
        1.5,
    ),
    Scenario("bodies", "8 MiB bodies", PER_GIB, _bodies, 0.8),
    Scenario(
        "static",
        "small file, same heads, keep-alive",
        MICROSECONDS,
        _requests(_wrk("/files/small.json")),
        1.0,
        peers=FILES,
    ),
    Scenario(
        "static-unique",
        "small file, unique heads",
        MICROSECONDS,
        _requests(_wrk("/same-file", "chrome")),
        peers=FILES,
    ),
    Scenario("static-big", "file of 8 MiB", PER_GIB, _file_bodies, 1.0, peers=FILES),
    Scenario(
        "hit",
        "cached answer of 0.4 KB, same heads",
        MICROSECONDS,
        _requests(_wrk("/cached/page")),
        0.65,
        peers=CACHES,
    ),
    Scenario(
        "hit-unique",
        "the same, unique heads",
        MICROSECONDS,
        _requests(_wrk("/cached/page", "visitors")),
        1.0,
        peers=CACHES,
    ),
    Scenario(
        "hit-coded",
        "cached answer of 20 KB, compressed for the client",
        MICROSECONDS,
        _requests(_wrk("/cached/text/page.json", headers=("Accept-Encoding: gzip, br",))),
        peers=CACHES,
    ),
    Scenario("hit-large", "cached answer of 1 MiB", PER_GIB, _large_hits, peers=CACHES),
    Scenario(
        "gateway",
        "API key, rate limit and CORS, same heads",
        MICROSECONDS,
        _requests(_wrk("/gateway/a", headers=_CALL)),
        1.15,
        peers=GATEWAYS,
    ),
    Scenario(
        "gateway-unique",
        "the same, unique heads",
        MICROSECONDS,
        _requests(_wrk("/gateway", "gateway")),
        1.5,
        peers=GATEWAYS,
    ),
    Scenario("websocket", "WebSocket message, there and back", "CPU µs a message", _requests(_websockets)),
    Scenario(
        "flood",
        "flood of heads with nothing in common",
        MICROSECONDS,
        _requests(_wrk(script="flood")),
        1.0,
        baseline="edgewise without memo",
        peers=("edgewise", "edgewise without memo", "nginx"),
    ),
    Scenario("idle", "idle keep-alive connection", BYTES, _idle, fresh=True, goal_value=2000),
    Scenario("rest", "process tree after start, no load", "bytes", _at_rest, fresh=True),
)
