"""Signed tokens and the keys that verify them: the examples of the standards, and whatever is to be refused."""

from __future__ import annotations

import json
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from joserfc.jwk import ECKey, OKPKey, RSAKey

from edgewise.protocols.jose import base64url, decoded
from edgewise.protocols.jwa import ALGORITHMS, ASYMMETRIC, secret_checks
from edgewise.protocols.jwk import (
    MOST_KEYS,
    MOST_SET_BYTES,
    MOST_TRIED,
    KeySet,
    pem_key,
    read_jwk,
    read_key_set,
    secret_key,
    thumbprint,
)
from edgewise.protocols.jws import Head, TokenError, read_jws
from support.jose_vectors import VECTORS


def b64(data: bytes) -> str:
    return base64url(data).decode()


def rsa_jwk(bits: int = 2048, exponent: int = 65537) -> dict[str, Any]:
    numbers = rsa.generate_private_key(exponent, bits).public_key().public_numbers()
    return {"kty": "RSA", "n": b64(numbers.n.to_bytes(bits // 8, "big")), "e": b64(numbers.e.to_bytes(3, "big"))}


EC = ECKey.generate_key("P-256", private=True).as_dict(private=False)
OKP = OKPKey.generate_key("Ed25519", private=True).as_dict(private=False)
RSA_2048 = rsa_jwk()
"""Its e is written in three bytes, as 65537 is."""


def head(**members: Any) -> bytes:
    return base64url(json.dumps(members).encode())


# ---- the examples of the standards -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "algorithm", "jwk", "token"), VECTORS, ids=[row[0] for row in VECTORS])
def test_examples_of_the_standards_verify_and_none_of_their_neighbours_does(
    name: str, algorithm: str, jwk: dict[str, str], token: str
) -> None:
    jws = read_jws(token.encode())
    assert jws.head == Head(algorithm, None, "jwt" if algorithm == "HS256" else "")
    (check,) = KeySet([read_jwk(jwk, ALGORITHMS)]).find(jws.head)
    assert check(jws.signature, jws.signed)
    for at in range(len(jws.signature)):
        changed = bytearray(jws.signature)
        changed[at] ^= 1
        assert not check(bytes(changed), jws.signed)
    assert not check(jws.signature, jws.signed + b"A")
    assert not check(jws.signature[:-1], jws.signed)
    assert not check(b"", jws.signed)


def test_the_thumbprint_is_that_of_the_standard() -> None:
    """RFC 8037 appendix A.3."""
    x = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"
    assert thumbprint({"x": x, "kty": "OKP", "crv": "Ed25519"}) == "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"


# ---- tokens ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "token",
    [
        b"",
        b".",
        b"..",
        b"a.b",
        head(alg="RS256") + b".e30",
        head(alg="RS256") + b".e30.",
        head(alg="RS256") + b".e30.AAAA.",
        head(alg="RS256") + b".e30.AAAA.AAAA.AAAA",
        b"." + head(alg="RS256") + b".e30.AAAA",
        head(alg="RS256") + b".e30.AAA=",
        head(alg="RS256") + b"=.e30.AAAA",
        head(alg="RS256") + b".e30.AAAB\n",
        head(alg="RS256") + b".e30.A+AA",
        b"e30.e30.AAAA",
        b"W10.e30.AAAA",
        base64url(b'{"alg":"RS256","alg":"none"}') + b".e30.AAAA",
        head(alg=None) + b".e30.AAAA",
        head(alg=["RS256"]) + b".e30.AAAA",
        head(alg="RS256", typ=1) + b".e30.AAAA",
        head(alg="RS256", kid=1) + b".e30.AAAA",
        head(alg="RS256", kid=None) + b".e30.AAAA",
        head(alg="RS256", kid=["a"]) + b".e30.AAAA",
        head(alg="RS256", kid="k" * 257) + b".e30.AAAA",
        head(alg="RS256", junk="k" * 3000) + b".e30.AAAA",
        head(alg="RS256", crit=["exp"]) + b".e30.AAAA",
        head(alg="RS256", crit=[]) + b".e30.AAAA",
        head(alg="RS256", b64=False) + b".e30.AAAA",
        head(alg="RS256", b64=True) + b".e30.AAAA",
        head(alg="RSA-OAEP", enc="A256GCM") + b".e30.AAAA",
        head(alg="RS256", zip="DEF") + b".e30.AAAA",
        b"e30.e30." + b"A" * 8192,
    ],
)
def test_what_is_no_signed_token_is_refused(token: bytes) -> None:
    with pytest.raises(TokenError):
        read_jws(token)


def test_what_a_token_says_of_keys_is_not_looked_at() -> None:
    members = {"alg": "ES256", "kid": "a", "typ": "application/AT+JWT"}
    plain = read_jws(head(**members) + b".e30.AAAA")
    brought = read_jws(head(**members, jwk=EC, jku="https://evil.example", x5u="x", x5c=["x"], x5t="x") + b".e30.AAAA")
    assert plain.head == brought.head == Head("ES256", "a", "at+jwt")


# ---- keys ------------------------------------------------------------------------------------------------------------


def test_keys_are_for_the_algorithms_of_their_kind_alone() -> None:
    rs = {"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"}
    assert read_jwk(RSA_2048).checks.keys() == rs
    assert read_jwk(EC).checks.keys() == {"ES256"}
    assert read_jwk(OKP).checks.keys() == {"EdDSA", "Ed25519"}
    assert read_jwk({**RSA_2048, "alg": "RS512"}).checks.keys() == {"RS512"}
    assert read_jwk(RSA_2048, {"PS256", "HS256"}).checks.keys() == {"PS256"}
    assert not ASYMMETRIC & secret_checks(bytes(64)).keys()
    assert "none" not in ALGORITHMS


@pytest.mark.parametrize(
    "jwk",
    [
        None,
        "a",
        {},
        {"kty": "RSA"},
        {"kty": "rsa", **{name: RSA_2048[name] for name in "ne"}},
        {**RSA_2048, "use": "enc"},
        {**RSA_2048, "use": None},
        {**RSA_2048, "key_ops": ["sign"]},
        {**RSA_2048, "key_ops": "verify"},
        {**RSA_2048, "alg": "RSA-OAEP"},
        {**RSA_2048, "alg": "HS256"},
        {**RSA_2048, "kid": 1},
        {**RSA_2048, "n": RSA_2048["n"] + "="},
        {**RSA_2048, "n": "A" * 5000},
        {**RSA_2048, "n": 5},
        {**RSA_2048, "e": "Ag"},
        {**RSA_2048, "e": "AQ"},
        {**RSA_2048, "e": b64(b"\x01" + bytes(8) + b"\x01")},
        rsa_jwk(1024),
        {**EC, "crv": "P-384"},
        {**EC, "crv": "secp256k1"},
        {**EC, "crv": ["P-256"]},
        {**EC, "x": EC["y"]},
        {**EC, "x": b64(b"\x00" + (decoded(str(EC["x"]).encode()) or b""))},
        {**EC, "y": ""},
        {**EC, "alg": "ES384"},
        {**OKP, "crv": "X25519"},
        {**OKP, "x": "AAAA"},
        {**OKP, "d": "AAAA"},
        {"kty": "oct", "k": b64(bytes(64))},
    ],
)
def test_keys_that_are_not_to_be_used_are_refused(jwk: Any) -> None:
    with pytest.raises(ValueError, match=r"."):
        read_jwk(jwk)


def test_a_set_keeps_its_good_keys_beside_bad_ones() -> None:
    members = [{**EC, "kid": "a"}, rsa_jwk(1024), None, {**OKP, "kid": "b"}, {"kty": "new"}]
    keys, left = read_key_set(json.dumps({"keys": members}).encode())
    assert [key.id for key in keys.keys] == ["a", "b"]
    assert len(left) == 3


@pytest.mark.parametrize("data", [b"", b"[]", b"{}", b'{"keys":{}}', b'{"keys":null}', b" " * (MOST_SET_BYTES + 1)])
def test_what_is_no_set_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        read_key_set(data)


def test_of_a_huge_set_the_first_keys_are_read() -> None:
    members = [{**OKP, "kid": str(number)} for number in range(MOST_KEYS + 10)]
    keys, _ = read_key_set(json.dumps({"keys": members}).encode())
    assert len(keys.keys) == MOST_KEYS


def test_keys_are_found_by_id_and_algorithm() -> None:
    named, other, nameless = (read_jwk(key) for key in ({**EC, "kid": "a"}, {**OKP, "kid": "a"}, RSA_2048))
    keys = KeySet([named, other, nameless])
    assert keys.find(Head("ES256", "a", "")) == (named.checks["ES256"],)
    assert keys.find(Head("EdDSA", "a", "")) == (other.checks["EdDSA"],)
    assert keys.find(Head("ES256", None, "")) == (named.checks["ES256"],)
    assert keys.find(Head("ES256", "b", "")) == ()
    assert keys.find(Head("ES384", "a", "")) == ()
    assert keys.find(Head("HS256", "a", "")) == keys.find(Head("none", "a", "")) == ()
    assert keys.find(Head("RS256", "any", "")) == (nameless.checks["RS256"],)


@pytest.mark.parametrize(
    "key_id", ["", "A", "a\x00", "../../../../dev/null", "/proc/sys/kernel/randomize_va_space", "a' OR '1'='1", "a|id"]
)
def test_a_key_id_is_a_name_and_nothing_else(key_id: str) -> None:
    assert KeySet([read_jwk({**EC, "kid": "a"})]).find(Head("ES256", key_id, "")) == ()


def test_a_token_without_key_id_is_not_tried_with_many_keys() -> None:
    keys = [read_jwk({**OKP, "kid": str(number)}) for number in range(MOST_TRIED + 1)]
    assert len(KeySet(keys[:MOST_TRIED]).find(Head("EdDSA", None, ""))) == MOST_TRIED
    assert KeySet(keys).find(Head("EdDSA", None, "")) == ()


def test_an_ecdsa_signature_is_two_numbers_and_not_der() -> None:
    private = ec.generate_private_key(ec.SECP256R1())
    pem = private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    check = pem_key(pem).checks["ES256"]
    assert not check(private.sign(b"data", ec.ECDSA(hashes.SHA256())), b"data")
    for signature in (
        bytes(64),
        bytes(63),
        bytes(65),
        b"\xff" * 64,
        encode_dss_signature(1, 1),
        bytes(32) + b"\x01" * 32,
    ):
        assert not check(signature, b"data")


def test_pem_files_hold_public_keys_of_a_kind_that_verifies() -> None:
    x25519 = X25519PrivateKey.generate().public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    ed25519 = Ed25519PrivateKey.generate().public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    weak = RSAKey.import_key(rsa_jwk(1024)).as_pem(private=False)
    assert pem_key(ed25519).checks.keys() == {"EdDSA", "Ed25519"}
    for pem in (x25519, weak, b"", b"-----BEGIN PUBLIC KEY-----\n", b"-----BEGIN CERTIFICATE-----\n"):
        with pytest.raises(ValueError, match=r"."):
            pem_key(pem)
    with pytest.raises(ValueError, match="none of the algorithms"):
        pem_key(ed25519, {"RS256"})


@pytest.mark.parametrize(("size", "algorithm"), [(32, "HS256"), (48, "HS384"), (64, "HS512")])
def test_a_secret_is_as_long_as_its_hash(size: int, algorithm: str) -> None:
    """RFC 7518 section 3.2."""
    assert secret_key(bytes(size), {algorithm}).checks.keys() == {algorithm}
    with pytest.raises(ValueError, match="too short"):
        secret_key(bytes(size - 1), {algorithm})
