"""Tokens in compact form: the vectors of the RFCs, and that nothing but what the keys wrote verifies."""

from __future__ import annotations

import base64
import json

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from hypothesis import given, settings
from hypothesis import strategies as st

from edgewise.protocols.jose import base64url, decoded
from edgewise.sessions.jwt import Ed25519Key, HmacKey, TokenKey, TokenKeys, load_token_key

# RFC 8037 appendix A.1
KEY = Ed25519PrivateKey.from_private_bytes(base64.urlsafe_b64decode("nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A="))
KEYS: list[TokenKey] = [Ed25519Key(KEY), HmacKey(b"s" * 32)]


def public_pem(key: Ed25519PrivateKey) -> bytes:
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def private_pem(key: Ed25519PrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def test_ed25519_signs_as_in_rfc_8037_appendix_a_4() -> None:
    signing = b"eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc"
    signature = "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg"
    assert base64url(Ed25519Key(KEY).sign(signing)).decode() == signature


def test_hmac_signs_as_in_rfc_7515_appendix_a_1() -> None:
    secret = "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow=="
    signing = (
        b"eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9."
        b"eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ"
    )
    signature = base64url(HmacKey(base64.urlsafe_b64decode(secret)).sign(signing))
    assert signature == b"dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"


@pytest.mark.parametrize("key", KEYS, ids=["EdDSA", "HS256"])
def test_what_was_signed_verifies_for_its_type_alone(key: TokenKey) -> None:
    keys = TokenKeys([key], ["a+jwt", "b+jwt"])
    token = keys.sign(b'{"x":1}', "a+jwt")
    assert keys.verify(token, "a+jwt") == b'{"x":1}'
    assert keys.verify(token, "b+jwt") is None
    head = json.loads(decoded(token.partition(".")[0].encode()) or b"")
    assert head == {"alg": key.algorithm, "typ": "a+jwt", "kid": key.id}


def test_the_first_key_signs_and_all_verify() -> None:
    old, new = TokenKeys(KEYS[:1], ["t"]), TokenKeys([HmacKey(b"n" * 32), *KEYS], ["t"])
    assert new.verify(old.sign(b"{}", "t"), "t") == b"{}"
    assert old.verify(new.sign(b"{}", "t"), "t") is None


def test_a_public_key_verifies_and_cannot_sign() -> None:
    token = TokenKeys([load_token_key(private_pem(KEY))], ["t"]).sign(b"{}", "t")
    public = load_token_key(public_pem(KEY))
    assert TokenKeys([public], ["t"]).verify(token, "t") == b"{}"
    assert (public.signs, public.id) == (False, Ed25519Key(KEY).id)
    with pytest.raises(ValueError, match="cannot sign"):
        public.sign(b"")


@pytest.mark.parametrize("pem", [b"", b"x", b"-----BEGIN PUBLIC KEY-----\nx\n-----END PUBLIC KEY-----\n"])
def test_what_is_no_key_is_refused(pem: bytes) -> None:
    with pytest.raises(ValueError, match="PEM"):
        load_token_key(pem)


def test_keys_of_other_algorithms_are_refused() -> None:
    public = generate_private_key(SECP256R1()).public_key()
    with pytest.raises(ValueError, match="not an Ed25519 key"):
        load_token_key(public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))


@settings(deadline=None)
@given(st.text(max_size=200))
def test_any_text_is_refused_without_an_error(text: str) -> None:
    keys = TokenKeys(KEYS, ["t"])
    head = keys.sign(b"{}", "t").partition(".")[0]
    for token in (text, f"{head}.{text}", f"{head}.e30.{text}"):
        assert keys.verify(token, "t") is None
