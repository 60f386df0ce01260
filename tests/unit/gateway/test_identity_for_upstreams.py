"""What upstreams are told of who asks: fields that carry one name each, tokens that the published keys verify."""

from __future__ import annotations

import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, NoEncryption, PrivateFormat
from hypothesis import given
from hypothesis import strategies as st

from edgewise.contracts.identity import Identity
from edgewise.gateway.claims import ABSENT, claim
from edgewise.gateway.identity import FieldNames, IdentityFields, IdentityToken, Telling
from edgewise.gateway.identity_keys import SigningKey, jwk_set
from edgewise.protocols.jwk import read_key_set
from edgewise.protocols.jws import json_claims, read_jws

NAMES = FieldNames("X-User", "X-Consumer", "X-Groups", "X-Scopes", "X-Auth-Method")
NOW = 1_700_000_000.0


def pem(key: Any) -> bytes:
    made: bytes = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return made


KEYS = {
    "EdDSA": pem(ed25519.Ed25519PrivateKey.generate()),
    "ES256": pem(ec.generate_private_key(ec.SECP256R1())),
    "RS256": pem(rsa.generate_private_key(65537, 2048)),
}


def verified(token: bytes, keys: list[SigningKey], algorithm: str) -> dict[str, Any]:
    """Return the claims, verified as an upstream would by the published keys."""
    published, passed_over = read_key_set(jwk_set(keys))
    assert not passed_over
    jws = read_jws(token)
    assert jws.head.algorithm == algorithm
    [check] = published.find(jws.head)
    assert check(jws.signature, jws.signed)
    assert not check(jws.signature, jws.signed + b"x")
    return json_claims(jws)


class Clock:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> float:
        return self.now


class FakeExchange:
    """What telling touches of an exchange."""

    def __init__(self, identity: Identity | None) -> None:
        self.identity = identity
        self.forward_lines = b"X-Other: kept\r\n"


def told(writer: IdentityFields, identity: Identity) -> list[str]:
    return writer.write(identity, "shop", NOW)[0].decode("ascii").split("\r\n")[:-1]


class TestFields:
    def test_there_is_one_for_each_thing_that_is_known(self) -> None:
        alice = Identity(
            "alice", "jwt", consumer="acme", groups=frozenset(("staff", "ops")), scopes=frozenset(("b:read", "a:read"))
        )
        assert told(IdentityFields(NAMES, {}), alice) == [
            "X-User: alice",
            "X-Consumer: acme",
            "X-Groups: ops,staff",
            "X-Scopes: a:read b:read",
            "X-Auth-Method: jwt",
        ]
        assert told(IdentityFields(NAMES, {}), Identity("bob", "basic")) == ["X-User: bob", "X-Auth-Method: basic"]

    def test_claims_have_fields_of_their_own(self) -> None:
        claims = {"email": "a@b.example", "org": {"id": 7}, "ok": True, "roles": ["x", "y,z", 3], "deep": {"no": {}}}
        fields = {
            "X-Email": "email",
            "X-Org": "org.id",
            "X-Ok": "ok",
            "X-Roles": "roles",
            "X-Deep": "deep",
            "X-No": "no",
        }
        assert told(IdentityFields(NAMES, fields), Identity("a", "jwt", claims=claims))[2:] == [
            "X-Email: a@b.example",
            "X-Org: 7",
            "X-Ok: true",
            "X-Roles: x,y%2Cz",
        ]

    @given(st.text(max_size=40), st.frozensets(st.text(max_size=20), max_size=5), st.text(max_size=40))
    def test_no_name_can_pass_for_another_field_or_for_two_groups(
        self, name: str, groups: frozenset[str], claimed: str
    ) -> None:
        name, claimed = (text.encode("utf-8", "replace").decode() for text in (name, claimed))
        groups = frozenset(group.encode("utf-8", "replace").decode() for group in groups)
        identity = Identity(name, "oidc", groups=groups, claims={"c": claimed})
        lines = told(IdentityFields(NAMES, {"X-C": "c"}), identity)
        assert len(lines) == 1 + bool(name) + bool(groups - {""}) + bool(claimed)
        assert all(0x20 <= ord(character) < 0x7F for line in lines for character in line)
        [listed] = [line for line in lines if line.startswith("X-Groups: ")] or ["X-Groups: "]
        assert len(listed.removeprefix("X-Groups: ").split(",")) == max(len(groups - {""}), 1)


