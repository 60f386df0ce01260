"""What apps tell the gateway about who logs in, and what it tells upstreams: fields, or a short-lived JWT."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from typing import Protocol

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from edgewise.contracts.filters import Headers
from edgewise.sessions.jwt import Ed25519Key, TokenKeys

CONTROL = "X-Edgewise-Session"
"""Field of an app's answer: `end`, or who logs in as JSON. It never comes from a client nor goes to one."""
_JWT_SECONDS = 60
_TYPE = "JWT"
_MOST_BYTES = 4096
_MOST_GROUPS = 64
_USER = re.compile(r"[!-~]{1,256}")
_GROUP = re.compile(r"[!-+\--~]{1,64}")


class Login(msgspec.Struct, forbid_unknown_fields=True):
    """Who logs in: `{"user": "alice", "groups": ["staff"]}`. Visible ASCII; no comma in a group."""

    user: str
    groups: list[str] = []


_decode = msgspec.json.Decoder(Login).decode


def parse_control(values: Sequence[str]) -> Login | None:
    """Return who logs in by the control fields of an answer; None: the session ends. Raises ValueError."""
    if len(values) != 1 or len(values[0]) > _MOST_BYTES:
        raise ValueError(f"{CONTROL} must be there once, with at most {_MOST_BYTES} bytes")
    if values[0] == "end":
        return None
    try:
        login = _decode(values[0])
    except msgspec.MsgspecError as error:
        raise ValueError(f'{CONTROL} is neither "end" nor who logs in: {error}') from None
    if not _USER.fullmatch(login.user) or len(login.groups) > _MOST_GROUPS:
        raise ValueError(f"{CONTROL}: the user is 1 to 256 visible ASCII characters, groups are at most {_MOST_GROUPS}")
    if not all(_GROUP.fullmatch(group) for group in login.groups):
        raise ValueError(f"{CONTROL}: a group is 1 to 64 visible ASCII characters without a comma")
    return login


class Identity(Protocol):
    """Tells upstreams who asks."""

    @property
    def names(self) -> tuple[str, ...]:
        """Fields that only the gateway may write."""

    def write(self, headers: Headers, user: str, groups: Sequence[str], audience: str) -> None:
        """Add the fields of a user who was verified."""


class IdentityFields:
    """The user's name and groups in fields of their own."""

    def __init__(self, user: str, groups: str) -> None:
        self.names: tuple[str, ...] = (user, groups)

    def write(self, headers: Headers, user: str, groups: Sequence[str], audience: str) -> None:
        """Add them; a user without groups has no field for them."""
        headers.add(self.names[0], user)
        if groups:
            headers.add(self.names[1], ",".join(groups))


class IdentityToken:
    """A JWT good for 60 s (RFC 7519), signed with Ed25519 (EdDSA, RFC 8037). `clock` returns Unix time.

    `others` are the names of the fields that it takes the place of: an upstream that reads them too is not deceived.
    """

    def __init__(
        self,
        name: str,
        key: Ed25519PrivateKey,
        *,
        issuer: str,
        others: tuple[str, ...] = (),
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.names: tuple[str, ...] = (name, *others)
        self._keys = TokenKeys([Ed25519Key(key)], [_TYPE])
        self._issuer = issuer
        self._clock = clock

    def write(self, headers: Headers, user: str, groups: Sequence[str], audience: str) -> None:
        """Add a token signed now; `audience` is the route."""
        now = int(self._clock())
        claims = {
            "iss": self._issuer,
            "aud": audience,
            "sub": user,
            "groups": list(groups),
            "iat": now,
            "exp": now + _JWT_SECONDS,
        }
        headers.add(self.names[0], self._keys.sign(msgspec.json.encode(claims), _TYPE))
