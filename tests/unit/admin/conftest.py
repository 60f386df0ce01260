"""A control process that remembers what it was told, and a client that needs no socket."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from edgewise.admin.app import make_app
from edgewise.admin.control import (
    CertificateStatus,
    DiskStatus,
    HeldSession,
    PurgeOrder,
    PurgeResult,
    ReloadProblem,
    ReloadResult,
    RouteStatus,
    ServerStatus,
    Status,
    UpstreamStatus,
    WorkerStatus,
)


@dataclass
class FakeControl:
    """An `admin.control.Control` over plain values."""

    ready: bool = True
    generation: int = 3
    problems: tuple[ReloadProblem, ...] = ()
    defect: str = ""
    drained: dict[str, bool] = field(default_factory=dict)
    lost: Exception | None = None
    """What asking for sessions raises."""
    asked: list[tuple[str, list[str]]] = field(default_factory=list)
    renewed: list[tuple[str, bool]] = field(default_factory=list)
    purged: PurgeResult = field(default_factory=PurgeResult)
    disk: DiskStatus | None = None
    kept: tuple[CertificateStatus, ...] = (
        CertificateStatus("shop.test", ("shop.test",), "2027-01-01T00:00:00Z", "2026-12-01T00:00:00Z"),
        CertificateStatus("new.test", ("new.test",), None, "2026-11-24T05:00:00Z", 2, "<rate limited>"),
    )
    servers: tuple[ServerStatus, ...] = (
        ServerStatus("127.0.0.1:9001", "healthy", active=2, requests=40, last_check="2026-11-24T05:00:00Z"),
        ServerStatus("unix:/run/<b>.sock", "unhealthy", "status 500 & more"),
    )

    def status(self) -> Status:
        workers = (WorkerStatus(0, 4711, 93784.0, 12, 99),)
        routes = (RouteStatus("shop", "upstream shop"),)
        return Status("1.2.3", self.generation, self.ready, 61.0, workers, routes, self.disk)

    def upstreams(self) -> tuple[UpstreamStatus, ...]:
        return (UpstreamStatus("shop", "round_robin", self.servers),)

    def certificates(self) -> tuple[CertificateStatus, ...]:
        return self.kept

    def renew(self, name: str, *, revoke: bool) -> None:
        if name not in {kept.name for kept in self.kept}:
            raise KeyError(name)
        self.renewed.append((name, revoke))

    def drain(self, key: str, on: bool) -> None:
        if key not in {f"shop/{server.name}" for server in self.servers}:
            raise KeyError(key)
        self.drained[key] = on

    async def sessions_of(self, user: str, namespaces: Sequence[str]) -> tuple[HeldSession, ...]:
        if self.lost is not None:
            raise self.lost
        self.asked.append((user, list(namespaces)))
        return (HeldSession("gateway", "a" * 64, "a phone", "2026-11-24T05:00:00Z", 60.0),)

    async def revoke_sessions(self, user: str, namespaces: Sequence[str]) -> int:
        return len(await self.sessions_of(user, namespaces))

    async def revoke_session(self, handle: str, namespaces: Sequence[str]) -> str | None:
        [session] = await self.sessions_of(f"id {handle}", namespaces)
        return "alice" if handle == session.id else None

    async def purge(self, orders: Sequence[PurgeOrder], *, soft: bool, dry_run: bool) -> PurgeResult:
        return self.purged

    async def reload(self) -> ReloadResult:
        if not self.problems:
            self.generation += 1
        return ReloadResult(self.generation, self.problems)

    def metrics_text(self) -> str:
        if self.defect:
            raise RuntimeError(self.defect)
        return "# TYPE up gauge\nup 1\n"

    def effective_config(self) -> dict[str, Any]:
        return {"server": {"listen": ["127.0.0.1:8080"]}}


@dataclass
class Answer:
    """A response."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


Ask = Callable[..., Answer]


@pytest.fixture
def control() -> FakeControl:
    """Return the control process behind `ask`."""
    return FakeControl()


@pytest.fixture
def ask(control: FakeControl) -> Ask:
    """Return a function (method, path, host=..., names=..., **header fields) that asks the admin application."""

    def ask(
        method: str,
        path: str,
        host: str = "127.0.0.1:9900",
        names: tuple[str, ...] = (),
        query: str = "",
        content: bytes = b"",
        **fields: str,
    ) -> Answer:
        headers = [(b"host", host.encode("latin-1"))] if host else []
        headers += [(name.replace("_", "-").encode(), value.encode()) for name, value in fields.items()]
        return asyncio.run(_ask(make_app(control, names), method, path, headers, query, content))

    return ask


async def _ask(
    app: Any, method: str, path: str, headers: list[tuple[bytes, bytes]], query: str, content: bytes
) -> Answer:
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": content, "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "root_path": "",
        "headers": headers,
        "client": ("127.0.0.1", 50000),
        "server": ("127.0.0.1", 9900),
    }
    try:
        await app(scope, receive, send)
    except RuntimeError:
        assert sent  # starlette raises a handler's error again once it has answered
    fields = {name.decode().lower(): value.decode() for name, value in sent[0]["headers"]}
    return Answer(sent[0]["status"], fields, b"".join(message.get("body", b"") for message in sent[1:]))
