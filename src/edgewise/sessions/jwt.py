"""JSON Web Tokens (RFC 7519) that only their issuer reads: compact form, one algorithm a key, a head that is fixed.

A token's head must be, byte by byte, one that these keys write. So a token cannot choose its algorithm (`none`, HMAC
keyed with a public key), name a key that is not in the table, or bring one along (`jwk`, `jku`, `x5c`): RFC 8725
sections 3.1, 3.2 and 3.11.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence
from typing import Protocol

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from edgewise.protocols.jose import base64url, decoded
from edgewise.protocols.jwk import thumbprint

MOST_CHARACTERS = 4096
"""Of a token."""


class TokenKey(Protocol):
    """A key that knows its one algorithm."""

    @property
    def algorithm(self) -> str:
        """Name of the algorithm (RFC 7518 section 3.1)."""

    @property
    def id(self) -> str:
        """What tells this key from others: `kid`."""

    def sign(self, data: bytes) -> bytes:
        """Return the signature. Raises ValueError where the key can only verify."""

    def verify(self, signature: bytes, data: bytes) -> bool:
        """Is this the signature?"""


class HmacKey:
    """HS256 (RFC 7518 section 3.2); `secret` has 32 bytes or more."""

    algorithm = "HS256"

    def __init__(self, secret: bytes) -> None:
        self._secret = secret
        self.id = base64url(hashlib.sha256(b"edgewise session: key id" + secret).digest()[:8]).decode()

    def sign(self, data: bytes) -> bytes:
        """Return the code of data."""
        return hmac.digest(self._secret, data, "sha256")

    def verify(self, signature: bytes, data: bytes) -> bool:
        """Is this the code?"""
        return hmac.compare_digest(signature, self.sign(data))


class Ed25519Key:
    """EdDSA (RFC 8037 section 3.1) with a private key, or with a public one that can only verify."""

    algorithm = "EdDSA"

    def __init__(self, key: Ed25519PrivateKey | Ed25519PublicKey) -> None:
        self._private = key if isinstance(key, Ed25519PrivateKey) else None
        self._public = key.public_key() if isinstance(key, Ed25519PrivateKey) else key
        self.id = public_key_id(self._public)

    @property
    def signs(self) -> bool:
        """Is it the private key?"""
        return self._private is not None

    def sign(self, data: bytes) -> bytes:
        """Return the signature. Raises ValueError for a public key."""
        if self._private is None:
            raise ValueError("a public key cannot sign")
        return self._private.sign(data)

    def verify(self, signature: bytes, data: bytes) -> bool:
        """Is this the signature?"""
        try:
            self._public.verify(signature, data)
        except InvalidSignature:
            return False
        return True


class TokenKeys:
    """Signs with the first of its keys, verifies with all; `typ` keeps kinds of tokens apart (RFC 8725, 3.11)."""

    def __init__(self, keys: Sequence[TokenKey], types: Sequence[str]) -> None:
        self._first = keys[0]
        self._heads = {typ: token_head(keys[0], typ) for typ in types}
        self._known = {typ: {token_head(key, typ).decode(): key for key in reversed(keys)} for typ in types}

    def sign(self, claims: bytes, typ: str) -> str:
        """Return the token that says `claims`, which are JSON."""
        signed = self._heads[typ] + b"." + base64url(claims)
        return (signed + b"." + base64url(self._first.sign(signed))).decode()

    def verify(self, token: str, typ: str) -> bytes | None:
        """Return the claims of a token of this type that one of the keys signed; None for anything else."""
        head, _, rest = token.partition(".")
        key = self._known[typ].get(head)
        if key is None or len(token) > MOST_CHARACTERS or not token.isascii():
            return None
        claims, dot, signature = rest.partition(".")
        code = decoded(signature.encode())
        if not dot or code is None or not key.verify(code, f"{head}.{claims}".encode()):
            return None
        return decoded(claims.encode())


def token_head(key: TokenKey, typ: str) -> bytes:
    """Return the head of a key's tokens, as it stands in them."""
    return base64url(msgspec.json.encode({"alg": key.algorithm, "typ": typ, "kid": key.id}))


def load_key(pem: bytes) -> Ed25519PrivateKey:
    """Return the private key in a PEM file. Raises ValueError."""
    try:
        key = load_pem_private_key(pem, None)
    except (ValueError, TypeError) as error:
        raise ValueError(f"not a private key in PEM without a password: {error}") from None
    if not isinstance(key, Ed25519PrivateKey):
        raise ValueError("not an Ed25519 key: make one with `openssl genpkey -algorithm ed25519`")
    return key


def load_token_key(pem: bytes) -> Ed25519Key:
    """Return a private key, or a public one, which can only verify. Raises ValueError."""
    if b"-----BEGIN PUBLIC KEY-----" not in pem:
        return Ed25519Key(load_key(pem))
    try:
        key = load_pem_public_key(pem)
    except ValueError as error:
        raise ValueError(f"not a public key in PEM: {error}") from None
    if not isinstance(key, Ed25519PublicKey):
        raise ValueError("not an Ed25519 key")
    return Ed25519Key(key)


def key_id(key: Ed25519PrivateKey) -> str:
    """Return the JWK thumbprint of a private key's public half; see `public_key_id`."""
    return public_key_id(key.public_key())


def public_key_id(key: Ed25519PublicKey) -> str:
    """Return the JWK thumbprint (RFC 7638, RFC 8037 appendix A.3)."""
    public = base64url(key.public_bytes(Encoding.Raw, PublicFormat.Raw)).decode()
    return thumbprint({"crv": "Ed25519", "kty": "OKP", "x": public})
