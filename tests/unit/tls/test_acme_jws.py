"""Signed requests to an authority, checked with the other half of the cryptography."""

from __future__ import annotations

import hashlib
import hmac
import json

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from hypothesis import given
from hypothesis import strategies as st

from edgewise.tls.acme.jws import AccountKey, decode, encode
from edgewise.tls.pem import private_pem

KEY = AccountKey.generate()


def verify(body: bytes) -> tuple[dict[str, object], bytes]:
    """Return (protected header, payload) of a signed body; raises InvalidSignature."""
    signed = json.loads(body)
    raw = decode(signed["signature"])
    assert len(raw) == 64
    signature = encode_dss_signature(int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big"))
    private = load_pem_private_key(KEY.pem(), None)
    assert isinstance(private, ec.EllipticCurvePrivateKey)
    content = f"{signed['protected']}.{signed['payload']}".encode()
    private.public_key().verify(signature, content, ec.ECDSA(hashes.SHA256()))
    return json.loads(decode(signed["protected"])), decode(signed["payload"])


def test_a_request_is_signed_with_nonce_url_and_account() -> None:
    header, payload = verify(KEY.sign("https://ca/order", "n1", {"a": 1}, "https://ca/account/1"))
    assert header == {"alg": "ES256", "nonce": "n1", "url": "https://ca/order", "kid": "https://ca/account/1"}
    assert json.loads(payload) == {"a": 1}


def test_without_an_account_the_key_itself_goes_along_and_post_as_get_has_no_payload() -> None:
    header, payload = verify(KEY.sign("https://ca/new", "n", None, None))
    assert header["jwk"] == KEY.jwk
    assert "kid" not in header
    assert payload == b""


def test_another_content_is_not_what_was_signed() -> None:
    signed = json.loads(KEY.sign("https://ca/x", "n", {}, None))
    with pytest.raises(InvalidSignature):
        verify(json.dumps({**signed, "payload": encode(b'{"a":1}')}).encode())


def test_the_thumbprint_is_that_of_the_canonical_key() -> None:
    canonical = json.dumps({key: KEY.jwk[key] for key in sorted(KEY.jwk)}, separators=(",", ":")).encode()
    assert KEY.thumbprint == encode(hashlib.sha256(canonical).digest())
    assert sorted(KEY.jwk) == ["crv", "kty", "x", "y"]


def test_an_external_account_is_bound_by_its_mac() -> None:
    binding = KEY.bound_to("kid-1", encode(b"secret"), "https://ca/new-account")
    assert json.loads(decode(binding["protected"])) == {"alg": "HS256", "kid": "kid-1", "url": "https://ca/new-account"}
    assert json.loads(decode(binding["payload"])) == KEY.jwk
    expected = hmac.digest(b"secret", f"{binding['protected']}.{binding['payload']}".encode(), "sha256")
    assert decode(binding["signature"]) == expected


@pytest.mark.parametrize("text", ["not base64!", "a", "é"])
def test_an_external_key_that_is_no_base64url_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        KEY.bound_to("kid", text, "https://ca/")


def test_a_key_is_read_back_and_other_kinds_are_refused() -> None:
    assert AccountKey.load(KEY.pem()).jwk == KEY.jwk
    with pytest.raises(ValueError, match="P-256"):
        AccountKey.load(private_pem(rsa.generate_private_key(65537, 2048)))


@given(st.binary(max_size=200))
def test_base64url_has_no_padding_and_goes_both_ways(data: bytes) -> None:
    text = encode(data)
    assert set(text).isdisjoint("=+/")
    assert decode(text) == data
