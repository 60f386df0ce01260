"""The admin API as an ASGI application over a `Control`."""

from __future__ import annotations

import re
from collections.abc import Iterable

import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from edgewise.admin.consumers import consumer_routes
from edgewise.admin.content import content, json_answer
from edgewise.admin.control import Control, NothingShared, PurgeOrder, PurgeResult
from edgewise.admin.page import CONTENT_SECURITY_POLICY, render_page
from edgewise.admin.problems import on_failure, on_http_exception, problem
from edgewise.admin.protection import Protection
from edgewise.contracts.state import StateError

_HANDLE = re.compile(r"[0-9a-f]{32,64}")
_MOST_PURGES = 1000
"""Of one request."""
_MOST_URL = 8192
_MOST_NAME = 1024
"""Characters of a user's name."""
_METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_HEADERS = (
    ("Cache-Control", "no-store"),
    ("Content-Security-Policy", CONTENT_SECURITY_POLICY),
    ("Cross-Origin-Resource-Policy", "same-origin"),
    ("Referrer-Policy", "no-referrer"),
    ("X-Content-Type-Options", "nosniff"),
)


def make_app(control: Control, names: Iterable[str] = ()) -> Starlette:
    """Return the application. `names`: host names of the admin address beside localhost and IP addresses."""
    api = _Api(control)
    server = "/api/v1/upstreams/{upstream}/servers/{server:path}"
    return Starlette(
        routes=[
            Route("/", api.page),
            Route("/healthz", api.healthz),
            Route("/readyz", api.readyz),
            Route("/metrics", api.metrics),
            Route("/api/v1/status", api.status),
            Route("/api/v1/upstreams", api.upstreams),
            Route("/api/v1/certificates", api.certificates),
            Route("/api/v1/certificates/{name}/renew", api.renew, methods=["POST"]),
            Route("/api/v1/sessions", api.sessions),
            Route("/api/v1/sessions/revoke", api.revoke, methods=["POST"]),
            *consumer_routes(lambda: control.consumers),
            Route("/api/v1/cache", api.cached),
            Route("/api/v1/cache/purge", api.purge, methods=["POST"]),
            Route("/api/v1/config", api.config),
            Route(f"{server}/drain", api.drain, methods=["POST"]),
            Route(f"{server}/undrain", api.undrain, methods=["POST"]),
            Route("/api/v1/reload", api.reload, methods=["POST"]),
        ],
        middleware=[Middleware(Protection, names=tuple(names), headers=_HEADERS)],
        exception_handlers={HTTPException: on_http_exception, Exception: on_failure},
    )


