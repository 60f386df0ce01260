"""Before anything is timed: each proxy does the work that the others do."""

from __future__ import annotations

import contextlib
import http.client
import json
import ssl
import time
from typing import Any

from bench.arena import API_KEY, BIG_SIZE, BODY, LARGE_SIZE, ORDER, TEXT, Arena
from bench.load import run
from bench.peers import CACHES, GATEWAYS, TRANSCODERS, Running
from bench.processes import wait_until
from bench.websocket import FrameReader, frame
from bench.websocket_load import connect


class CheckFailed(Exception):
    """A proxy lacks a feature that the comparison takes as given."""


def check(running: Running, arena: Arena) -> None:
    """Raises CheckFailed naming what is missing."""
    name = running.name
    if running.peer.cache_only:
        _check_cache(running)
        return
    plain = http.client.HTTPConnection("127.0.0.1", running.http_port, timeout=10)
    with contextlib.closing(plain):
        _expect(_get(plain, "/hello") == BODY.encode(), f"{name} answers with another body")
        first, second = _echo(plain), _echo(plain)
        big = _get(plain, "/big")
    _expect(big == (arena.directory / "big.bin").read_bytes() and len(big) == BIG_SIZE, f"{name} damaged 8 MiB")
    _check_fields(running, first, second)
    _expect(first["connection"] == second["connection"], f"{name} does not reuse connections to the origin")
    context = ssl.create_default_context(cafile=str(arena.directory / "cert.pem"))
    secure = http.client.HTTPSConnection("127.0.0.1", running.https_port, timeout=10, context=context)
    with contextlib.closing(secure):
        _expect(_get(secure, "/hello") == BODY.encode(), f"{name} answers with another body over TLS")
        _check_fields(running, _echo(secure), _echo(secure))
    if running.peer.name in CACHES:
        _check_cache(running)
    if running.peer.name in GATEWAYS:
        _check_gateway(running)
    if running.peer.name in TRANSCODERS:
        _check_transcoding(running)
    _check_http2(running, arena)
    _check_websocket(running)
    _check_log(running)


def _check_gateway(running: Running) -> None:
    """Only who has a key passes, and a page of another origin may read the answer."""
    plain = http.client.HTTPConnection("127.0.0.1", running.http_port, timeout=10)
    origin = "https://shop.example.com"
    found = []
    with contextlib.closing(plain):
        for key in ("", "other", API_KEY):
            plain.request("GET", "/gateway/a", headers={"Host": "a.example", "X-API-Key": key, "Origin": origin})
            response = plain.getresponse()
            response.read()
            found.append((response.status, response.getheader("Access-Control-Allow-Origin")))
    _expect([status for status, _ in found] == [401, 401, 200], f"{running.name} lets in by keys: {found}")
    _expect(found[2][1] == origin, f"{running.name} tells browsers nothing of CORS: {found}")


def _check_transcoding(running: Running) -> None:
    """JSON comes back as it was sent, and what does not fit is refused."""
    plain = http.client.HTTPConnection("127.0.0.1", running.http_port, timeout=10)
    fields = {"Content-Type": "application/json"}
    with contextlib.closing(plain):
        plain.request("POST", "/v1/customers/ada/orders", json.dumps(ORDER), fields)
        response = plain.getresponse()
        told = json.loads(response.read())
        _expect(response.status == 200 and told == ORDER, f"{running.name} translates to {told}")
        plain.request("POST", "/v1/customers/ada/orders", '{"revision": "seven"}', fields)
        _expect(plain.getresponse().status == 400, f"{running.name} takes what does not fit")


