"""Refuses what other sites make a browser ask for (cross-site request forgery), by what the browser says itself."""

from __future__ import annotations

from edgewise.contracts.filters import Request, Response

_SAFE = frozenset(("GET", "HEAD", "OPTIONS", "TRACE"))
"""RFC 9110 section 9.2.1."""
_OWN_SITES = ("same-origin", "none")
"""Of Sec-Fetch-Site (W3C Fetch Metadata): from a page of this origin, or by the user's own hand."""
_DEFAULT_PORTS = {"http": ":80", "https": ":443"}


class SameOrigin:
    """Request filter: methods that change something, and WebSockets, only from pages of the same origin.

    `secure`: cookies are sent over https only, so a page that came by http is not the same origin.
    """

    def __init__(self, *, secure: bool) -> None:
        self._schemes = ("https",) if secure else ("https", "http")

    def request(self, request: Request) -> Response | None:
        """Answer 403 where the request is not shown to come from the same origin."""
        upgraded = (request.headers.get("upgrade") or "").lower() == "websocket"
        if (request.method in _SAFE and not upgraded) or self._is_same(request):
            return None
        fields = (("Cache-Control", "no-store"), ("Content-Type", "text/plain; charset=utf-8"))
        return Response(403, "The request does not come from a page of this site.\n", fields)

    def _is_same(self, request: Request) -> bool:
        sites = request.headers.get_all("sec-fetch-site")
        if sites:
            return len(sites) == 1 and sites[0] in _OWN_SITES
        origins = request.headers.get_all("origin")
        host = request.headers.get("host") or ""
        return len(origins) == 1 and bool(host) and origins[0].lower() in self._own(host.lower())

    def _own(self, host: str) -> list[str]:
        """Return this host as origins, which name no default port (RFC 6454 section 6.2)."""
        return [f"{scheme}://{host.removesuffix(_DEFAULT_PORTS[scheme])}" for scheme in self._schemes]
