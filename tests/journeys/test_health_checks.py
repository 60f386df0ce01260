"""Health checks over real sockets: what counts as well, what as sick, and what is told when it changes."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from edgewise.balancer.health import HealthChecker, HealthMonitor, Target
from edgewise.balancer.probe import HealthCheck, probe
from edgewise.contracts.endpoint import Address
from edgewise.tls.development import DevelopmentAuthority
from support.edgewise_process import EdgewiseProcess, wait_until
from support.origin import Origin, OriginConnection
from support.raw_http import get

StartEdgewise = Callable[..., EdgewiseProcess]
StartOrigin = Callable[..., Origin]

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nup\n"


class _Origin:
    """Answers every request with the same bytes, then closes."""

    def __init__(self, answer: bytes | None) -> None:
        self.answer = answer
        self.requests: list[bytes] = []

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            self.requests.append(await reader.readuntil(b"\r\n\r\n"))
            if self.answer is None:
                await reader.read()
            else:
                writer.write(self.answer)
        except asyncio.IncompleteReadError:
            pass
        finally:
            writer.close()


@asynccontextmanager
async def _listening(origin: _Origin, port: int = 0) -> AsyncIterator[tuple[str, int]]:
    server = await asyncio.start_server(origin, "127.0.0.1", port)
    host, bound = server.sockets[0].getsockname()
    try:
        yield host, bound
    finally:
        server.close()


def _run(coroutine: Coroutine[Any, Any, None]) -> None:
    asyncio.run(coroutine)


async def _checked(address: Address, settings: HealthCheck) -> tuple[bool, str]:
    """Return the result of one check, failed connections included."""
    checker = HealthChecker("shop/a", address, settings, lambda *verdict: None)
    await checker.check()
    return checker.status.last_ok, checker.status.result


def _answered(answer: bytes, settings: HealthCheck) -> tuple[bool, str]:
    async def scenario() -> tuple[bool, str]:
        async with _listening(_Origin(answer)) as address:
            return await _checked(address, settings)

    return asyncio.run(scenario())


HTTP = HealthCheck(path="/healthz")
WITH_BODY = HealthCheck(path="/healthz", body="ready")


@pytest.mark.parametrize(
    ("answer", "settings", "ok", "result"),
    [
        (OK, HTTP, True, "status 200"),
        (b"HTTP/1.0 302 Found\r\nLocation: /\r\n\r\n", HTTP, True, "status 302"),
        (b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n", HTTP, False, "status 500"),
        (OK, HealthCheck(path="/", status=(204,)), False, "status 200"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nready", WITH_BODY, False, "content without 'ready'"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nready", WITH_BODY, True, "status 200"),
        (b"HTTP/1.1 200 OK\r\n\r\nall ready", WITH_BODY, True, "status 200"),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nrea\r\n2\r\ndy\r\n0\r\n\r\n",
            WITH_BODY,
            True,
            "status 200",
        ),
        (OK, WITH_BODY, False, "status 200, content without 'ready'"),
        (b"SSH-2.0-OpenSSH\r\n\r\n", HTTP, False, "malformed status line"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 200_000, HTTP, False, "response head too long"),
    ],
)
def test_an_answer_is_judged_by_status_and_content(answer: bytes, settings: HealthCheck, ok: bool, result: str) -> None:
    judged, text = _answered(answer, settings)
    assert judged is ok
    assert result in text


def test_text_beyond_the_first_64_kib_is_not_found() -> None:
    body = b"x" * 65536 + b"ready"
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
    assert _answered(answer, WITH_BODY)[0] is False


def test_an_origin_that_closes_without_an_answer_is_sick() -> None:
    ok, text = _answered(b"", HTTP)
    assert not ok
    assert text


def test_the_request_names_its_sender_and_the_host() -> None:
    async def scenario() -> None:
        origin = _Origin(OK)
        async with _listening(origin) as address:
            await probe(address, HTTP)
            await probe(address, HealthCheck(path="/h?x=1", host="shop.example.com"))
        first, second = origin.requests
        assert first.startswith(
            b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nUser-Agent: edgewise-health\r\n" % address[1]
        )
        assert second.startswith(b"GET /h?x=1 HTTP/1.1\r\nHost: shop.example.com\r\n")

    _run(scenario())


def test_an_origin_that_does_not_answer_in_time_is_sick() -> None:
    async def scenario() -> None:
        async with _listening(_Origin(None)) as address:
            assert await _checked(address, HealthCheck(path="/", timeout=0.05)) == (False, "no answer within 0.05 s")

    _run(scenario())


def test_tcp_checks_only_that_a_connection_can_be_made() -> None:
    async def scenario() -> None:
        async with _listening(_Origin(None)) as address:
            assert await _checked(address, HealthCheck()) == (True, "connected")
        ok, text = await _checked(address, HealthCheck())
        assert not ok
        assert text

    _run(scenario())


def test_an_origin_on_a_unix_socket_is_checked(tmp_path: Path) -> None:
    async def scenario() -> None:
        path = str(tmp_path / "origin.sock")
        server = await asyncio.start_unix_server(_Origin(OK), path)
        assert await _checked(path, HTTP) == (True, "status 200")
        server.close()

    _run(scenario())


def test_an_origin_with_tls_is_checked_with_verification(tmp_path: Path) -> None:
    authority = DevelopmentAuthority()
    served = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    served.load_cert_chain(*authority.issue(["shop.internal"]).write(tmp_path, "origin"))
    trusting = ssl.create_default_context(cafile=authority.write(tmp_path))

    async def scenario() -> None:
        server = await asyncio.start_server(_Origin(OK), "127.0.0.1", 0, ssl=served)
        address = server.sockets[0].getsockname()
        verdicts: asyncio.Queue[tuple[str, bool, str]] = asyncio.Queue()
        monitor = HealthMonitor(lambda *verdict: verdicts.put_nowait(verdict))
        settings = HealthCheck(path="/", unhealthy=1)
        monitor.update({"shop/right-name": Target(address, settings, trusting, "shop.internal")})
        assert await verdicts.get() == ("shop/right-name", True, "status 200")
        monitor.update({"shop/wrong-name": Target(address, settings, trusting, "other.internal")})
        key, healthy, result = await verdicts.get()
        assert (key, healthy) == ("shop/wrong-name", False)
        assert "certificate" in result.lower()
        monitor.close()
        server.close()

    _run(scenario())


def test_an_origin_that_dies_and_returns_is_told_as_sick_and_well() -> None:
    async def scenario() -> None:
        verdicts: asyncio.Queue[tuple[str, bool, str]] = asyncio.Queue()
        monitor = HealthMonitor(lambda *verdict: verdicts.put_nowait(verdict))
        settings = HealthCheck(path="/healthz", interval=0.01, healthy=2, unhealthy=2)
        async with _listening(_Origin(OK)) as address:
            monitor.update({"shop/a": Target(address, settings)})
            assert await verdicts.get() == ("shop/a", True, "status 200")
        key, healthy, _ = await verdicts.get()
        assert (key, healthy) == ("shop/a", False)
        async with _listening(_Origin(OK), address[1]):
            assert await verdicts.get() == ("shop/a", True, "status 200")
            monitor.close()

    _run(scenario())


def _reports(state: bytes) -> bytes:
    return b"HTTP/1.1 %b\r\nContent-Length: 0\r\n\r\n" % state


def _named(name: bytes, well: list[bool]) -> Callable[[OriginConnection], None]:
    """Return an origin's script: its name for every request, but its health for /healthz."""

    def serve(connection: OriginConnection) -> None:
        while True:
            head = connection.read_head()
            if head.startswith(b"GET /healthz "):
                connection.send(_reports(b"200 OK" if well[0] else b"503 Service Unavailable"))
            else:
                connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(name), name))

    return serve


def test_edgewise_sends_nothing_to_a_sick_server_until_it_is_well_again(
    edgewise_server: StartEdgewise, origin: StartOrigin
) -> None:
    well = [True]
    first, second = origin(_named(b"first", [True])), origin(_named(b"second", well))
    server = edgewise_server(f"""
        [upstreams.app]
        servers = ["{first.address}", "{second.address}"]
        health = {{ path = "/healthz", interval = "50ms", healthy = 1, unhealthy = 1 }}
        [[routes]]
        upstream = "app"
        """)

    def answering() -> set[bytes]:
        with server.client() as client:
            return {client.ask(get("/")).body for _ in range(6)}

    wait_until(lambda: answering() == {b"first", b"second"}, "both servers get requests")
    well[0] = False
    wait_until(lambda: answering() == {b"first"}, "the sick server gets none")
    status = json.dumps(json.loads(server.admin("/api/v1/upstreams")))
    assert "status 503" in status
    well[0] = True
    wait_until(lambda: answering() == {b"first", b"second"}, "the server is back")
