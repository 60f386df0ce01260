"""Seals what nodes share of certificates: who keeps or reads the state engine learns no key and can forge nothing.

Challenges are sealed too, not for secrecy: nodes answer what they find there, so whoever could write one would get
certificates for these hosts.
"""

from __future__ import annotations

import hmac
import os
from pathlib import Path
from typing import TYPE_CHECKING

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from edgewise.tls.errors import TlsError

if TYPE_CHECKING:
    from edgewise.config.schema import Acme

_LEAST_SECRET, _MOST_SECRET = 32, 4096
"""Bytes of the secret that nodes have in common."""
_VERSION = b"\x01"
_NONCE = 12
_TAG = 16


class Sealer:
    """AES-256-GCM under a key derived from the nodes' secret, each value bound to where it is kept.

    A nonce is random. Some thousand values a year are sealed, and 2**32 would be safe.
    """

    def __init__(self, secret: bytes) -> None:
        self._cipher = AESGCM(hmac.digest(secret, b"edgewise certificates: seal", "sha256"))
        self.group = hmac.digest(secret, b"edgewise certificates: group", "sha256")[:8].hex()
        """Names the nodes that have this secret: those with another one share nothing with them."""

    def seal(self, plain: bytes, place: str) -> bytes:
        """Return `plain` sealed; it opens only with the same `place`."""
        nonce = os.urandom(_NONCE)
        return _VERSION + nonce + self._cipher.encrypt(nonce, plain, _VERSION + place.encode())

    def open(self, sealed: bytes, place: str) -> bytes:
        """Return what was sealed. Raises ValueError where it was not, or not with this secret for this place."""
        nonce, rest = sealed[1 : 1 + _NONCE], sealed[1 + _NONCE :]
        try:
            if sealed[:1] == _VERSION and len(rest) >= _TAG:
                return self._cipher.decrypt(nonce, rest, _VERSION + place.encode())
        except InvalidTag:
            pass
        raise ValueError("it was not sealed with this share_key, or for another place")


def share_secret(settings: Acme) -> bytes | None:
    """Return the secret that this node has in common with others; None where it shares nothing. Raises TlsError."""
    if settings.share_key is not None:
        return settings.share_key.encode()
    if settings.share_key_file is None:
        return None
    try:
        with Path(settings.share_key_file).open("rb") as file:
            secret = file.read(_MOST_SECRET + 1).rstrip(b"\r\n")
    except OSError as error:
        raise TlsError(f"{settings.share_key_file}: {error.strerror or error}") from error
    if not _LEAST_SECRET <= len(secret) <= _MOST_SECRET:
        raise TlsError(f"{settings.share_key_file}: a secret has {_LEAST_SECRET} to {_MOST_SECRET} bytes")
    return secret
