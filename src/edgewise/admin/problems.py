"""Errors as problem details (RFC 9457)."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response


def problem(
    status: int, detail: str, *, headers: Mapping[str, str] | None = None, members: Mapping[str, Any] | None = None
) -> Response:
    """Return a problem of type about:blank (RFC 9457 section 4.2.1) with further members where given."""
    title = HTTPStatus(status).phrase
    content = {"type": "about:blank", "title": title, "status": status, "detail": detail, **(members or {})}
    return Response(msgspec.json.encode(content), status, dict(headers or {}), "application/problem+json")


async def on_http_exception(request: Request, error: Exception) -> Response:
    """Answer what starlette raises: no such path, no such method."""
    if not isinstance(error, HTTPException):
        return await on_failure(request, error)
    return problem(error.status_code, f"{request.method} {request.url.path}: {error.detail}", headers=error.headers)


async def on_failure(request: Request, error: Exception) -> Response:
    """Answer a defect of our own; starlette raises it again, so that it is logged."""
    return problem(500, "the admin address failed; the log has the reason")
