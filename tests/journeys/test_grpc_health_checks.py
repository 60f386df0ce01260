"""Active health checks by the gRPC health protocol, against a real health service."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import pytest

from edgewise.balancer.health import HealthChecker
from edgewise.balancer.probe import HealthCheck
from edgewise.protocols.http2 import DATA, Http2Connection
from edgewise.protocols.http2 import HEAD as HEADERS
from edgewise.tls.development import DevelopmentAuthority
from support.edgewise_process import EdgewiseProcess, free_port, wait_until
from support.grpc_client import GrpcClient
from support.grpc_server import GrpcServer
from support.origin import Origin, OriginConnection

StartEdgewise = Callable[..., EdgewiseProcess]


@pytest.fixture
def servers() -> Iterator[list[GrpcServer]]:
    running = [GrpcServer(name=b"first"), GrpcServer(name=b"second")]
    yield running
    for server in running:
        server.stop()


def toml(*addresses: str, check: str, upstream: str = "") -> str:
    listed = ", ".join(f'"{address}"' for address in addresses)
    return f"""
        [upstreams.app]
        protocol = "h2c"
        servers = [{listed}]
        health = {{ grpc = "{check}", interval = "50ms", healthy = 1, unhealthy = 1 }}
        {upstream}
        [[routes]]
        upstream = "app"
        """


def answering(edgewise: EdgewiseProcess) -> set[bytes]:
    """Return the names of the servers that answer now."""
    with GrpcClient(f"127.0.0.1:{edgewise.port}") as client:
        return {client.unary(b"", "Name") for _ in range(6)}


def results(edgewise: EdgewiseProcess) -> str:
    return json.dumps(json.loads(edgewise.admin("/api/v1/upstreams")))


def checked(port: int, service: str = "", tls: ssl.SSLContext | None = None, name: str | None = None) -> str:
    """Return what one check finds."""

    async def check() -> str:
        settings = HealthCheck(grpc=service, timeout=10)
        checker = HealthChecker("shop/a", ("127.0.0.1", port), settings, lambda *verdict: None, tls, name)
        await checker.check()
        return f"{'well' if checker.status.last_ok else 'sick'}: {checker.status.result}"

    return asyncio.run(check())


def test_a_check_tells_each_state_of_a_service(servers: list[GrpcServer]) -> None:
    server = servers[0]
    assert checked(server.port) == "well: SERVING"
    server.serving(False)
    assert checked(server.port) == "sick: NOT_SERVING"
    server.serving(True, "shop.Cart")
    assert checked(server.port, "shop.Cart") == "well: SERVING"
    assert checked(server.port, "shop.Absent") == "sick: gRPC status NOT_FOUND"


def test_a_check_of_what_speaks_no_grpc_says_so(origin: Callable[..., Origin]) -> None:
    bare = grpc.server(ThreadPoolExecutor(1))
    port = bare.add_insecure_port("127.0.0.1:0")
    bare.start()
    assert checked(port) == "sick: gRPC status UNIMPLEMENTED"
    bare.stop(None)
    assert checked(port).startswith("sick: ")
    assert checked(origin(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").port).startswith("sick: ")
    assert checked(origin(_close).port) == "sick: closed before it answered"


def _close(connection: OriginConnection) -> None:
    connection.reader.until(b"SM\r\n\r\n")


HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/grpc\r\n"
SERVING = b"\0\0\0\0\2\x08\x01"
OK = b"grpc-status: 0\r\n"


@pytest.mark.parametrize(
    ("head", "content", "trailers", "result"),
    [
        (HEAD, SERVING, OK, "well: SERVING"),
        (HEAD, SERVING * 2, OK, "sick: more than one message in answer to a health check"),
        (HEAD, b"", OK, "sick: no message in the answer"),
        (HEAD, SERVING[:-1], OK, "sick: no message in the answer"),
        (HEAD, b"\0\0\0\0\0", OK, "sick: UNKNOWN"),
        (HEAD, b"\0\0\xff\0\0", OK, "sick: gRPC message too long"),
        (HEAD, b"\7\0\0\0\0", OK, "sick: unknown flags of a gRPC message"),
        (HEAD, SERVING, b"grpc-status: 14\r\n", "sick: gRPC status UNAVAILABLE"),
        (HEAD, SERVING, b"grpc-status: x\r\n", "sick: gRPC status UNKNOWN"),
        (HEAD, SERVING, b"", "sick: no gRPC status"),
        (HEAD.replace(b"200", b"404"), SERVING, OK, "sick: status 404"),
        (HEAD.replace(b"/grpc", b"/json"), SERVING, OK, "sick: the answer is not gRPC"),
    ],
)
def test_an_answer_is_judged_by_all_of_it(head: bytes, content: bytes, trailers: bytes, result: str) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = Http2Connection(server=True)
        while data := await reader.read(65536):
            for kind, stream, _, ended in connection.receive(data):
                if kind == DATA and ended:
                    connection.send_head(stream, head + b"\r\n", end=False)
                    connection.send_data(stream, content, end=not trailers)
                    if trailers:
                        connection.send_trailers(stream, trailers)
            writer.write(connection.take())

    async def check() -> tuple[bool, str]:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        checker = HealthChecker("a", server.sockets[0].getsockname(), HealthCheck(grpc="a"), lambda *verdict: None)
        await checker.check()
        server.close()
        return checker.status.last_ok, checker.status.result

    ok, text = asyncio.run(check())
    assert f"{'well' if ok else 'sick'}: {text}" == result


@pytest.mark.parametrize(
    ("settings", "result"),
    [
        ({"path": "/healthz"}, "well: status 200"),
        ({"path": "/healthz", "body": "all good"}, "well: status 200"),
        ({"path": "/healthz", "body": "bad"}, "sick: status 200, content without 'bad'"),
        ({"path": "/sick"}, "sick: status 503"),
        ({"path": "/healthz", "http2": False}, "sick: "),
    ],
)
def test_a_path_can_be_checked_at_a_server_of_http2(settings: dict[str, Any], result: str) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = Http2Connection(server=True)
        while data := await reader.read(65536):
            for kind, stream, value, ended in connection.receive(data):
                if kind == HEADERS and ended:
                    status = b"200 OK" if b" /healthz " in value else b"503 Service Unavailable"
                    connection.send_head(stream, b"HTTP/1.1 103 Early Hints\r\n\r\n", end=False)
                    connection.send_head(stream, b"HTTP/1.1 " + status + b"\r\n\r\n", end=False)
                    connection.send_data(stream, b"all good", end=True)
            writer.write(connection.take())
            if connection.error is not None:
                break
        writer.close()

    async def check() -> tuple[bool, str]:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        wanted = HealthCheck(**{"http2": True, **settings})
        checker = HealthChecker("a", server.sockets[0].getsockname(), wanted, lambda *verdict: None)
        await checker.check()
        server.close()
        return checker.status.last_ok, checker.status.result

    ok, text = asyncio.run(check())
    assert f"{'well' if ok else 'sick'}: {text}".startswith(result)


def test_a_check_over_tls_verifies_the_server(tmp_path: Path) -> None:
    authority = DevelopmentAuthority()
    pair = authority.issue(["grpc.test"])
    trusting = ssl.create_default_context(cafile=authority.write(tmp_path))
    trusting.set_alpn_protocols(["h2"])
    server = GrpcServer(key_and_chain=(pair.key, pair.certificate))
    assert checked(server.port, "", trusting, "grpc.test") == "well: SERVING"
    assert "certificate" in checked(server.port, "", trusting, "other.test").lower()
    server.stop()


def test_the_server_as_a_whole_is_asked_for_where_no_service_is_named(
    edgewise_server: StartEdgewise, servers: list[GrpcServer]
) -> None:
    for server in servers:
        server.serving(True)
    edgewise = edgewise_server(toml(*(server.address for server in servers), check=""))
    wait_until(lambda: answering(edgewise) == {b"first", b"second"}, "both servers are in use")
    servers[1].serving(False)
    wait_until(lambda: answering(edgewise) == {b"first"}, "the sick server gets nothing")
    assert "NOT_SERVING" in results(edgewise)
    servers[1].serving(True)
    wait_until(lambda: answering(edgewise) == {b"first", b"second"}, "the server is back")


def test_a_service_is_asked_for_by_its_name(edgewise_server: StartEdgewise, servers: list[GrpcServer]) -> None:
    for server in servers:
        server.serving(True)
    servers[0].serving(True, "shop.Cart")
    edgewise = edgewise_server(toml(*(server.address for server in servers), check="shop.Cart"))
    wait_until(lambda: answering(edgewise) == {b"first"}, "only the server that has the service is used")
    servers[1].serving(True, "shop.Cart")
    wait_until(lambda: answering(edgewise) == {b"first", b"second"}, "the other has it too")


def test_a_server_that_dies_and_returns(edgewise_server: StartEdgewise, servers: list[GrpcServer]) -> None:
    for server in servers:
        server.serving(True)
    edgewise = edgewise_server(toml(*(server.address for server in servers), check=""))
    wait_until(lambda: answering(edgewise) == {b"first", b"second"}, "both servers are in use")
    port = servers[1].port
    servers[1].stop()
    wait_until(lambda: '"unhealthy"' in results(edgewise), "the dead server is told as unhealthy")
    assert answering(edgewise) == {b"first"}
    servers.append(GrpcServer(name=b"again", port=port))
    servers[-1].serving(True)
    wait_until(lambda: answering(edgewise) == {b"first", b"again"}, "the server is back")


def test_a_server_without_a_health_service_is_not_healthy(edgewise_server: StartEdgewise) -> None:
    bare = grpc.server(ThreadPoolExecutor(1))
    port = bare.add_insecure_port("127.0.0.1:0")
    bare.start()
    edgewise = edgewise_server(toml(f"127.0.0.1:{port}", check=""))
    wait_until(lambda: "UNIMPLEMENTED" in results(edgewise), "the status page says why")
    bare.stop(None)


def test_a_server_that_speaks_no_http2_is_not_healthy(
    edgewise_server: StartEdgewise, origin: Callable[..., Origin]
) -> None:
    edgewise = edgewise_server(toml(origin(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").address, check=""))
    wait_until(lambda: '"unhealthy"' in results(edgewise), "it is told as unhealthy")


def test_over_tls(edgewise_server: StartEdgewise, tmp_path: Path) -> None:
    authority = DevelopmentAuthority()
    authority.write(tmp_path)
    pair = authority.issue(["grpc.test"])
    server = GrpcServer(name=b"secure", key_and_chain=(pair.key, pair.certificate))
    server.serving(True)
    settings = f'tls = {{ ca = "{tmp_path}/authority.pem", server_name = "grpc.test" }}'
    text = toml(server.address, f"127.0.0.1:{free_port()}", check="", upstream=settings).replace('"h2c"', '"h2"')
    edgewise = edgewise_server(text)
    wait_until(lambda: '"healthy"' in results(edgewise), "the server is told as healthy")
    assert answering(edgewise) == {b"secure"}
    server.stop()
