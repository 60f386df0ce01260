"""Signed requests: JSON Web Signature with ES256 (RFC 7515, RFC 7518 section 3.4, RFC 8555 section 6.2)."""

from __future__ import annotations

import base64
import hmac
import json
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from edgewise.protocols.jose import base64url
from edgewise.protocols.jwk import thumbprint

_COORDINATE = 32
"""Bytes of a coordinate on P-256."""


def encode(data: bytes) -> str:
    """Return base64url without padding (RFC 7515 section 2)."""
    return base64url(data).decode()


def decode(text: str) -> bytes:
    """Return the bytes of base64url with or without padding. Raises ValueError."""
    return base64.b64decode(text.rstrip("=") + "=" * (-len(text.rstrip("=")) % 4), altchars=b"-_", validate=True)


class AccountKey:
    """The key of an account at an authority (ECDSA P-256)."""

    def __init__(self, key: ec.EllipticCurvePrivateKey) -> None:
        self._key = key
        point = key.public_key().public_numbers()
        self.jwk = {
            "crv": "P-256",
            "kty": "EC",
            "x": encode(point.x.to_bytes(_COORDINATE, "big")),
            "y": encode(point.y.to_bytes(_COORDINATE, "big")),
        }
        """The public key (RFC 7517)."""

    @classmethod
    def generate(cls) -> AccountKey:
        """Make a new key."""
        return cls(ec.generate_private_key(ec.SECP256R1()))

    @classmethod
    def load(cls, pem: bytes) -> AccountKey:
        """Read what `pem` returned. Raises ValueError."""
        key = load_pem_private_key(pem, None)
        if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
            raise ValueError("not a P-256 key")
        return cls(key)

    def pem(self) -> bytes:
        """Return the private key (PKCS 8, PEM)."""
        return self._key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())

    @property
    def thumbprint(self) -> str:
        """SHA-256 of the public key in its canonical form (RFC 7638)."""
        return thumbprint(self.jwk)

    def sign(self, url: str, nonce: str, payload: Any, account: str | None) -> bytes:
        """Return the body of a POST to `url`.

        `payload` None is POST-as-GET. Without `account` (the account's URL) the key itself goes along.
        """
        key: dict[str, Any] = {"jwk": self.jwk} if account is None else {"kid": account}
        protected = encode(_json({"alg": "ES256", "nonce": nonce, "url": url, **key}))
        content = "" if payload is None else encode(_json(payload))
        signature = self._key.sign(f"{protected}.{content}".encode(), ec.ECDSA(hashes.SHA256()))
        r, s = decode_dss_signature(signature)
        raw = r.to_bytes(_COORDINATE, "big") + s.to_bytes(_COORDINATE, "big")
        return _json({"protected": protected, "payload": content, "signature": encode(raw)})

    def bound_to(self, key_id: str, hmac_key: str, url: str) -> dict[str, str]:
        """Return the binding to an external account (RFC 8555 section 7.3.4). Raises ValueError (bad `hmac_key`)."""
        protected = encode(_json({"alg": "HS256", "kid": key_id, "url": url}))
        payload = encode(_json(self.jwk))
        signature = hmac.digest(decode(hmac_key), f"{protected}.{payload}".encode(), "sha256")
        return {"protected": protected, "payload": payload, "signature": encode(signature)}


def _json(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()
