"""The keys that sign what upstreams are told of who asks, and their public halves as a JWK set."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import msgspec
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, SECP256R1, EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from edgewise.protocols.jose import base64url
from edgewise.protocols.jwk import thumbprint

_Private: TypeAlias = Ed25519PrivateKey | EllipticCurvePrivateKey | RSAPrivateKey
_LEAST_RSA = 2048
"""Bits of an RSA key (RFC 7518 section 3.3)."""


class SigningKey:
    """A private key with the one algorithm that it signs by."""

    def __init__(self, pem: bytes) -> None:
        """Take a private key of PEM. Raises ValueError for what is none, or none that can be used."""
        self._key = _loaded(pem)
        self.algorithm, self._public = _described(self._key)
        self.id = thumbprint(self._public)
        """Thumbprint of the public key (RFC 7638), for `kid`."""
        head = {"alg": self.algorithm, "typ": "JWT", "kid": self.id}
        self._head = base64url(msgspec.json.encode(head))

    @property
    def jwk(self) -> dict[str, str]:
        """The public key (RFC 7517 section 4)."""
        return {**self._public, "kid": self.id, "alg": self.algorithm, "use": "sig"}

    def sign(self, claims: bytes) -> bytes:
        """Return the JWT that says `claims`, which are JSON (RFC 7515 section 7.1)."""
        signed = self._head + b"." + base64url(claims)
        return signed + b"." + base64url(self._signature(signed))

    def _signature(self, data: bytes) -> bytes:
        key = self._key
        if isinstance(key, Ed25519PrivateKey):
            return key.sign(data)
        if isinstance(key, RSAPrivateKey):
            return key.sign(data, PKCS1v15(), SHA256())
        r, s = decode_dss_signature(key.sign(data, ECDSA(SHA256())))
        return r.to_bytes(32, "big") + s.to_bytes(32, "big")  # RFC 7518 section 3.4


def jwk_set(keys: Sequence[SigningKey]) -> bytes:
    """Return the public keys as JSON (RFC 7517 section 5)."""
    return msgspec.json.encode({"keys": [key.jwk for key in keys]})


def _loaded(pem: bytes) -> _Private:
    try:
        key = load_pem_private_key(pem, None)
    except (ValueError, TypeError) as error:
        raise ValueError("not the PEM of a private key without a password") from error
    if isinstance(key, RSAPrivateKey) and key.key_size >= _LEAST_RSA:
        return key
    if isinstance(key, Ed25519PrivateKey):
        return key
    if isinstance(key, EllipticCurvePrivateKey) and isinstance(key.curve, SECP256R1):
        return key
    raise ValueError(f"neither an Ed25519 key, nor one of P-256, nor an RSA key of {_LEAST_RSA} bits or more")


def _described(key: _Private) -> tuple[str, dict[str, str]]:
    """Return the algorithm, and what a public key must have as a JWK (RFC 7638 section 3.2)."""
    if isinstance(key, Ed25519PrivateKey):
        raw = key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        return "EdDSA", {"crv": "Ed25519", "kty": "OKP", "x": base64url(raw).decode()}
    if isinstance(key, RSAPrivateKey):
        rsa = key.public_key().public_numbers()
        return "RS256", {"e": _number(rsa.e), "kty": "RSA", "n": _number(rsa.n)}
    point = key.public_key().public_numbers()
    x, y = (base64url(value.to_bytes(32, "big")).decode() for value in (point.x, point.y))
    return "ES256", {"crv": "P-256", "kty": "EC", "x": x, "y": y}


def _number(value: int) -> str:
    return base64url(value.to_bytes((value.bit_length() + 7) // 8, "big")).decode()
