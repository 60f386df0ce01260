"""Tokens against cross-site request forgery: bound to a session, another text each time they are written.

A page that shows the same secret in each of its compressed answers tells it to who can measure their length (BREACH);
so each token is the secret under a mask of its own.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import re
import secrets

SAFE_METHODS = frozenset(("GET", "HEAD", "OPTIONS", "TRACE"))
"""They change nothing, so they need no token (RFC 9110 section 9.2.1)."""
FIELD = "X-CSRF-Token"
"""Header field in which scripts send the token."""
FORM_FIELD = "csrf_token"
KEY = "_csrf"
"""Key of a session under which its secret is kept."""
_BYTES = 32
_TOKEN = re.compile(r"[A-Za-z0-9_-]{86}")
_SECRET = re.compile(r"[A-Za-z0-9_-]{43}")


def new_secret() -> str:
    """Return the secret of a session: 256 random bits."""
    return secrets.token_urlsafe(_BYTES)


def masked(secret: str) -> str:
    """Return a token for a secret; each call returns another one."""
    mask = secrets.token_bytes(_BYTES)
    token = mask + _xor(mask, _decoded(secret))
    return base64.urlsafe_b64encode(token).rstrip(b"=").decode()


def matches(token: str | None, secret: object) -> bool:
    """Is this a token for the secret? Takes the same time whichever part of it is wrong."""
    if token is None or not _TOKEN.fullmatch(token) or not isinstance(secret, str) or not _SECRET.fullmatch(secret):
        return False
    try:
        data = _decoded(token)
        wanted = _decoded(secret)
    except binascii.Error:
        return False
    return hmac.compare_digest(_xor(data[:_BYTES], data[_BYTES:]), wanted)


def _decoded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def _xor(one: bytes, other: bytes) -> bytes:
    return (int.from_bytes(one, "big") ^ int.from_bytes(other, "big")).to_bytes(_BYTES, "big")
