"""JSON Web Keys (RFC 7517, RFC 7518 section 6, RFC 8037): sets of keys that verify, and the thumbprint of a key."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterable
from typing import Any, NamedTuple

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.ed448 import Ed448PublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key
from cryptography.x509 import load_pem_x509_certificate

from edgewise.protocols.jose import base64url, decoded, json_object
from edgewise.protocols.jwa import ASYMMETRIC, Check, PublicKey, public_checks, secret_checks
from edgewise.protocols.jws import Head

MOST_SET_BYTES = 1 << 18
"""Of a set of keys."""
MOST_KEYS = 256
"""Of a set that are read, the first ones."""
MOST_TRIED = 4
"""Keys that a token which names none is tried with: a forged one must not cost more."""
_CURVES: dict[str, tuple[type[ec.EllipticCurve], int]] = {
    "P-256": (ec.SECP256R1, 32),
    "P-384": (ec.SECP384R1, 48),
    "P-521": (ec.SECP521R1, 66),
}
_EDWARDS: dict[str, type[Ed25519PublicKey | Ed448PublicKey]] = {"Ed25519": Ed25519PublicKey, "Ed448": Ed448PublicKey}
_MOST_NUMBER = 1400
"""Characters of a number of a key."""


class Key(NamedTuple):
    """A key that verifies one or more algorithms."""

    id: str | None
    """None: it is nameless, and may be the one that any token means."""
    checks: dict[str, Check]
    """By the algorithm's name."""
    print: str
    """Equal for equal keys, of which it tells nothing."""


class KeySet:
    """Keys by what tokens say: the id and the algorithm."""

    def __init__(self, keys: Iterable[Key]) -> None:
        self.keys = tuple(keys)
        self.prints = frozenset((key.id, key.print, name) for key in self.keys for name in key.checks)
        """What each key verifies: a set that lacks one of another's verifies less."""
        self._named: dict[tuple[str | None, str], tuple[Check, ...]] = {}
        self._any: dict[str, tuple[Check, ...]] = {}
        for key in self.keys:
            for name, check in key.checks.items():
                place = key.id, name
                self._named[place] = (*self._named.get(place, ()), check)
                self._any[name] = (*self._any.get(name, ()), check)

    def find(self, head: Head) -> tuple[Check, ...]:
        """Return the checks of the keys that a token may mean, at most MOST_TRIED: () where it is none of these."""
        if head.key_id is None:
            found = self._any.get(head.algorithm, ())
            return found if len(found) <= MOST_TRIED else ()
        found = self._named.get((head.key_id, head.algorithm), ())
        return (found or self._named.get((None, head.algorithm), ()))[:MOST_TRIED]


# ---- reading ---------------------------------------------------------------------------------------------------------


def read_key_set(data: bytes, algorithms: Collection[str] = ASYMMETRIC) -> tuple[KeySet, list[str]]:
    """Return the keys of a JWK Set (RFC 7517 section 5) that verify one of `algorithms`, and why others are left out.

    Raises ValueError where it is no set at all; a bad key is passed over.
    """
    if len(data) > MOST_SET_BYTES:
        raise ValueError(f"a set of keys of more than {MOST_SET_BYTES} bytes")
    members = json_object(data).get("keys")
    if not isinstance(members, list):
        raise ValueError("no JWK Set: it has no list of keys")
    keys: list[Key] = []
    left: list[str] = []
    for jwk in members[:MOST_KEYS]:
        try:
            keys.append(read_jwk(jwk, algorithms))
        except ValueError as error:
            left.append(str(error))
    return KeySet(keys), left


