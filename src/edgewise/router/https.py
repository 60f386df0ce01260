"""What differs between plain and TLS listeners: challenge answers, the redirect to HTTPS, Strict-Transport-Security."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import TYPE_CHECKING

from edgewise.config.addresses import LISTEN_HOST, parse_address
from edgewise.contracts.plan import Answer, Params, Route
from edgewise.contracts.table import Match, Refusal, TlsContexts
from edgewise.protocols.memo import Memo

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgewise.config.schema import Config, Hsts
    from edgewise.http.head import RequestHead

CHALLENGES = b"/.well-known/acme-challenge/"
"""Where http-01 challenges are answered (RFC 8555 section 8.3)."""
_HTTPS_PORT = 443
_OCTETS = ((b"Content-Type", b"application/octet-stream"),)


class PlainMatch:
    """Matches requests that came without TLS: challenges under way first, then the redirect, then the routes."""

    def __init__(
        self,
        match: Match,
        contexts: TlsContexts,
        routes: tuple[Route, Route],
        port: int | None,
        tokens: Mapping[str, str] | None = None,
    ) -> None:
        """`routes` stand for challenges and redirects; `port` is that of the redirect's URLs, None for no redirect."""
        self._match = match
        self._contexts = contexts
        self._challenge, self._redirect = routes
        self._port = port
        self._tokens = {CHALLENGES + token.encode(): value.encode() for token, value in (tokens or {}).items()}
        # What there is a certificate for changes only by a refresh, and `with_tokens` follows each.
        self._certified: Memo[bool] = Memo(self._is_certified, entries=1024, longest=255)

    def with_tokens(self, tokens: Mapping[str, str]) -> PlainMatch:
        """Return the same that answers these challenges: token -> key authorization."""
        return PlainMatch(self._match, self._contexts, (self._challenge, self._redirect), self._port, tokens)

    def for_peers(self, *, trusted: bool) -> Match:
        """Return how requests of `trusted_proxies` match, or those of all other peers."""
        return self._match_trusted if trusted else self._match_plain

    def _match_trusted(self, head: RequestHead) -> tuple[Route, Params] | Refusal:
        """A trusted proxy in front knows whether the client came by HTTPS."""
        if head.get(b"x-forwarded-proto") == b"http" or head.path.startswith(CHALLENGES):
            return self._match_plain(head)
        return self._match(head)

    def _match_plain(self, head: RequestHead) -> tuple[Route, Params] | Refusal:
        path, host = head.path, head.host
        if path.startswith(CHALLENGES):
            answer = self._tokens.get(path)
            return self._match(head) if answer is None else (self._challenge, {"answer": answer})
        if self._port is None or not self._certified[host] or path == b"*":
            return self._match(head)
        authority = host if self._port == _HTTPS_PORT else b"%b:%d" % (host, self._port)
        return self._redirect, {"location": b"https://%b%b" % (authority, head.target)}

    def _is_certified(self, host: bytes) -> bool:
        return host != b"" and self._contexts.certified(host.decode("latin-1"))


def plain_routes(row: int) -> tuple[Route, Route]:
    """Return the routes that challenges and redirects are counted and logged under; `row` is where they count."""
    challenge, redirect = Route("(acme challenge)", row), Route("(https redirect)", row)
    challenge.answer = lambda head, params, scheme: Answer(200, _OCTETS, params["answer"])
    redirect.answer = lambda head, params, scheme: Answer(308, ((b"Location", params["location"]),), b"")
    return challenge, redirect


def redirect_port(config: Config) -> int | None:
    """Return the port of the URLs that plain requests are sent to; None where they are not redirected."""
    if not config.tls.redirect:
        return None
    if config.tls.redirect_port is not None:
        return config.tls.redirect_port
    for text in config.server.tls_listen:
        address = parse_address(text, LISTEN_HOST)
        if isinstance(address, tuple):
            return address[1]
    return _HTTPS_PORT


class TlsMatch:
    """Matches requests that came over TLS: the same routes, with Strict-Transport-Security on their answers."""

    def __init__(self, match: Match, routes: Sequence[Route], hsts: tuple[bytes, bytes]) -> None:
        self._match = match
        self._routes = {id(route): _with_field(route, hsts) for route in routes}

    @property
    def routes(self) -> tuple[Route, ...]:
        """The routes it leads to."""
        return tuple(self._routes.values())

    def __call__(self, head: RequestHead) -> tuple[Route, Params] | Refusal:
        """Match."""
        found = self._match(head)
        return found if isinstance(found, Refusal) else (self._routes[id(found[0])], found[1])


def _with_field(route: Route, field: tuple[bytes, bytes]) -> Route:
    """Return a copy of a route whose answers, an upstream's or its own, carry the field (RFC 6797 section 7.1)."""
    twin = copy.copy(route)
    twin.response_memos = {}
    name, value = field
    edit = ("set", name.lower(), name + b": " + value + b"\r\n")
    own = len(route.response_edits) - len(route.client_edits)
    twin.response_edits = (*route.response_edits[:own], edit, *route.client_edits)
    answer = route.answer
    if answer is not None:

        def answer_with_field(head: RequestHead, params: Params, scheme: bytes) -> Answer:
            made = answer(head, params, scheme)
            return made._replace(fields=(*made.fields, field))

        twin.answer = answer_with_field
    return twin


def hsts_field(hsts: Hsts) -> tuple[bytes, bytes]:
    """Return the field Strict-Transport-Security (RFC 6797 section 6.1)."""
    parts = [f"max-age={hsts.max_age}"]
    parts += ["includeSubDomains"] if hsts.include_subdomains else []
    parts += ["preload"] if hsts.preload else []
    return b"Strict-Transport-Security", "; ".join(parts).encode()
