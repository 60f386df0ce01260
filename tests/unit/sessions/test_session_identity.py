"""The JWT that upstreams get: signed by the key, for one route, for a minute."""

from __future__ import annotations

import base64
import json

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from edgewise.contracts.filters import Headers
from edgewise.sessions.cookies import without_cookie
from edgewise.sessions.identity import IdentityToken
from edgewise.sessions.jwt import key_id, load_key

# RFC 8037 appendix A.1 and A.3
KEY = Ed25519PrivateKey.from_private_bytes(base64.urlsafe_b64decode("nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A="))
THUMBPRINT = "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"


def decoded(part: str) -> bytes:
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))


def test_the_token_says_who_for_whom_and_until_when() -> None:
    headers = Headers()
    token = IdentityToken("X-Identity", KEY, issuer="edge", others=("X-User",), clock=lambda: 1000.9)
    token.write(headers, "alice", ["staff"], "shop")
    head, claims, signature = headers["X-Identity"].split(".")
    assert json.loads(decoded(head)) == {"alg": "EdDSA", "typ": "JWT", "kid": THUMBPRINT}
    expected = {"iss": "edge", "aud": "shop", "sub": "alice", "groups": ["staff"], "iat": 1000, "exp": 1060}
    assert json.loads(decoded(claims)) == expected
    KEY.public_key().verify(decoded(signature), f"{head}.{claims}".encode())
    with pytest.raises(InvalidSignature):
        KEY.public_key().verify(decoded(signature), f"{head}.{claims}x".encode())
    assert token.names == ("X-Identity", "X-User")


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
