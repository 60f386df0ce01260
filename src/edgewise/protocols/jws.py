"""Signed tokens in compact form (RFC 7515 sections 3.1 and 7.1), read before anything of them is believed."""

from __future__ import annotations

from typing import Any, NamedTuple

from edgewise.protocols.jose import decoded, json_object
from edgewise.protocols.memo import Memo

MOST_BYTES = 8192
"""Of a token, where nobody says otherwise."""
_MOST_HEAD = 2048
_MOST_KEY_ID = 256


class TokenError(Exception):
    """A token is not good; the text is fit for whoever sent it, printable ASCII without quotes."""


class Head(NamedTuple):
    """The protected header, as far as it has a say: not in which key is used, only in which of ours is meant."""

    algorithm: str
    key_id: str | None
    typ: str
    """Media type in lower case without `application/` (RFC 7515 section 4.1.9), "" where it is not told."""


class Jws(NamedTuple):
    """The parts of a token, its signature not verified."""

    head: Head
    payload: bytes
    """As it stands in the token, to be decoded once it is verified."""
    signature: bytes
    signed: bytes
    """What is signed."""

    @property
    def content(self) -> bytes:
        """The payload. Raises TokenError."""
        content = decoded(self.payload)
        if content is None:
            raise TokenError("The token is not base64url in its one form.")
        return content


def read_jws(token: bytes, most: int = MOST_BYTES) -> Jws:
    """Return the parts of a token of at most `most` bytes. Raises TokenError."""
    if len(token) > most:
        raise TokenError("The token is too long.")
    parts = token.split(b".")
    if len(parts) != 3:
        raise TokenError("The token is no signed JWT of three parts.")
    head, payload, signature = parts
    code = decoded(signature)
    if not code:
        raise TokenError("The token has no signature in base64url.")
    found = _heads[head]
    if isinstance(found, str):
        raise TokenError(found)
    return Jws(found, payload, code, token[: -len(signature) - 1])


def json_claims(jws: Jws) -> dict[str, Any]:
    """Return the claims of a token that was verified (RFC 7519 section 7.2). Raises TokenError."""
    try:
        return json_object(jws.content)
    except ValueError:
        raise TokenError("The claims of the token are not a JSON object that says each thing once.") from None


def _read_head(text: bytes) -> Head | str:
    """Return the header, or why it is refused.

    What it says of keys (`jku`, `jwk`, `x5u`, `x5c`) is not looked at; extensions that must be understood (`crit`,
    `b64`) and encrypted or compressed tokens (`enc`, `zip`) are refused.
    """
    data = decoded(text) if len(text) <= _MOST_HEAD else None
    if data is None:
        return "The header of the token is too long or not base64url."
    try:
        members = json_object(data)
    except ValueError:
        return "The header of the token is not a JSON object that says each thing once."
    if not members.keys().isdisjoint(("crit", "b64", "enc", "zip")):
        return "The token asks for an extension that is not supported."
    algorithm, key_id, typ = members.get("alg"), members.get("kid"), members.get("typ", "")
    if not isinstance(algorithm, str) or not isinstance(typ, str):
        return "The header of the token names no algorithm, or a type that is no text."
    if "kid" in members and not (isinstance(key_id, str) and len(key_id) <= _MOST_KEY_ID):
        return "The key id of the token is no text, or too long."
    return Head(algorithm, key_id, typ.lower().removeprefix("application/"))


_heads: Memo[Head | str] = Memo(
    _read_head, entries=256, longest=_MOST_HEAD, keep=lambda found: not isinstance(found, str)
)
