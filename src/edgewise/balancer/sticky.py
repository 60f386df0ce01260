"""Keeps a client on its endpoint by a signed cookie."""

from __future__ import annotations

import hmac
from base64 import urlsafe_b64encode

from edgewise.balancer.cookies import cookie_reader
from edgewise.balancer.observing import observer_of
from edgewise.contracts.balancing import BalancingPolicy
from edgewise.contracts.endpoint import Endpoint, Move
from edgewise.contracts.exchange import Exchange

MAC_BYTES = 16
"""Bytes kept of HMAC-SHA256 (RFC 2104 section 5 allows truncation to half)."""
_MOST_SEEN = 1024
"""Endpoints that are known to have been there."""
_TOKEN = rb"[A-Za-z0-9_-]{22}"


def sticky_token(secret: bytes, endpoint_key: str) -> bytes:
    """Return the cookie value that names an endpoint: a keyed hash, so it can be neither forged nor read."""
    mac = hmac.digest(secret, b"edgewise sticky\0" + endpoint_key.encode(), "sha256")[:MAC_BYTES]
    return urlsafe_b64encode(mac).rstrip(b"=")


class Sticky:
    """Wraps any policy: it chooses for new clients and for those whose endpoint is not available.

    The cookie holds nothing but a keyed hash of the endpoint's key; with the same `secret` it outlives a restart.
    """

    def __init__(
        self,
        policy: BalancingPolicy,
        secret: bytes,
        *,
        cookie: str = "ew",
        secure: bool = False,
        max_age: float | None = None,
    ) -> None:
        """Raise ValueError for an empty secret or a bad cookie name; `max_age` in seconds, None: a session cookie."""
        if not secret:
            raise ValueError("a sticky cookie needs a secret")
        self.policy = policy
        self._observe = observer_of(policy)
        self._secret = secret
        self._cookie = cookie.encode()
        self._read = cookie_reader(cookie, _TOKEN)
        lifetime = b"" if max_age is None else b"; Max-Age=%d" % max_age
        self._attributes = b"; Path=/" + lifetime + b"; HttpOnly; SameSite=Lax" + (b"; Secure" if secure else b"")
        self._by_token: dict[bytes, Endpoint] = {}
        self._lines: dict[Endpoint, bytes] = {}
        self._seen: dict[bytes, Endpoint] = {}
        """Endpoints that cookies may name, those among them that clients may not stay on now."""

    def update(self, endpoints: tuple[Endpoint, ...]) -> None:
        """Take the endpoints clients may stay on."""
        tokens = [sticky_token(self._secret, endpoint.key) for endpoint in endpoints]
        self._by_token = dict(zip(tokens, endpoints, strict=True))
        self._seen = dict([*(self._seen | self._by_token).items()][-_MOST_SEEN:])
        self._lines = {
            endpoint: b"Set-Cookie: " + self._cookie + b"=" + token + self._attributes + b"\r\n"
            for token, endpoint in self._by_token.items()
        }
        self.policy.update(endpoints)

    def pick(self, exchange: Exchange) -> Endpoint | None:
        """Return the endpoint the request's cookie names, else let the policy choose and set `exchange.set_cookie`."""
        token = self._read(exchange.plan.request)
        known = self._by_token.get(token) if token is not None else None
        if known is not None and known not in exchange.tried:
            exchange.set_cookie = b""
            return known
        chosen = self.policy.pick(exchange)
        # A retry may end where the cookie points after all: nothing to issue then.
        exchange.set_cookie = b"" if chosen is None or chosen is known else self._lines[chosen]
        if token is not None and chosen is not None and chosen is not known:
            self._count_move(token, known, chosen, exchange)
        return chosen

    def _count_move(self, token: bytes, known: Endpoint | None, chosen: Endpoint, exchange: Exchange) -> None:
        """Count a client that leaves its endpoint, once: not at later attempts, nor at one that only hedges."""
        if exchange.primary is not None or len(exchange.tried) > (known is not None):
            return
        chosen.moved[Move.FAILED if known is not None else self._why_not(self._seen.get(token))] += 1

    @staticmethod
    def _why_not(endpoint: Endpoint | None) -> Move:
        """Return the reason why the endpoint of a cookie is not among those that clients may stay on."""
        if endpoint is None or endpoint.available:
            return Move.BACKUP if endpoint is not None and endpoint.backup else Move.GONE
        if endpoint.drained:
            return Move.DRAINED
        return Move.EJECTED if endpoint.health else Move.UNHEALTHY

    def observe(self, endpoint: Endpoint, seconds: float, ok: bool) -> None:
        """Pass the end of an attempt on to a policy that observes."""
        if self._observe is not None:
            self._observe(endpoint, seconds, ok)
