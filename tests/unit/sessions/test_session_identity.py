"""Keys of session JWTs, and the cookie that is taken out of what upstreams get."""

from __future__ import annotations

import base64

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from edgewise.sessions.cookies import without_cookie
from edgewise.sessions.jwt import key_id, load_key

# RFC 8037 appendix A.1 and A.3
KEY = Ed25519PrivateKey.from_private_bytes(base64.urlsafe_b64decode("nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A="))
THUMBPRINT = "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"


def test_the_key_is_named_by_its_thumbprint() -> None:
    assert key_id(KEY) == THUMBPRINT


def test_only_ed25519_keys_sign() -> None:
    pem = KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    assert key_id(load_key(pem)) == THUMBPRINT
    other = generate_private_key(SECP256R1()).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    for wrong in (other, b"", b"-----BEGIN PRIVATE KEY-----\nAA==\n-----END PRIVATE KEY-----\n"):
        with pytest.raises(ValueError, match=r"Ed25519|PEM"):
            load_key(wrong)


@pytest.mark.parametrize(
    ("fields", "left"),
    [
        (["s=1"], ""),
        (["a=1; s=2; b=3"], "a=1; b=3"),
        (["a=1", "s=2", "b=3;s=4"], "a=1; b=3"),
        (["xs=1;\ts=2;;"], "xs=1"),
        (["S=1; s"], "S=1; s"),
    ],
)
def test_a_cookie_is_taken_out_of_the_fields(fields: list[str], left: str) -> None:
    assert without_cookie("s", fields) == left
