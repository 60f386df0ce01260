"""What a session keeps of a login: who it is, by which claims, and apart from that the tokens."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from edgewise.contracts.identity import Identity
from edgewise.gateway.claims import ABSENT, claim
from edgewise.gateway.oidc.id_token import groups_of

if TYPE_CHECKING:
    from edgewise.contracts.logins import LoginSession
    from edgewise.gateway.oidc.client import Client
    from edgewise.gateway.oidc.provider import Tokens

_LOGIN = "oidc"
_TOKENS = "oidc_tokens"
GROUPS = "groups"
"""Where the sessions of the gateway have a user's groups, which routes with `session` tell upstreams."""
_MOST_CLAIM = 1024
"""Bytes of a claim that is kept."""
METHOD = "oidc"
_AHEAD = 30.0
"""Seconds."""


class Kept(msgspec.Struct, frozen=True):
    """A login. Times are Unix seconds."""

    registration: str
    """Provider and client (`Client.registration`)."""
    name: str
    """Of the table."""
    id: str
    """Of this login; with `version`, of what it says."""
    version: int
    sub: str
    sid: str | None
    iat: float
    """Of the ID token."""
    scopes: list[str]
    claims: dict[str, Any]
    until: float
    """When the user must log in again; infinity for as long as the session lasts."""
    expires: float
    """When the access token does; infinity where that is not known."""
    renew: float
    """From when on it is renewed; infinity where there is no refresh token."""

    @property
    def named(self) -> dict[str, Any]:
        """Return the claims by which the provider names it when it ends."""
        return {"sub": self.sub, "sid": self.sid, "iat": self.iat}


class KeptTokens(msgspec.Struct, frozen=True):
    """The tokens of a login."""

    access: str
    refresh: str | None
    id_token: str
    """As a hint at the logout."""


def keep(session: LoginSession, client: Client, claims: Mapping[str, Any], tokens: Tokens, now: float) -> int:
    """Write a login into the session of its user; return how many groups were left out.

    The tokens stay out of a session that is in its cookie (`keep_tokens`).
    """
    spec = client.spec
    groups, left_out = groups_of(claims, spec.groups_claim)
    until = float("inf") if spec.lifetime is None else now + spec.lifetime
    sid = claims.get("sid")
    kept = Kept(
        client.registration,
        client.name,
        secrets.token_urlsafe(12),
        0,
        claims["sub"],
        sid if isinstance(sid, str) and 0 < len(sid) <= 255 else None,
        float(claims["iat"]),
        _scopes(tokens, spec.scopes),
        _claims(claims, spec.claims),
        until,
        _expires(tokens, now),
        float("inf"),
    )
    session[GROUPS] = groups
    session[_LOGIN] = msgspec.to_builtins(kept)
    session[_TOKENS] = None
    return left_out


def keep_tokens(session: LoginSession, client: Client, tokens: Tokens, now: float) -> None:
    """Write the tokens of a login beside it."""
    refresh = tokens.refresh if client.spec.refresh else None
    session[_TOKENS] = msgspec.to_builtins(KeptTokens(tokens.access, refresh, tokens.id_token or ""))
    session[_LOGIN] = {**session.get(_LOGIN, {}), "renew": _renew(tokens, refresh, now)}


def keep_refreshed(
    session: LoginSession, client: Client, kept: Kept, claims: Mapping[str, Any] | None, tokens: Tokens, now: float
) -> None:
    """Write what a refresh brought: tokens, and where an ID token came along, what that says."""
    old = tokens_of(session)
    refresh = tokens.refresh or (old.refresh if old is not None else None)  # not every provider gives a new one
    id_token = tokens.id_token or (old.id_token if old is not None else "")
    changes: dict[str, Any] = {
        "version": kept.version + 1,
        "expires": _expires(tokens, now),
        "renew": _renew(tokens, refresh, now),
    }
    if tokens.scope is not None:
        changes["scopes"] = _scopes(tokens, [])
    if claims is not None:
        spec = client.spec
        changes["claims"] = {**kept.claims, **_claims(claims, spec.claims)}
        if claim(claims, spec.groups_claim) is not ABSENT:
            session[GROUPS] = groups_of(claims, spec.groups_claim)[0]
    session[_LOGIN] = msgspec.to_builtins(msgspec.structs.replace(kept, **changes))
    session[_TOKENS] = msgspec.to_builtins(KeptTokens(tokens.access, refresh, id_token))


def kept_of(session: LoginSession, client: Client) -> Kept | None:
    """Return the login of a client that a session holds; None where it holds none, or one of another."""
    found = session.get(_LOGIN, None)
    if not session.user or not isinstance(found, dict):
        return None
    try:
        kept = msgspec.convert(found, Kept)
    except msgspec.ValidationError:  # of another version
        return None
    return kept if kept.registration == client.registration and kept.name == client.name else None


def tokens_of(session: LoginSession) -> KeptTokens | None:
    """Return the tokens of a login; None where they are not kept."""
    found = session.get(_TOKENS, None)
    return msgspec.convert(found, KeptTokens) if isinstance(found, dict) else None


def identity_of(session: LoginSession, kept: Kept) -> Identity:
    """Return who asks."""
    return Identity(
        session.user,
        METHOD,
        groups=frozenset(session.get(GROUPS, None) or ()),
        scopes=frozenset(kept.scopes),
        claims={**kept.claims, "iss": kept.registration.partition(" ")[0], "sub": kept.sub},
        expires=kept.until,
    )


def _expires(tokens: Tokens, now: float) -> float:
    return float("inf") if tokens.expires_in is None else now + tokens.expires_in


def _renew(tokens: Tokens, refresh: str | None, now: float) -> float:
    """Return when tokens are to be renewed: 30 s ahead, of short-lived ones a quarter of their time."""
    if refresh is None or tokens.expires_in is None:
        return float("inf")
    return now + tokens.expires_in - min(_AHEAD, tokens.expires_in / 4)


def _scopes(tokens: Tokens, asked: list[str]) -> list[str]:
    """Return what was granted: what was asked for, where the answer does not say (RFC 6749 section 5.1)."""
    return sorted(set(tokens.scope.split(" ")) - {""}) if tokens.scope is not None else sorted({"openid", *asked})


def _claims(claims: Mapping[str, Any], names: list[str]) -> dict[str, Any]:
    """Return the claims that are kept, of a bounded size each."""
    found = {name: claim(claims, name) for name in names}
    return {
        name: value
        for name, value in found.items()
        if value is not ABSENT and len(msgspec.json.encode(value)) <= _MOST_CLAIM
    }