class _Api:
    """One method an operation."""

    def __init__(self, control: Control) -> None:
        self._control = control

    async def page(self, request: Request) -> Response:
        return HTMLResponse(
            render_page(self._control.status(), self._control.upstreams(), self._control.certificates())
        )

    async def healthz(self, request: Request) -> Response:
        return json_answer({"status": "ok"})

    async def readyz(self, request: Request) -> Response:
        if not self._control.status().ready:
            return problem(503, "not every worker is up")
        return json_answer({"status": "ready"})

    async def metrics(self, request: Request) -> Response:
        return Response(self._control.metrics_text(), headers={"Content-Type": _METRICS_TYPE})

    async def status(self, request: Request) -> Response:
        return json_answer(self._control.status())

    async def upstreams(self, request: Request) -> Response:
        return json_answer({"upstreams": self._control.upstreams()})

    async def certificates(self, request: Request) -> Response:
        return json_answer({"certificates": self._control.certificates()})

    async def renew(self, request: Request) -> Response:
        name, revoke = request.path_params["name"], request.query_params.get("revoke") == "true"
        try:
            self._control.renew(name, revoke=revoke)
        except KeyError:
            return problem(404, f"edgewise keeps no certificate {name}")
        return json_answer({"certificate": name, "revoke": revoke})

    async def sessions(self, request: Request) -> Response:
        user = request.query_params.get("user", "")
        if not 0 < len(user) <= _MOST_NAME:
            return problem(400, "user names whose sessions are wanted")
        try:
            found = await self._control.sessions_of(user, request.query_params.getlist("namespace"))
        except (ValueError, NothingShared, StateError) as error:
            return _no_sessions(error)
        return json_answer({"user": user, "sessions": found})

    async def revoke(self, request: Request) -> Response:
        user, handle = request.query_params.get("user", ""), request.query_params.get("id", "")
        if bool(user) == bool(handle) or len(user) > _MOST_NAME:
            return problem(400, "either user or id says which sessions end")
        namespaces = request.query_params.getlist("namespace")
        try:
            if user:
                return json_answer({"user": user, "ended": await self._control.revoke_sessions(user, namespaces)})
            found = await self._control.revoke_session(handle, namespaces) if _HANDLE.fullmatch(handle) else None
        except (ValueError, NothingShared, StateError) as error:
            return _no_sessions(error)
        if found is None:
            return problem(404, "there is no session of that id")
        return json_answer({"user": found, "id": handle, "ended": 1})

    async def purge(self, request: Request) -> Response:
        try:
            asked = msgspec.json.decode(await content(request), type=_PurgeBody)
            orders = asked.orders()
            result = await self._control.purge(orders, soft=asked.soft, dry_run=asked.dry_run)
        except (msgspec.DecodeError, ValueError) as error:
            return problem(400, str(error))
        except TimeoutError:
            return problem(504, "not every worker has answered")
        except StateError as error:
            detail = f"purged on this node; the others are told once the state engine answers: {error}"
            return problem(503, detail, headers={"Retry-After": "1"})
        if result.late:
            detail = f"purged on {result.nodes} nodes, but these have not said so yet: {', '.join(result.late)}"
            return problem(504, detail, members={"late": result.late})
        if not result.kept:
            return problem(507, "purged, but the cache's disk did not take note: what is there may return by a restart")
        answer = {"purges": len(orders), "soft": asked.soft, "nodes": result.nodes}
        return json_answer(answer | _counted(result) if asked.dry_run else answer)

    async def cached(self, request: Request) -> Response:
        url = request.query_params.get("url", "")
        try:
            if not 0 < len(url) <= _MOST_URL or not url.isascii() or not url.isprintable():
                raise ValueError(f"url names what is looked for, in at most {_MOST_URL} characters of ASCII")
            found = await self._control.cached(url)
        except ValueError as error:
            return problem(400, str(error))
        except TimeoutError:
            return problem(504, "not every worker has answered")
        workers = [{"worker": slot, "routes": routes} for slot, routes in sorted(found.items())]
        return json_answer({"url": url, "workers": workers})

    async def config(self, request: Request) -> Response:
        return json_answer(self._control.effective_config())

    async def drain(self, request: Request) -> Response:
        return self._set_drained(request, True)

    async def undrain(self, request: Request) -> Response:
        return self._set_drained(request, False)

    async def reload(self, request: Request) -> Response:
        result = await self._control.reload()
        if result.problems:
            detail = f"the new configuration has {len(result.problems)} problem(s); the old one stays in force"
            return problem(409, detail, members={"problems": result.problems, "generation": result.generation})
        return json_answer({"generation": result.generation})

    def _set_drained(self, request: Request, on: bool) -> Response:
        key = f"{request.path_params['upstream']}/{request.path_params['server']}"
        try:
            self._control.drain(key, on)
        except KeyError:
            return problem(404, f"no server {key}")
        return json_answer({"server": key, "drained": on})


class _PurgeBody(msgspec.Struct, forbid_unknown_fields=True):
    """What is to be purged: everything that one of these names."""

    urls: list[str] = []
    prefixes: list[str] = []
    hosts: list[str] = []
    tags: list[str] = []
    patterns: list[str] = []
    all: bool = False
    soft: bool = False
    dry_run: bool = False

    def orders(self) -> list[PurgeOrder]:
        """Return one order for each. Raises ValueError for none, or too many."""
        named = {
            "url": self.urls,
            "prefix": self.prefixes,
            "host": self.hosts,
            "tag": self.tags,
            "pattern": self.patterns,
        }
        orders = [PurgeOrder(kind, value) for kind, values in named.items() for value in values]
        orders += [PurgeOrder("all")] if self.all else []
        if not 0 < len(orders) <= _MOST_PURGES:
            raise ValueError(f"a purge names 1 to {_MOST_PURGES} of urls, prefixes, hosts, tags, patterns, or all")
        return orders


def _counted(result: PurgeResult) -> dict[str, object]:
    """Return what a dry run found."""
    found: dict[str, object] = {"dry_run": True, "objects": result.objects}
    if result.on_disk is None:
        return found
    return found | {"on_disk": result.on_disk, "estimated": result.estimated}


def _no_sessions(error: Exception) -> Response:
    if isinstance(error, StateError):
        return problem(503, f"the state engine does not answer: {error}", headers={"Retry-After": "1"})
    return problem(409 if isinstance(error, NothingShared) else 400, str(error))
