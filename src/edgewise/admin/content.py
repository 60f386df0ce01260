"""Content of requests to the admin API, and of its answers."""

from __future__ import annotations

import msgspec
from starlette.requests import Request
from starlette.responses import Response

_MOST_CONTENT = 1 << 20
"""Bytes of a request's content."""


async def content(request: Request) -> bytes:
    """Return the content of a request. Raises ValueError where there is too much of it."""
    found = b""
    async for piece in request.stream():
        found += piece
        if len(found) > _MOST_CONTENT:
            raise ValueError(f"more than {_MOST_CONTENT} bytes")
    return found


def json_answer(values: object, status: int = 200) -> Response:
    """Return values as JSON."""
    return Response(msgspec.json.encode(values), status, media_type="application/json")
