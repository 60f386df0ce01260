"""Filters for journeys: each does one thing a user's filter may do, well or badly."""

from __future__ import annotations

import asyncio
from pathlib import Path

from edgewise.contracts.filters import Request, Response


def mark(request: Request) -> None:
    """Add a field with what is known of the request."""
    request.headers["X-Mark"] = f"{request.method} {request.path} {request.client_ip} {request.scheme} {request.route}"
    request.context["marked"] = 1


def move(request: Request) -> None:
    """Send the request elsewhere."""
    request.path, request.query = request.headers.get("X-To") or "/moved", "by=filter"


def trace(request: Request) -> None:
    """Say who traces and who forwards, only where the query asks for it."""
    if request.query == "trace":
        request.headers["traceparent"] = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    if request.headers.get("X-Once") is None:
        request.headers["X-Once"] = "1"


def forbid(request: Request) -> Response:
    """Answer."""
    return Response(403, "no", {"X-Why": "because"}.items())


async def admit(request: Request) -> None:
    """Take a while."""
    await asyncio.sleep(0.2)
    request.headers["X-Admitted"] = "1"


async def hang(request: Request) -> None:
    """Take too long, and leave a note when given up."""
    try:
        await asyncio.sleep(60)
    finally:
        note = request.headers.get("X-Note")
        if note is not None:
            Path(note).write_text("cancelled")


async def stubborn(request: Request) -> None:
    """Take no heed of cancellation."""
    try:
        await asyncio.sleep(60)
    except asyncio.CancelledError:
        return


def broken(request: Request) -> None:
    """Fail."""
    raise RuntimeError("broken on purpose")


def wrong(request: Request) -> str:
    """Return what no filter may return."""
    return "text"


def change_method(request: Request) -> None:
    """Try what is not possible."""
    request.method = "DELETE"


class Stamp:
    """Edits answers."""

    def response(self, request: Request, response: Response) -> None:
        """Set and remove fields."""
        response.headers["X-Stamp"] = request.path
        if "server" in response.headers:
            del response.headers["Server"]


class Status:
    """Changes the status of answers."""

    def response(self, request: Request, response: Response) -> None:
        """Turn 404 into 410."""
        if response.status == 404:
            response.status = 410


class Replace:
    """Answers in place of the server, later."""

    async def response(self, request: Request, response: Response) -> Response:
        """Keep the status in the content."""
        await asyncio.sleep(0.05)
        return Response(200, f"was {response.status}")


class Wait:
    """Looks at answers for a while."""

    async def response(self, request: Request, response: Response) -> None:
        """Change nothing."""
        await asyncio.sleep(0.3)


class Rewrite:
    """Replaces the content alone."""

    def response(self, request: Request, response: Response) -> None:
        """Assign text."""
        response.body = "rewritten"  # type: ignore[assignment]


class Explode:
    """Fails on answers."""

    def response(self, request: Request, response: Response) -> None:
        """Fail."""
        raise RuntimeError("broken on answers")


def no_path(request: Request) -> None:
    """Assign what is no text."""
    request.path = None  # type: ignore[assignment]


def no_headers(request: Request) -> None:
    """Put something else in the place of the headers."""
    request.headers = {"X-Mark": "1"}  # type: ignore[assignment]


async def no_content(request: Request) -> Response:
    """Answer, later, with content that is none."""
    await asyncio.sleep(0)
    return Response(200, 5)  # type: ignore[arg-type]


class NoStatus:
    """Gives answers a status that is no number."""

    def response(self, request: Request, response: Response) -> None:
        """Assign text."""
        response.status = "gone"  # type: ignore[assignment]


class NoHeaders:
    """Takes the headers of answers away, later."""

    async def response(self, request: Request, response: Response) -> None:
        """Assign nothing."""
        await asyncio.sleep(0)
        response.headers = None  # type: ignore[assignment]
