"""How an app keeps its sessions."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

LONGEST = 400 * 86400.0
"""Seconds that a session lives at most: what browsers keep a cookie for (RFC 6265bis section 5.5)."""
LEAST_SECRET = 32
"""Characters of a secret at least."""
MOST_BYTES = 60_000
"""Of a stateful session: what fits into a value of a state engine, with room for what comes with the data."""
MOST_ACCESS = 3600.0
MOST_LEEWAY = 60.0
"""Seconds."""
MOST_MEMORY = 1 << 30
_NAMESPACE = re.compile(r"[a-z0-9][a-z0-9-]{0,39}")
_COOKIE_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,80}")
_DOMAIN = re.compile(r"[a-z0-9.-]{1,253}")
_PATH = re.compile(r"/[!-:<-~]{0,200}")


@dataclass(frozen=True, kw_only=True)
class StateSettings:
    """Which engine keeps them, as in [state] of edgewise.toml."""

    url: str = ""
    """"": that of the edgewise which runs this app."""
    patience: float = 2.0
    """Seconds that a call waits for an engine that does not answer."""
    replicas: int = 1
    local_copy: Path | None = None
    allow_eviction: bool = False


@dataclass(frozen=True, kw_only=True)
class SessionSettings:
    """Settings of the sessions of one app. Raises ValueError where they do not fit together. Times are in seconds."""

    kind: Literal["stateful", "stateless", "jwt"] = "stateful"
    """Data on the server under an opaque id, sealed in the cookie, or in a JWT with another one to refresh it."""
    state: StateSettings | None = field(default_factory=StateSettings)
    """None: stateless sessions without a way to end copies of a cookie before they expire."""
    namespace: str = "app"
    """Keeps apps apart that share an engine."""
    secrets: tuple[str, ...] = field(default=(), repr=False)
    """Stateless and JWT (HS256): the first seals or signs, all open. 32 characters or more each, from a source of
    randomness."""
    keys: tuple[str, ...] = field(default=(), repr=False)
    """JWT, in place of secrets: Ed25519 keys in PEM (EdDSA). The first, a private one, signs, all verify."""
    access: float = 300.0
    """JWT: how long an access token is good for."""
    leeway: float = 5.0
    """JWT: by how much the clocks of the nodes may differ."""
    issuer: str = ""
    """JWT: `iss`. By default "edgewise/" and the namespace."""
    jwt_audience: str = ""
    """JWT: `aud`. By default the cookie's domain, else the host that was asked."""
    bearer: bool = False
    """JWT: take access tokens from `Authorization: Bearer` too; the cookies of such a request do not count."""
    idle: float = 86400.0
    """Ends when unused for so long."""
    absolute: float = 14 * 86400.0
    """Ends so long after the login, however much it is used."""
    renew: float = 0.1
    """Fraction of `idle` that passes before use is written down again."""
    grace: float = 10.0
    """How long after a rotation the old id or refresh token is still known for what it was. Stateful: it opens nothing,
    and leaves the cookie alone. JWT: it gets the tokens that took its place, as those may not have arrived."""
    max_bytes: int = 32_768
    """Stateful: bytes of a session at most."""
    memory: int = 32 << 20
    """Stateful, embedded engine: bytes in which each process keeps the sessions it read lately; 0: it keeps none."""
    compress: bool = True
    """Stateless: deflate the data where that makes it smaller."""
    revocation_delay: float = 0.1
    """How long a process may go on with what it read about a user's revoked sessions."""
    when_lost: Literal["refuse", "stale", "anonymous"] = "refuse"
    """When the engine does not answer: raise StateUnavailable; use this node's copy; or go on as if without cookie."""
    cookie: str = ""
    """Name. By default "__Host-session", "__Secure-session" with a domain or path, "session" without `secure`."""
    domain: str = ""
    """"": only the host that set it."""
    path: str = "/"
    secure: bool = True
    """False: over plain HTTP too. Browsers take http://localhost for secure."""
    same_site: Literal["Lax", "Strict", "None"] = "Lax"
    persistent: bool = False
    """Does the cookie outlive the browser?"""

    def __post_init__(self) -> None:
        if not self.cookie:
            object.__setattr__(self, "cookie", self._default_cookie())
        if not 1.0 <= self.idle <= LONGEST or not 1.0 <= self.absolute <= LONGEST:
            raise ValueError("idle and absolute are seconds: 1 to 400 days")
        if not 0.0 <= self.renew <= 0.9:
            raise ValueError("renew is a fraction of idle: 0 to 0.9")
        if not 0.001 <= self.grace <= 60.0:
            raise ValueError("grace is seconds: 0.001 to 60")
        if not 1 <= self.max_bytes <= MOST_BYTES:
            raise ValueError(f"max_bytes is 1 to {MOST_BYTES}")
        if not 0 <= self.memory <= MOST_MEMORY:
            raise ValueError("memory is 0 to 1 GiB")
        if not _NAMESPACE.fullmatch(self.namespace):
            raise ValueError('namespace is 1 to 40 of a-z, 0-9 and "-"')
        self._check_cookie()
        self._check_kind()

    def _default_cookie(self) -> str:
        if not self.secure:
            return "session"
        return "__Host-session" if not self.domain and self.path == "/" else "__Secure-session"

    def _check_cookie(self) -> None:
        """Refuse what browsers would not store (RFC 6265bis section 4.1.3)."""
        name = self.cookie.lower()
        if not _COOKIE_NAME.fullmatch(self.cookie) or not _PATH.fullmatch(self.path):
            raise ValueError("cookie and path are a cookie's name and path")
        if self.domain and not _DOMAIN.fullmatch(self.domain):
            raise ValueError("domain is a host name in lower case")
        if name.startswith("__secure-") and not self.secure:
            raise ValueError(f"a browser stores {self.cookie} only with secure")
        if name.startswith("__host-") and (not self.secure or self.domain or self.path != "/"):
            raise ValueError(f"a browser stores {self.cookie} only with secure, without a domain, and with path '/'")
        if self.same_site == "None" and not self.secure:
            raise ValueError("a browser stores a cookie with SameSite=None only with secure")

    def _check_kind(self) -> None:
        if self.bearer and self.kind != "jwt":
            raise ValueError("only JWT sessions come as bearer tokens")
        if self.kind != "stateless" and self.state is None:
            raise ValueError(f"{self.kind} sessions need a state engine")
        if self.kind == "stateful":
            return
        if self.kind == "jwt":
            self._check_tokens()
        elif not self.secrets:
            raise ValueError("stateless sessions need secrets, of 32 characters or more each")
        if any(len(secret) < LEAST_SECRET for secret in self.secrets) or len(self.secrets) > 16:
            raise ValueError("secrets are 1 to 16, of 32 characters or more each")

    def _check_tokens(self) -> None:
        if bool(self.secrets) == bool(self.keys) or len(self.keys) > 16:
            raise ValueError("JWT sessions need keys or secrets, 1 to 16, and not both")
        if not 1.0 <= self.access <= min(MOST_ACCESS, self.idle):
            raise ValueError("access is seconds: 1 to 3600, and no more than idle")
        if not 0.0 <= self.leeway <= MOST_LEEWAY:
            raise ValueError("leeway is seconds: 0 to 60")
