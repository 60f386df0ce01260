"""The admin address on a real socket, over counters that a worker writes."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from edgewise.admin.app import make_app
from edgewise.admin.control import ReloadResult, ServerStatus, Status, UpstreamStatus, server_state
from edgewise.admin.server import AdminServer
from edgewise.contracts.endpoint import Endpoint
from edgewise.contracts.shared import DRAINED, EndpointFlags, SlotMap
from edgewise.telemetry import prometheus
from edgewise.telemetry.layout import MetricsMemory
from edgewise.telemetry.metrics import MetricsObserver


class SmallControl:
    """A control process with one upstream of one server and one worker."""

    def __init__(self) -> None:
        self.memory = MetricsMemory(1, routes=4, endpoints=4)
        self.flags = EndpointFlags(4)
        self.slots = SlotMap(4).assign(["shop/127.0.0.1:9001"])

    def status(self) -> Status:
        return Status("1.0", 1, True, 1.0)

    def upstreams(self) -> tuple[UpstreamStatus, ...]:
        servers = []
        for key, slot in self.slots.present.items():
            figures = self.memory.endpoints.read(slot)
            state, reason = server_state(self.flags.get(slot), figures, 1)
            name = key.partition("/")[2]
            servers.append(ServerStatus(name, state, reason, active=figures.active, requests=figures.requests))
        return (UpstreamStatus("shop", "round_robin", tuple(servers)),)

    def drain(self, key: str, on: bool) -> None:
        self.flags.set(self.slots[key], DRAINED, on)

    async def reload(self) -> ReloadResult:
        return ReloadResult(2)

    def metrics_text(self) -> str:
        return prometheus.render(self.memory, {}, self.slots.present, self.flags, version="1.0", generation=1)

    def effective_config(self) -> dict[str, Any]:
        return {}


Ask = Callable[..., Awaitable[tuple[int, bytes]]]


async def with_admin(control: SmallControl, use: Callable[[Ask], Awaitable[None]]) -> None:
    """Serve `control` on a free port of the loopback interface while `use(ask)` runs."""
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    server = AdminServer(make_app(control), [listener])
    await server.start()

    async def ask(method: str, path: str, fields: str = "") -> tuple[int, bytes]:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        head = f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n{fields}\r\n"
        writer.write(head.encode())
        answer = await reader.read()
        writer.close()
        await writer.wait_closed()
        header, _, body = answer.partition(b"\r\n\r\n")
        return int(header.split(b" ", 2)[1]), body

    try:
        await use(ask)
    finally:
        await server.stop()
    with pytest.raises(ConnectionError):
        await asyncio.open_connection("127.0.0.1", port)


def test_draining_over_http_reaches_workers_and_shows_in_status_and_metrics() -> None:
    control = SmallControl()
    endpoint = Endpoint("shop/127.0.0.1:9001", ("127.0.0.1", 9001))
    endpoint.slot = control.slots[endpoint.key]
    worker = MetricsObserver(control.memory, 0)
    worker.watch([endpoint])

    async def use(ask: Ask) -> None:
        endpoint.requests, endpoint.active = 7, 1
        worker.tick(0.0)
        assert (await state(ask))[:2] == ("healthy", 7)
        assert (await ask("POST", "/api/v1/upstreams/shop/servers/127.0.0.1:9001/drain"))[0] == 200
        assert control.flags.get(endpoint.slot) == DRAINED
        assert (await state(ask))[0] == "draining"
        endpoint.active = 0
        worker.tick(0.0)
        assert (await state(ask))[0] == "drained"
        _, metrics = await ask("GET", "/metrics")
        assert b'edgewise_upstream_drained{upstream="shop",server="127.0.0.1:9001"} 1' in metrics
        assert b'edgewise_upstream_attempts_total{upstream="shop",server="127.0.0.1:9001"} 7' in metrics
        assert (await ask("POST", "/api/v1/upstreams/shop/servers/127.0.0.1:9001/undrain"))[0] == 200
        assert (await state(ask))[0] == "healthy"

    async def state(ask: Ask) -> tuple[str, int]:
        _, body = await ask("GET", "/api/v1/upstreams")
        server = json.loads(body)["upstreams"][0]["servers"][0]
        return server["state"], server["requests"]

    asyncio.run(with_admin(control, use))


def test_a_page_of_another_origin_cannot_reload_over_a_real_socket() -> None:
    async def use(ask: Ask) -> None:
        assert (await ask("POST", "/api/v1/reload", "Origin: http://evil.example\r\n"))[0] == 403
        assert (await ask("POST", "/api/v1/reload"))[0] == 200

    asyncio.run(with_admin(SmallControl(), use))


def test_the_admin_address_may_be_a_unix_socket(tmp_path: Path) -> None:
    async def run() -> bytes:
        path = str(tmp_path / "admin")
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(path)
        server = AdminServer(make_app(SmallControl()), [listener])
        await server.start()
        reader, writer = await asyncio.open_unix_connection(path)
        writer.write(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        answer = await reader.read()
        writer.close()
        await server.stop()
        return answer

    assert asyncio.run(run()).startswith(b"HTTP/1.1 200 OK\r\n")