def _check_cache(running: Running) -> None:
    """The second answer is as old as the first, whatever cookie comes with the request. Text is compressed."""
    plain = http.client.HTTPConnection("127.0.0.1", running.http_port, timeout=10)
    found = []
    with contextlib.closing(plain):
        for cookie in ("a=1", "b=2"):
            plain.request("GET", "/cached/page", headers={"Host": "shop.example.com", "Cookie": cookie})
            response = plain.getresponse()
            _expect(response.read() == BODY.encode(), f"{running.name} answers with another body from its cache")
            found.append(response.getheader("X-Made"))
    _expect(found[0] is not None and found[0] == found[1], f"{running.name} does not cache")
    with contextlib.closing(plain):
        # edgewise makes the coded form in the background, and sends the text as it is until then.
        wait_until(lambda: _coded(plain), 10, f"{running.name} to compress", running.tree)
        large = _get(plain, "/cached/large/page.json")
        _expect(len(large) == LARGE_SIZE, f"{running.name} damaged {LARGE_SIZE} bytes")


def _coded(connection: http.client.HTTPConnection) -> bool:
    connection.request("GET", "/cached/text/page.json", headers={"Host": "a.example", "Accept-Encoding": "gzip, br"})
    response = connection.getresponse()
    return len(response.read()) < len(TEXT) // 2 and response.getheader("Content-Encoding") in ("gzip", "br")


def _check_fields(running: Running, first: dict[str, Any], second: dict[str, Any]) -> None:
    name = running.name
    one, two = _fields(first), _fields(second)
    # Not compared with 127.0.0.1: for a client on loopback Envoy names the machine's own address.
    _expect(bool(one.get("x-forwarded-for")), f"{name} sends no X-Forwarded-For: {one}")
    if running.peer.request_id:
        identities = {one.get("x-request-id"), two.get("x-request-id")}
        _expect(None not in identities and len(identities) == 2, f"{name} sets no request id of its own: {identities}")


def _check_http2(running: Running, arena: Arena) -> None:
    """HTTP/2 by ALPN, and a gRPC call with its trailers."""
    body = run(["nghttp", "--no-verify-peer", f"https://127.0.0.1:{running.https_port}/hello"], 10)
    _expect(body == BODY, f"{running.name} answers with another body over HTTP/2")
    call = ["nghttp", "-nv", "-d", str(arena.directory / "message.bin"), "-H", "te: trailers"]
    call += ["-H", "content-type: application/grpc", f"http://127.0.0.1:{running.grpc_port}/bench.Echo/Unary"]
    frames = run(call, 10)
    _expect("grpc-status: 0" in frames, f"{running.name} does not forward gRPC:\n{frames[-1000:]}")


def _check_websocket(running: Running) -> None:
    sock = connect(running.http_port)
    reader = FrameReader()
    with contextlib.closing(sock):
        sock.sendall(frame(b"hello", mask=b"\x01\x02\x03\x04"))
        answers: list[tuple[int, bytes]] = []
        while not answers:
            data = sock.recv(4096)
            _expect(bool(data), f"{running.name} closed the WebSocket")
            answers += reader.feed(data)
    _expect(answers == [(1, b"hello")], f"{running.name} damaged a WebSocket message: {answers}")


def _check_log(running: Running) -> None:
    """Logs are buffered: more requests are made until a record of one is in the file."""
    deadline = time.monotonic() + 5

    def written() -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", running.http_port, timeout=10)
        with contextlib.closing(connection):
            for _ in range(20):
                _get(connection, "/logged")
        return (running.log.exists() and b"/logged" in running.log.read_bytes()) or time.monotonic() > deadline

    wait_until(written, 10, f"{running.name} to log", running.tree)
    _expect(running.log.exists() and b"/logged" in running.log.read_bytes(), f"{running.name} writes no access log")


def _get(connection: http.client.HTTPConnection, path: str) -> bytes:
    connection.request("GET", path, headers={"Host": "shop.example.com"})
    response = connection.getresponse()
    body = response.read()
    if response.status != 200:
        raise CheckFailed(f"{path} was answered with {response.status}: {body[:200]!r}")
    return body


def _echo(connection: http.client.HTTPConnection) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(_get(connection, "/echo/seen"))
    return answer


def _fields(answer: dict[str, Any]) -> dict[str, str]:
    return {name.lower(): value for name, value in answer["fields"]}


def _expect(condition: bool, message: str) -> None:
    if not condition:
        raise CheckFailed(message)
