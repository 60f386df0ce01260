"""Tokens against cross-site request forgery for sessions held by the gateway: given to the app, asked of its pages."""

from __future__ import annotations

from collections.abc import Callable

from edgewise.contracts.filters import Request, Response
from edgewise.sessions.csrf import FIELD, KEY, SAFE_METHODS, masked, matches
from edgewise.sessions.session import Session

_REFUSED = (("Cache-Control", "no-store"), ("Content-Type", "text/plain; charset=utf-8"))


class FormTokens:
    """Tells the upstream a token for its pages with each request of a session, and refuses changes without one.

    `otherwise` checks what no token can be asked of: WebSockets, which browsers open without a page's own fields, and
    requests that have no session, or one without a secret.
    """

    def __init__(self, otherwise: Callable[[Request], Response | None]) -> None:
        self._otherwise = otherwise

    def check(self, request: Request, session: Session | None) -> Response | None:
        """Answer 403 where a request is not shown to come from a page of its session."""
        told = request.headers.get_all(FIELD)
        if told:
            del request.headers[FIELD]
        secret = None if session is None else session.get(KEY)
        if not isinstance(secret, str):
            return self._otherwise(request)
        if request.method not in SAFE_METHODS:
            if len(told) != 1 or not matches(told[0], secret):
                return Response(403, f"The request needs {FIELD} with a token of this session.\n", _REFUSED)
        elif request.headers.get("upgrade") is not None:
            refused = self._otherwise(request)
            if refused is not None:
                return refused
        request.headers.add(FIELD, masked(secret))
        return None
