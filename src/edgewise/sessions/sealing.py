"""Seals a session into a cookie: AES-256-GCM, keys that can be rotated, bound to the cookie's name and host."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import os
import zlib
from collections.abc import Sequence

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_VERSION = b"\x01"
_KEY_ID = 4
_NONCE = 24
_HEAD = len(_VERSION) + _KEY_ID + _NONCE
_TAG = 16
_LEAST, _MOST = 60, 4096
"""Characters of a cookie's value."""
MOST_OPENED = 32_768
"""Bytes of a session at most, once inflated."""
_PLAIN, _DEFLATED = b"\x00", b"\x01"
_WORTHWHILE = 1024
"""Bytes below which deflating is not tried: it would cost more time than all the rest."""


class Sealer:
    """Seals with the first of its secrets, opens with all.

    Layout: version, 4 bytes that name the key, 24 random bytes, what AES-256-GCM made. As in XAES-256-GCM the first 12
    random bytes make a key for this cookie alone out of the secret (by BLAKE2b), and the other 12 are its nonce: by
    itself a nonce of 12 bytes would allow only some 2**32 cookies a secret.
    """

    def __init__(self, secrets: Sequence[str], *, compress: bool = True) -> None:
        keys = [hmac.digest(secret.encode(), b"edgewise session: seal", "sha256") for secret in secrets]
        self._keys = {_key_id(key): key for key in reversed(keys)}
        self._first = keys[0]
        self._head = _VERSION + _key_id(keys[0])
        self._compress = compress

    def seal(self, data: bytes, context: bytes) -> str:
        """Return `data` sealed, for a cookie. It opens only with the same `context`."""
        plain = _PLAIN + data
        if self._compress and len(data) >= _WORTHWHILE:
            plain = min(plain, _DEFLATED + zlib.compress(data, 6), key=len)
        nonce = os.urandom(_NONCE)
        sealed = _cipher(self._first, nonce).encrypt(nonce[12:], plain, self._head + context)
        return base64.urlsafe_b64encode(self._head + nonce + sealed).rstrip(b"=").decode()

    def open(self, text: str, context: bytes) -> bytes | None:
        """Return what was sealed; None where anything at all is not as it was then."""
        data = _decoded(text)
        if data is None or len(data) < _HEAD + _TAG + 1 or data[:1] != _VERSION:
            return None
        key = self._keys.get(data[1 : 1 + _KEY_ID])
        if key is None:
            return None
        nonce = data[_HEAD - _NONCE : _HEAD]
        try:
            plain = _cipher(key, nonce).decrypt(nonce[12:], data[_HEAD:], data[: _HEAD - _NONCE] + context)
        except InvalidTag:
            return None
        return _inflated(plain[1:]) if plain[:1] == _DEFLATED else plain[1:]


def _cipher(key: bytes, nonce: bytes) -> AESGCM:
    return AESGCM(hashlib.blake2b(nonce[:12], key=key, digest_size=32, person=b"edgewise session").digest())


def _key_id(key: bytes) -> bytes:
    return hashlib.sha256(b"edgewise session: key id" + key).digest()[:_KEY_ID]


def _decoded(text: str) -> bytes | None:
    """Return the bytes of base64 in its one shortest form, so that a cookie cannot be written in two ways."""
    if not _LEAST <= len(text) <= _MOST:
        return None
    try:
        data = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except (binascii.Error, ValueError):
        return None
    return data if base64.urlsafe_b64encode(data).rstrip(b"=").decode() == text else None


def _inflated(data: bytes) -> bytes | None:
    inflater = zlib.decompressobj()
    try:
        plain = inflater.decompress(data, MOST_OPENED)
    except zlib.error:
        return None
    return plain if inflater.eof and not inflater.unused_data else None
