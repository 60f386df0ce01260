"""What the tokens of JWT sessions say (RFC 7519 section 4.1), and whether what they say holds now."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import lru_cache
from typing import TypeVar

import msgspec

from edgewise.sessions.jwt import HmacKey, TokenKey, TokenKeys, load_token_key
from edgewise.sessions.session import Encoded
from edgewise.sessions.settings import SessionSettings
from edgewise.sessions.values import decode_value

ACCESS, REFRESH = "access+jwt", "refresh+jwt"
"""`typ`: neither passes for the other, nor for a token of another kind (RFC 8725 section 3.11)."""


class Access(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True, frozen=True):
    """An access token: the session as it was when the token was signed. Times are Unix time."""

    iss: str
    aud: str
    iat: int
    nbf: int
    exp: int
    sid: str
    """Names the session to those who revoke it."""
    created: float
    gen: int
    """Generation of the user's sessions, as of the login."""
    sub: str = ""
    """Who logged in; left out while nobody has."""
    auth_time: float = 0.0
    label: str = ""
    data: dict[str, msgspec.Raw] = {}
    """Each key's value as JSON."""


class Refresh(msgspec.Struct, forbid_unknown_fields=True):
    """A refresh token."""

    iss: str
    aud: str
    iat: int
    exp: int
    sid: str
    number: int
    """Of all that its family had."""


_MOST_REMEMBERED = 2048
"""Access tokens of which is remembered what they say: each comes with every request of its session, and verifying and
reading it takes longer than all the rest. Some 20 MiB, were all as long as they may be."""
Claims = TypeVar("Claims", Access, Refresh)
_encode = msgspec.json.Encoder().encode
_decode_access = msgspec.json.Decoder(Access).decode
_decode_refresh = msgspec.json.Decoder(Refresh).decode
_from_json = msgspec.json.Decoder().decode
_to_msgpack = msgspec.msgpack.Encoder().encode


class Tokens:
    """Signs and verifies the tokens that settings describe. Raises ValueError for keys that cannot be used."""

    def __init__(self, settings: SessionSettings, clock: Callable[[], float] = time.time) -> None:
        self._settings = settings
        self._clock = clock
        self._keys = TokenKeys(token_keys(settings), (ACCESS, REFRESH))
        self.issuer = settings.issuer or f"edgewise/{settings.namespace}"
        self._read = lru_cache(_MOST_REMEMBERED)(self._signed)

    def sign_access(self, claims: Access) -> str:
        """Return an access token."""
        return self._keys.sign(_encode(claims), ACCESS)

    def sign_refresh(self, claims: Refresh) -> str:
        """Return a refresh token; the same claims make the same token."""
        return self._keys.sign(_encode(claims), REFRESH)

    def access(self, token: str, audience: str) -> tuple[Access, Encoded] | None:
        """Return what an access token says, with its data, where it is one of ours, meant for us and good now."""
        found = self._read(token)
        if found is None or not self._holds(found[0], audience, self._settings.access):
            return None
        claims, now, leeway = found[0], self._clock(), self._settings.leeway
        if claims.nbf - leeway > now or claims.created + self._settings.absolute + leeway <= now:
            return None
        return found

    def _signed(self, token: str) -> tuple[Access, Encoded] | None:
        """Return what an access token of ours says, whether or not that holds now; this alone is remembered."""
        claims = self._keys.verify(token, ACCESS)
        access = None if claims is None else _understood(_decode_access, claims)
        return None if access is None else (access, to_encoded(access.data))

    def refresh(self, token: str, audience: str) -> Refresh | None:
        """Return what a refresh token says, where it is one of ours, meant for us and good now."""
        claims = self._keys.verify(token, REFRESH)
        found = None if claims is None else _understood(_decode_refresh, claims)
        return found if found is not None and self._holds(found, audience, self._settings.idle) else None

    def _holds(self, claims: Access | Refresh, audience: str, lifetime: float) -> bool:
        """Is this for us, and good now? Settings that became shorter count for tokens that are out too."""
        now, leeway = self._clock(), self._settings.leeway
        if (claims.iss, claims.aud) != (self.issuer, audience):
            return False
        return claims.iat - leeway <= now < min(claims.exp, claims.iat + lifetime + 1) + leeway


def _understood(decode: Callable[[bytes], Claims], claims: bytes) -> Claims | None:
    try:
        return decode(claims)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None


def token_keys(settings: SessionSettings) -> list[TokenKey]:
    """Return the keys of settings, that which signs first. Raises ValueError."""
    if settings.secrets:
        return [HmacKey(secret.encode()) for secret in settings.secrets]
    keys = [load_token_key(pem.encode()) for pem in settings.keys]
    if not keys[0].signs:
        raise ValueError("the first of the keys signs: it has to be a private one")
    return list(keys)


def to_json(data: Encoded) -> dict[str, msgspec.Raw]:
    """Return values as JSON. Raises ValueError for what JSON cannot write: infinity, and what is no number."""
    converted = {key: msgspec.Raw(_encode(decode_value(value))) for key, value in data.items()}
    for key, value in to_encoded(converted).items():
        if bytes(value) != bytes(data[key]):
            raise ValueError(f"{key!r}: JSON cannot hold this value")
    return converted


def to_encoded(data: dict[str, msgspec.Raw]) -> Encoded:
    """Return values of JSON as a session keeps them."""
    return {key: msgspec.Raw(_to_msgpack(_from_json(value))) for key, value in data.items()}
