"""What verifying a JWT costs: a token seen before and one unseen, beside the crypto library's own verify.

    python -m bench.token_verification        one table, a minute at most; microseconds, the best of several rounds

Each way of edgewise is what a request on a route with `auth = { jwt = ... }` runs: from its head to who asks.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from timeit import repeat
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from edgewise.contracts.exchange import Exchange
from edgewise.contracts.plan import Plan, Route
from edgewise.gateway.authentication import Authentication
from edgewise.gateway.bearer import BearerTokens, Places
from edgewise.gateway.jwt import Issuer, TokenVerifier
from edgewise.gateway.jwt_keys import FixedKeys
from edgewise.gateway.jwt_rules import Naming, Rules
from edgewise.http.head import Field, FieldLines, RequestHead
from edgewise.protocols.jose import base64url
from edgewise.protocols.jwk import KeySet, pem_key

ROUNDS = 7
ISSUER, AUDIENCE = "https://login.example.com/realms/shop", "https://api.example.com"
FIELDS = (
    (b"host", b"api.example.com"),
    (b"user-agent", b"Mozilla/5.0 (X11; Linux x86_64; rv:143.0) Gecko/20100101 Firefox/143.0"),
    (b"accept", b"application/json"),
    (b"accept-language", b"en-GB,en;q=0.5"),
    (b"accept-encoding", b"gzip, deflate, br, zstd"),
    (b"origin", b"https://shop.example.com"),
    (b"connection", b"keep-alive"),
)
LINES = FieldLines(tuple(Field(name, value, b"%b: %b\r\n" % (name, value)) for name, value in FIELDS))
LINES.kept = True


class Signer:
    """A private key and its algorithm."""

    def __init__(self, algorithm: str) -> None:
        self.algorithm = algorithm
        sha256 = hashes.SHA256()
        if algorithm == "RS256":
            key = rsa.generate_private_key(65537, 2048)
            self.sign: Callable[[bytes], bytes] = lambda data: key.sign(data, padding.PKCS1v15(), sha256)
            public: Any = key.public_key()
            self.verify: Callable[[bytes, bytes], Any] = lambda code, data: public.verify(
                code, data, padding.PKCS1v15(), sha256
            )
        elif algorithm == "ES256":
            curve_key = ec.generate_private_key(ec.SECP256R1())
            self.sign = lambda data: _raw(curve_key.sign(data, ec.ECDSA(sha256)))
            public = curve_key.public_key()
            der = curve_key.sign(b"", ec.ECDSA(sha256))
            self.verify = lambda code, data: public.verify(der, b"", ec.ECDSA(sha256))
        else:
            edwards_key = Ed25519PrivateKey.generate()
            self.sign = edwards_key.sign
            public = edwards_key.public_key()
            self.verify = public.verify
        self.pem = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)

    def token(self, number: int) -> bytes:
        """Return a token as an identity provider issues them."""
        now = int(time.time())
        claims = {
            "iss": ISSUER, "aud": [AUDIENCE, "account"], "sub": f"f:8c1d2a:{number:08}", "azp": "shop-web",
            "iat": now, "exp": now + 3600, "jti": f"{number:032x}", "scope": "openid profile email orders:read",
            "groups": ["staff", "admins"], "email": "alice@example.com", "email_verified": True, "name": "Alice",
        }  # fmt: skip
        head = {"alg": self.algorithm, "typ": "JWT", "kid": "2026-11"}
        signed = b".".join(base64url(json.dumps(part, separators=(",", ":")).encode()) for part in (head, claims))
        return signed + b"." + base64url(self.sign(signed))


def exchange(token: bytes) -> Exchange:
    """Return an exchange of a request with a token."""
    head = RequestHead(b"GET", b"/", b"/", None, 1, LINES, b"Authorization: Bearer %b\r\n" % token)
    return Exchange(None, Plan(Route("api", 0), head), 0.0, "")


def _raw(der: bytes) -> bytes:
    r, s = decode_dss_signature(der)
    return r.to_bytes(32, "big") + s.to_bytes(32, "big")


def policy(signer: Signer, remembered: int) -> Callable[[Any], Any]:
    """Return the policy `auth` of a route."""
    keys = FixedKeys(KeySet([pem_key(signer.pem)]))
    issuer = Issuer(keys, Rules(frozenset((ISSUER,)), frozenset((AUDIENCE,))), Naming())
    return Authentication((BearerTokens(TokenVerifier([issuer], remembered=remembered), Places(), "api"),)).check


def microseconds(work: Callable[[], Any], count: int) -> float:
    """Return the processor time of one of `count` calls that `work` makes."""
    return min(repeat(work, timer=time.thread_time, number=1, repeat=ROUNDS)) / count * 1e6


def measure(algorithm: str) -> tuple[float, float, float, float]:
    """Return microseconds: library, unseen, seen, and seen by the verifier's memo alone."""
    signer = Signer(algorithm)
    tokens = [signer.token(number) for number in range(300)]
    requests = [exchange(token) for token in tokens]
    parts = [(token, *token.rpartition(b".")[::2]) for token in tokens]
    codes = [(signer.sign(signed), signed) for _, signed, _ in parts]
    unseen, seen = policy(signer, 0), policy(signer, 4096)

    def library() -> None:
        for code, data in codes:
            signer.verify(code, data)

    def run(check: Callable[[Any], Any], times: int) -> Callable[[], None]:
        def work() -> None:
            for _ in range(times):
                for request in requests:
                    check(request)

        return work

    def nothing(_: Any) -> None:
        return None

    run(seen, 1)()
    assert all(request.identity is not None for request in requests)
    loop = microseconds(run(nothing, 50), 50 * len(requests))
    return (
        microseconds(library, len(codes)),
        microseconds(run(unseen, 1), len(codes)) - loop,
        microseconds(run(seen, 50), 50 * len(requests)) - loop,
        loop,
    )


def main() -> None:
    """Print the table."""
    print("algorithm   library's verify   unseen token   ratio   token seen before   (us)")
    for algorithm in ("RS256", "ES256", "EdDSA"):
        library, unseen, seen, _ = measure(algorithm)
        print(f"{algorithm:9} {library:18.1f} {unseen:14.1f} {unseen / library:7.2f} {seen:19.2f}")


if __name__ == "__main__":
    main()
