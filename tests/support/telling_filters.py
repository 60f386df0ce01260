"""Filters that look at, or say, who asks."""

from __future__ import annotations

from edgewise.contracts.filters import Request, Response
from edgewise.contracts.identity import Identity


def seen(request: Request) -> Response:
    """Answer with what a filter sees of who asks."""
    identity = request.identity
    claimed = [name for name, _ in request.headers if name.lower().replace("_", "-") in ("x-user", "x-groups")]
    return Response(200, f"{identity.name if identity else 'nobody'} {claimed}")


def carol(request: Request) -> None:
    """Verify everybody as carol, and name a user in a field that is not a filter's."""
    request.headers["X-User"] = "root"
    request.identity = Identity("carol", "own", groups=frozenset(("staff",)))
