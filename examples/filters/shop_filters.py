"""Two small filters: one refuses a request, one edits the answer. Named in edgewise.toml by import path."""

from __future__ import annotations

from edgewise.contracts.filters import Request, Response

BLOCKED_AGENTS = ("badbot", "scraper")


def refuse_bots(request: Request) -> Response | None:
    """Answer 403 to user agents we do not serve; None lets the request go on."""
    agent = (request.headers.get("User-Agent") or "").lower()
    if any(name in agent for name in BLOCKED_AGENTS):
        return Response(403, "Not for robots.\n")
    request.headers["X-Checked"] = "yes"
    return None


class SecurityHeaders:
    """Adds fields every answer should have, unless the app has set its own."""

    fields = (("X-Content-Type-Options", "nosniff"), ("Referrer-Policy", "same-origin"))

    async def response(self, request: Request, response: Response) -> None:
        """Edit the head; the content streams past untouched."""
        for name, value in self.fields:
            if name not in response.headers:
                response.headers.add(name, value)