def read_jwk(jwk: object, algorithms: Collection[str] = ASYMMETRIC) -> Key:
    """Return the key that a JWK describes, for those of `algorithms` that it is for. Raises ValueError."""
    if not isinstance(jwk, dict):
        raise ValueError("a key that is no JSON object")
    key_id, use, operations = jwk.get("kid"), jwk.get("use", "sig"), jwk.get("key_ops", ["verify"])
    if key_id is not None and not isinstance(key_id, str):
        raise ValueError("a key whose id is no text")
    named = f"the key {key_id[:64]!r}" if key_id is not None else "a key without id"
    if use != "sig" or not isinstance(operations, list) or "verify" not in operations:
        raise ValueError(f"{named} is not for verifying signatures")
    if "d" in jwk:
        raise ValueError(f"{named} is private, and told to everybody who reads the set")
    try:
        checks = secret_checks(_bytes(jwk, "k")) if jwk.get("kty") == "oct" else public_checks(_public_key(jwk))
    except (ValueError, UnsupportedAlgorithm) as error:
        raise ValueError(f"{named}: {error}") from None
    own = jwk.get("alg")
    checks = {name: check for name, check in checks.items() if name in algorithms and own in (None, name)}
    if not checks:
        raise ValueError(f"{named} is for no algorithm that is wanted")
    return Key(key_id, checks, _print(jwk))


def pem_key(data: bytes, algorithms: Collection[str] = ASYMMETRIC) -> Key:
    """Return the nameless key of a public key or a certificate in PEM. Raises ValueError."""
    try:
        if b"-----BEGIN CERTIFICATE-----" in data:
            certified = load_pem_x509_certificate(data).public_key()
            data = certified.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        key = load_pem_public_key(data)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise ValueError(f"not a public key or a certificate in PEM: {error}") from None
    checks = public_checks(key)
    found = {name: check for name, check in checks.items() if name in algorithms}
    if not found:
        raise ValueError("a key for none of the algorithms")
    public = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return Key(None, found, hashlib.sha256(public).hexdigest())


def secret_key(secret: bytes, algorithms: Collection[str]) -> Key:
    """Return the nameless key of a secret. Raises ValueError where it is too short for one of `algorithms`."""
    checks = secret_checks(secret)
    missing = sorted(name for name in algorithms if name not in checks)
    if missing:
        raise ValueError(f"a secret of {len(secret)} bytes is too short for {missing[0]} (RFC 7518 section 3.2)")
    found = {name: check for name, check in checks.items() if name in algorithms}
    return Key(None, found, hashlib.sha256(b"oct" + secret).hexdigest())


def thumbprint(members: dict[str, str]) -> str:
    """Return the thumbprint of a public key (RFC 7638 section 3) from the members that it is made of."""
    text = json.dumps(members, separators=(",", ":"), sort_keys=True)
    return base64url(hashlib.sha256(text.encode()).digest()).decode()


# ---- keys of each type -----------------------------------------------------------------------------------------------


def _public_key(jwk: dict[str, Any]) -> PublicKey:
    kty, crv = jwk.get("kty"), jwk.get("crv")
    if kty == "RSA":
        return rsa.RSAPublicNumbers(_number(jwk, "e"), _number(jwk, "n")).public_key()
    if kty == "EC" and isinstance(crv, str) and crv in _CURVES:
        curve, size = _CURVES[crv]
        x, y = _bytes(jwk, "x"), _bytes(jwk, "y")
        if len(x) != size or len(y) != size:  # RFC 7518 section 6.2.1.2
            raise ValueError("a coordinate of another length than the curve's")
        return ec.EllipticCurvePublicNumbers(int.from_bytes(x, "big"), int.from_bytes(y, "big"), curve()).public_key()
    if kty == "OKP" and isinstance(crv, str) and crv in _EDWARDS:
        return _EDWARDS[crv].from_public_bytes(_bytes(jwk, "x"))
    raise ValueError("a type or curve that is not known")


def _bytes(jwk: dict[str, Any], member: str) -> bytes:
    text = jwk.get(member)
    data = None
    if isinstance(text, str) and 0 < len(text) <= _MOST_NUMBER:
        data = decoded(text.encode(errors="replace"))
    if data is None:
        raise ValueError(f"its {member} is not base64url, or too long")
    return data


def _number(jwk: dict[str, Any], member: str) -> int:
    return int.from_bytes(_bytes(jwk, member), "big")


def _print(jwk: dict[str, Any]) -> str:
    material = {name: jwk[name] for name in ("kty", "crv", "n", "e", "x", "y", "k") if name in jwk}
    return hashlib.sha256(json.dumps(material, sort_keys=True).encode()).hexdigest()
