"""Seals what nodes keep in a state engine: who can read or write the engine learns nothing and can forge nothing."""

from __future__ import annotations

import hmac
import os
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

LEAST_SECRET = 32
"""Bytes of the secret that nodes have in common, at least."""
OVERHEAD = 29
"""Bytes that sealing adds."""
_MOST_SECRET = 4096
_VERSION = b"\x01"
_NONCE = 12
_TAG = 16


class NoSecretError(Exception):
    """The secret that nodes have in common cannot be read; the text says why."""


class Sealer:
    """AES-256-GCM under a key derived from the nodes' secret and a purpose, each value bound to where it is kept.

    A nonce is random: with some thousand values a year, 2**32 under one key are never reached.
    """

    def __init__(self, secret: bytes, purpose: str) -> None:
        self._cipher = AESGCM(hmac.digest(secret, f"edgewise {purpose}: seal".encode(), "sha256"))
        self.group = hmac.digest(secret, f"edgewise {purpose}: group".encode(), "sha256")[:8].hex()
        """Names the nodes that have this secret: those with another one share nothing with them."""

    def seal(self, plain: bytes, place: str) -> bytes:
        """Return `plain` sealed; it opens only with the same `place`."""
        nonce = os.urandom(_NONCE)
        return _VERSION + nonce + self._cipher.encrypt(nonce, plain, _VERSION + place.encode())

    def open(self, sealed: bytes, place: str) -> bytes | None:
        """Return what was sealed; None where it was not, or not with this secret for this place."""
        if len(sealed) < len(_VERSION) + _NONCE + _TAG or sealed[:1] != _VERSION:
            return None
        nonce, rest = sealed[1 : 1 + _NONCE], sealed[1 + _NONCE :]
        try:
            return self._cipher.decrypt(nonce, rest, _VERSION + place.encode())
        except InvalidTag:
            return None


def read_secret(text: str | None, file: str | None) -> bytes:
    """Return the secret that a configuration gives as a text or names as a file. Raises NoSecretError."""
    if text is not None:
        return text.encode()
    if file is None:
        raise NoSecretError("no secret is configured")
    try:
        with Path(file).open("rb") as opened:
            secret = opened.read(_MOST_SECRET + 1).rstrip(b"\r\n")
    except OSError as error:
        raise NoSecretError(f"{file}: {error.strerror or error}") from error
    if not LEAST_SECRET <= len(secret) <= _MOST_SECRET:
        raise NoSecretError(f"{file}: a secret has {LEAST_SECRET} to {_MOST_SECRET} bytes")
    return secret