class TestTokens:
    @pytest.mark.parametrize("algorithm", KEYS)
    def test_the_published_keys_verify_them(self, algorithm: str) -> None:
        old, key = SigningKey(pem(ed25519.Ed25519PrivateKey.generate())), SigningKey(KEYS[algorithm])
        alice = Identity(
            "alice", "jwt", groups=frozenset(("staff",)), scopes=frozenset(("a", "b")), claims={"email": "a@b", "x": 1}
        )
        writer = IdentityToken("X-Identity", key, issuer="edge", claims=("email", "gone", "x"))
        line, until = writer.write(alice, "shop", NOW)
        name, _, token = line.decode().removesuffix("\r\n").partition(": ")
        assert (name, until) == ("X-Identity", NOW + 45)
        said = verified(token.encode(), [old, key], algorithm)
        assert len(said.pop("jti")) == 24
        assert said == {
            "iss": "edge",
            "aud": "shop",
            "sub": "alice",
            "iat": NOW,
            "exp": NOW + 60,
            "auth_method": "jwt",
            "groups": ["staff"],
            "scope": "a b",
            "email": "a@b",
            "x": 1,
        }

    def test_in_authorization_it_is_a_bearer_token(self) -> None:
        writer = IdentityToken("Authorization", SigningKey(KEYS["EdDSA"]), issuer="edge")
        assert writer.write(Identity("a", "jwt"), "shop", NOW)[0].startswith(b"Authorization: Bearer ey")

    def test_none_is_good_for_longer_than_the_credential(self) -> None:
        writer = IdentityToken("X-Identity", SigningKey(KEYS["EdDSA"]), issuer="edge")
        line, until = writer.write(Identity("a", "jwt", expires=NOW + 8), "shop", NOW)
        said = json_claims(read_jws(line.partition(b": ")[2].strip()))
        assert (said["exp"], until) == (NOW + 8, NOW + 6)

    def test_no_claim_of_the_senders_takes_the_place_of_ours(self) -> None:
        writer = IdentityToken("X-Identity", SigningKey(KEYS["EdDSA"]), issuer="edge", claims=("sub", "aud", "groups"))
        line, _ = writer.write(
            Identity("a", "jwt", claims={"sub": "root", "aud": "*", "groups": ["root"]}), "shop", NOW
        )
        said = json_claims(read_jws(line.partition(b": ")[2].strip()))
        assert (said["sub"], said["aud"], said["groups"]) == ("a", "shop", [])

    def test_private_parts_are_not_published(self) -> None:
        for text in KEYS.values():
            [published] = json.loads(jwk_set([SigningKey(text)]))["keys"]
            assert not published.keys() & {"d", "p", "q", "dp", "dq", "qi", "oth", "k"}

    @pytest.mark.parametrize(
        "text",
        [
            b"",
            b"-----BEGIN PRIVATE KEY-----\nAA==\n-----END PRIVATE KEY-----\n",
            pem(ec.generate_private_key(ec.SECP384R1())),
            pem(rsa.generate_private_key(65537, 1024)),
            ed25519.Ed25519PrivateKey.generate().private_bytes(
                Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret")
            ),
        ],
    )
    def test_keys_that_cannot_be_used_are_refused(self, text: bytes) -> None:
        with pytest.raises(ValueError, match=r"PEM|neither"):
            SigningKey(text)


class TestTelling:
    def make(self, clock: Clock, audience: str = "shop") -> Telling:
        writer = IdentityToken("X-Identity", SigningKey(KEYS["EdDSA"]), issuer="edge")
        return Telling(writer, frozenset((b"x-identity",)), audience, clock)

    def lines(self, telling: Telling, identity: Identity | None) -> bytes:
        exchange: Any = FakeExchange(identity)
        telling.tell(exchange)
        told: bytes = exchange.forward_lines
        return told

    def test_a_sender_who_comes_again_is_written_once_until_the_token_is_near_its_end(self) -> None:
        clock = Clock()
        telling, alice = self.make(clock), Identity("alice", "jwt")
        first = self.lines(telling, alice)
        assert first.startswith(b"X-Other: kept\r\nX-Identity: ey")
        clock.now += 44
        assert self.lines(telling, alice) == first
        clock.now += 1
        assert self.lines(telling, alice) != first

    def test_each_audience_has_a_token_of_its_own(self) -> None:
        clock, alice = Clock(), Identity("alice", "jwt")
        tokens = [self.lines(self.make(clock, name), alice) for name in ("a", "b")]
        assert tokens[0] != tokens[1]
        for number in range(40):  # reloads that change what is told
            self.lines(self.make(clock, str(number)), alice)
        assert len(alice.lines) <= 16

    def test_nobody_is_told_as_nobody(self) -> None:
        assert self.lines(self.make(Clock()), None) == b"X-Other: kept\r\n"

    def test_a_filters_word_takes_the_place_of_what_was_told(self) -> None:
        telling = Telling(IdentityFields(NAMES, {}), frozenset((b"x-user", b"x-auth-method")), "shop")
        exchange: Any = FakeExchange(Identity("alice", "jwt"))
        telling.tell(exchange)
        telling.tell_other(exchange, Identity("bob", "own"))
        assert exchange.forward_lines == b"X-Other: kept\r\nX-User: bob\r\nX-Auth-Method: own\r\n"
        telling.tell_other(exchange, None)
        assert exchange.forward_lines == b"X-Other: kept\r\n"


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("a", 1),
        ("b.c", 2),
        ("b.d", ABSENT),
        ("a.x", ABSENT),
        ("https://x.example/y", 3),
        ("", ABSENT),
        ("b.c.d", ABSENT),
    ],
)
def test_a_path_leads_to_a_claim(path: str, found: object) -> None:
    assert claim({"a": 1, "b": {"c": 2}, "https://x.example/y": 3}, path) == found
