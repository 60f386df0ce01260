"""The admin API as an ASGI application over a `Control`."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from edgewise.admin.control import Control
from edgewise.admin.page import CONTENT_SECURITY_POLICY, render_page
from edgewise.admin.problems import on_failure, on_http_exception, problem
from edgewise.admin.protection import Protection

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
        return _json({"status": "ok"})

    async def readyz(self, request: Request) -> Response:
        if not self._control.status().ready:
            return problem(503, "not every worker is up")
        return _json({"status": "ready"})

    async def metrics(self, request: Request) -> Response:
        return Response(self._control.metrics_text(), headers={"Content-Type": _METRICS_TYPE})

    async def status(self, request: Request) -> Response:
        return _json(self._control.status())

    async def upstreams(self, request: Request) -> Response:
        return _json({"upstreams": self._control.upstreams()})

    async def certificates(self, request: Request) -> Response:
        return _json({"certificates": self._control.certificates()})

    async def renew(self, request: Request) -> Response:
        name, revoke = request.path_params["name"], request.query_params.get("revoke") == "true"
        try:
            self._control.renew(name, revoke=revoke)
        except KeyError:
            return problem(404, f"edgewise keeps no certificate {name}")
        return _json({"certificate": name, "revoke": revoke})

    async def config(self, request: Request) -> Response:
        return _json(self._control.effective_config())

    async def drain(self, request: Request) -> Response:
        return self._set_drained(request, True)

    async def undrain(self, request: Request) -> Response:
        return self._set_drained(request, False)

    async def reload(self, request: Request) -> Response:
        result = await self._control.reload()
        if result.problems:
            detail = f"the new configuration has {len(result.problems)} problem(s); the old one stays in force"
            return problem(409, detail, members={"problems": result.problems, "generation": result.generation})
        return _json({"generation": result.generation})

    def _set_drained(self, request: Request, on: bool) -> Response:
        key = f"{request.path_params['upstream']}/{request.path_params['server']}"
        try:
            self._control.drain(key, on)
        except KeyError:
            return problem(404, f"no server {key}")
        return _json({"server": key, "drained": on})


def _json(content: object) -> Response:
    return Response(msgspec.json.encode(content), media_type="application/json")
