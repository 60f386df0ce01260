"""Keeps web pages of other origins away from the admin address: DNS rebinding and cross-site requests.

A browser sends the name it looked up as Host: a name that is not ours means that a foreign one was made to resolve to
this address. And it sends Origin with each cross-site POST.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from edgewise.admin.problems import problem

_SAFE = frozenset(("GET", "HEAD", "OPTIONS"))
_OWN_SITE = frozenset(("same-origin", "none"))


class Protection:
    """ASGI middleware that refuses foreign hosts and origins, and adds security headers to every response.

    `names` are the host names beside `localhost` and IP addresses under which the admin address may be used.
    """

    def __init__(self, app: ASGIApp, names: Iterable[str] = (), headers: Iterable[tuple[str, str]] = ()) -> None:
        self._app = app
        self._names = frozenset(name.lower().rstrip(".") for name in names) | {"localhost"}
        self._headers = tuple(headers)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one ASGI connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in self._headers:
                    headers.setdefault(name, value)
            await send(message)

        headers = Headers(scope=scope)
        refusal = self.refusal(scope["method"], headers)
        app = self._app if refusal is None else problem(*refusal)
        await app(scope, receive, send_with_headers)

    def refusal(self, method: str, headers: Headers) -> tuple[int, str] | None:
        """Return (status, detail) of the refusal of a request, or None where it may go on."""
        hosts = headers.getlist("host")
        if len(hosts) != 1 or not self._is_own_host(hosts[0]):
            return 421, "the Host is neither an IP address, localhost nor a configured name of the admin address"
        if method in _SAFE:
            return None
        origins = headers.getlist("origin")
        if any(not _is_origin_of(origin, hosts[0]) for origin in origins):
            return 403, "requests from pages of another origin may change nothing"
        if headers.get("sec-fetch-site", "none") not in _OWN_SITE:
            return 403, "requests from pages of another site may change nothing"
        return None

    def _is_own_host(self, authority: str) -> bool:
        host = _host_of(authority)
        return host is not None and (_is_address(host) or host.rstrip(".") in self._names)


def _is_origin_of(origin: str, authority: str) -> bool:
    scheme, separator, rest = origin.partition("://")
    return bool(separator) and scheme in ("http", "https") and rest.lower() == authority.lower()


def _host_of(authority: str) -> str | None:
    """Return the lower-case host of `host[:port]`, brackets of an IPv6 address removed; None for anything else."""
    try:
        parts = urlsplit(f"//{authority}")
        port_is_sound = parts.port is None or parts.port >= 0
    except ValueError:
        return None
    if not port_is_sound or parts.netloc != authority or "@" in authority or parts.path or parts.query:
        return None
    return parts.hostname


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
