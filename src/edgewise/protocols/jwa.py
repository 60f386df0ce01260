"""Signatures of JSON Web Algorithms (RFC 7518 section 3, RFC 8037, RFC 9864): which keys make which, and their check.

A key is bound to the algorithms of its kind when it is read: no token can have a public key used as the secret of an
HMAC, or any key for what it is not (RFC 8725 sections 2.1 and 3.1). `none` is no algorithm.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable
from typing import TypeAlias

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.ed448 import Ed448PublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

PublicKey: TypeAlias = rsa.RSAPublicKey | ec.EllipticCurvePublicKey | Ed25519PublicKey | Ed448PublicKey
Check: TypeAlias = Callable[[bytes, bytes], bool]
"""(signature, data) -> is it the signature?"""

_HASHES: dict[str, hashes.SHA256 | hashes.SHA384 | hashes.SHA512] = {
    "256": hashes.SHA256(),
    "384": hashes.SHA384(),
    "512": hashes.SHA512(),
}
_CURVES: dict[str, tuple[type[ec.EllipticCurve], int]] = {
    "ES256": (ec.SECP256R1, 32),
    "ES384": (ec.SECP384R1, 48),
    "ES512": (ec.SECP521R1, 66),
}
"""Algorithm -> its curve, and the bytes of each half of a signature."""
_RSA = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")
_HMAC = {"HS256": 32, "HS384": 48, "HS512": 64}
"""Algorithm -> bytes of a secret at least (RFC 7518 section 3.2)."""
LEAST_RSA_BITS = 2048
"""RFC 7518 section 3.3."""
_MOST_RSA_BITS = 8192
_MOST_EXPONENT_BITS = 33
"""Larger keys only make whoever verifies work."""

ASYMMETRIC = frozenset((*_RSA, *_CURVES, "EdDSA", "Ed25519", "Ed448"))
SYMMETRIC = frozenset(_HMAC)
ALGORITHMS = ASYMMETRIC | SYMMETRIC
"""Names of all that can be verified."""


def public_checks(key: object) -> dict[str, Check]:
    """Return the check of each algorithm that a key is for. Raises ValueError for a key that is for none."""
    if isinstance(key, rsa.RSAPublicKey):
        return _rsa_checks(key)
    if isinstance(key, ec.EllipticCurvePublicKey):
        found = {name: _ec_check(key, name) for name, (curve, _) in _CURVES.items() if isinstance(key.curve, curve)}
        if not found:
            raise ValueError(f"no algorithm is for the curve {key.curve.name}")
        return found
    if isinstance(key, Ed25519PublicKey):
        return dict.fromkeys(("EdDSA", "Ed25519"), _edwards_check(key))
    if isinstance(key, Ed448PublicKey):
        return dict.fromkeys(("EdDSA", "Ed448"), _edwards_check(key))
    raise ValueError("no algorithm is for keys of this kind")


def secret_checks(secret: bytes) -> dict[str, Check]:
    """Return the check of each HMAC that a secret is long enough for. Raises ValueError."""
    found = {name: _hmac_check(secret, "sha" + name[2:]) for name, least in _HMAC.items() if len(secret) >= least}
    if not found:
        raise ValueError(f"a secret of {len(secret)} bytes is too short: HS256 needs 32 (RFC 7518 section 3.2)")
    return found


def _rsa_checks(key: rsa.RSAPublicKey) -> dict[str, Check]:
    if not LEAST_RSA_BITS <= key.key_size <= _MOST_RSA_BITS:
        raise ValueError(
            f"an RSA key of {key.key_size} bits is not used, of {LEAST_RSA_BITS} to {_MOST_RSA_BITS} it is"
        )
    if key.public_numbers().e.bit_length() > _MOST_EXPONENT_BITS:
        raise ValueError("the exponent of an RSA key is too large")
    return {name: _rsa_check(key, name) for name in _RSA}


def _rsa_check(key: rsa.RSAPublicKey, name: str) -> Check:
    digest = _HASHES[name[2:]]
    scheme: padding.AsymmetricPadding = padding.PKCS1v15()
    if name.startswith("PS"):  # RFC 7518 section 3.5: the salt is as long as the hash
        scheme = padding.PSS(padding.MGF1(digest), digest.digest_size)
    verify = key.verify

    def check(signature: bytes, data: bytes) -> bool:
        try:
            verify(signature, data, scheme, digest)
        except InvalidSignature:
            return False
        return True

    return check


def _ec_check(key: ec.EllipticCurvePublicKey, name: str) -> Check:
    algorithm = ec.ECDSA(_HASHES[name[2:]])
    half = _CURVES[name][1]
    verify = key.verify

    def check(signature: bytes, data: bytes) -> bool:
        if len(signature) != 2 * half:  # RFC 7518 section 3.4: r and s, not DER
            return False
        r, s = int.from_bytes(signature[:half], "big"), int.from_bytes(signature[half:], "big")
        try:
            verify(encode_dss_signature(r, s), data, algorithm)
        except InvalidSignature:
            return False
        return True

    return check


def _edwards_check(key: Ed25519PublicKey | Ed448PublicKey) -> Check:
    verify = key.verify

    def check(signature: bytes, data: bytes) -> bool:
        try:
            verify(signature, data)
        except InvalidSignature:
            return False
        return True

    return check


def _hmac_check(secret: bytes, digest: str) -> Check:
    def check(signature: bytes, data: bytes) -> bool:
        return hmac.compare_digest(signature, hmac.digest(secret, data, digest))

    return check
