"""Tokens of others: good ones by a library that is not ours, and every way to forge, bend or misuse one."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import time
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from hypothesis import given, settings
from hypothesis import strategies as st
from joserfc.jwk import Key

from edgewise.contracts.identity import Identity
from edgewise.gateway.jwt import Issuer, TokenVerifier, signed_claims
from edgewise.gateway.jwt_keys import FixedKeys
from edgewise.gateway.jwt_rules import Naming, Rules
from edgewise.protocols.jose import base64url
from edgewise.protocols.jwa import ALGORITHMS, ASYMMETRIC
from edgewise.protocols.jwk import KeySet, pem_key, read_key_set
from edgewise.protocols.jws import TokenError
from support.token_issuer import AUDIENCE, ISSUER, claims, key_set, make_key, mint

RULES = Rules(frozenset((ISSUER,)), frozenset((AUDIENCE, "other")))
KEYS = {
    "RS256": make_key("RSA", "rsa"),
    "ES256": make_key("P-256", "p256"),
    "ES384": make_key("P-384", "p384"),
    "ES512": make_key("P-521", "p521"),
    "EdDSA": make_key("Ed25519", "ed"),
    "Ed448": make_key("Ed448", "ed448"),
}
for _same in ("RS384", "RS512", "PS256", "PS384", "PS512"):
    KEYS[_same] = KEYS["RS256"]
KEYS["Ed25519"] = KEYS["EdDSA"]
SET, _ = read_key_set(key_set(*KEYS.values()))


def verifier(rules: Rules = RULES, naming: Naming | None = None, keys: KeySet = SET) -> TokenVerifier:
    return TokenVerifier([Issuer(FixedKeys(keys), rules, naming or Naming())])


def verified(token: bytes, rules: Rules = RULES, naming: Naming | None = None, keys: KeySet = SET) -> Any:
    """Return the outcome of a token."""
    outcome = verifier(rules, naming, keys).verify(token)
    if isinstance(outcome, Identity | Exception):
        return outcome

    async def wait() -> Any:
        return await outcome

    return asyncio.run(wait())


def refusal(token: bytes, rules: Rules = RULES, naming: Naming | None = None, keys: KeySet = SET) -> str:
    """Return why a token is refused."""
    outcome = verified(token, rules, naming, keys)
    assert isinstance(outcome, TokenError), outcome
    text = str(outcome)
    assert text.isascii()
    assert text.isprintable()
    assert '"' not in text
    assert "\\" not in text
    return text


def good(**changes: Any) -> bytes:
    return mint(KEYS["ES256"], "ES256", **changes)


def signed(content: bytes, head: dict[str, Any] | None = None) -> bytes:
    """Return a token with any payload, signed by a real key."""
    members = {"alg": "ES256", "kid": "p256", **(head or {})}
    text = base64url(json.dumps(members).encode()) + b"." + base64url(content)
    private = KEYS["ES256"].get_op_key("sign")
    r, s = decode_dss_signature(private.sign(text, ec.ECDSA(hashes.SHA256())))
    return text + b"." + base64url(r.to_bytes(32, "big") + s.to_bytes(32, "big"))


def unsigned(head: dict[str, Any], **changes: Any) -> bytes:
    return base64url(json.dumps(head).encode()) + b"." + base64url(json.dumps(claims(**changes)).encode())


# ---- good tokens -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("algorithm", sorted(KEYS))
def test_tokens_of_another_library_say_who_asks(algorithm: str) -> None:
    who = verified(mint(KEYS[algorithm], algorithm, scope="read write", groups=["staff"], tenant="a"))
    assert isinstance(who, Identity), who
    assert (who.name, who.method, who.consumer) == ("alice", "jwt", None)
    assert (who.scopes, who.groups) == ({"read", "write"}, {"staff"})
    assert who.claims["tenant"] == "a"
    assert who.expires == who.claims["exp"] + RULES.leeway


@pytest.mark.parametrize(("algorithm", "bits"), [("HS256", 256), ("HS384", 384), ("HS512", 512)])
def test_secrets_verify_where_they_are_asked_for(algorithm: str, bits: int) -> None:
    key = make_key("oct")
    keys, _ = read_key_set(json.dumps({"keys": [key.as_dict(private=True)]}).encode(), {algorithm})
    rules = Rules(RULES.issuers, RULES.audiences, frozenset((algorithm,)))
    token = mint(key, algorithm)
    assert isinstance(verified(token, rules, keys=keys), Identity)
    assert refusal(token) == "The token is signed by an algorithm that is not accepted."
    assert "verifies" in refusal(mint(make_key("oct"), algorithm), rules, keys=keys)


@pytest.mark.parametrize("audience", [AUDIENCE, "other", ["x", "other"], [AUDIENCE, 1]])
def test_one_audience_of_several_is_enough(audience: Any) -> None:
    assert isinstance(verified(good(aud=audience)), Identity)


def test_claims_name_the_consumer_the_groups_and_the_scopes_by_their_paths() -> None:
    naming = Naming("act.sub", "azp", ("realm_access.roles", "https://a.example/groups"), ("scp",))
    token = good(
        act={"sub": "bob"}, azp="shop", realm_access={"roles": ["a", 1, "b"]}, scp=["read", "write all"],
        scope="admin", **{"https://a.example/groups": "c"},
    )  # fmt: skip
    who = verified(token, naming=naming)
    assert (who.name, who.consumer) == ("bob", "shop")
    assert (who.groups, who.scopes) == ({"a", "b", "c"}, {"read", "write", "all"})


def test_a_token_without_a_key_id_is_tried_with_the_keys_that_fit() -> None:
    assert isinstance(verified(mint(make_same(KEYS["ES256"]), "ES256")), Identity)


def make_same(key: Key) -> Key:
    """Return the key without its id."""
    members = {name: value for name, value in key.as_dict(private=True).items() if name != "kid"}
    return type(key).import_key(members)  # type: ignore[attr-defined,no-any-return]


# ---- the signature ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["none", "None", "NONE", "nOnE", "", "null", " none", "none ", "HS256", "hs256", "ES257"]
)
def test_an_algorithm_of_its_own_choice_is_refused(name: str) -> None:
    text = unsigned({"alg": name, "kid": "p256"}, sub="admin")
    for end in (b"", b".", b".AAAA", b"." + good().rpartition(b".")[2]):
        assert refusal(text + end)


def test_a_public_key_is_no_secret() -> None:
    """RFC 8725 section 2.1."""
    rules = Rules(RULES.issuers, RULES.audiences, ALGORITHMS)
    public = KEYS["RS256"].as_pem(private=False)
    number = base64.urlsafe_b64decode(str(KEYS["RS256"].as_dict()["n"]) + "==")
    secrets = (
        public,
        public.strip(),
        public + b"\n",
        number,
        json.dumps(KEYS["RS256"].as_dict(private=False)).encode(),
    )
    for keys in (SET, KeySet([pem_key(public)])):
        for secret in (*secrets, b"", b"rsa"):
            for algorithm in ("HS256", "HS384", "HS512"):
                text = unsigned({"alg": algorithm, "kid": "rsa"}, sub="admin")
                code = hmac.digest(secret, text, getattr(hashlib, "sha" + algorithm[2:]))
                assert refusal(text + b"." + base64url(code), rules, keys=keys)


def test_a_key_that_the_token_brings_is_not_used() -> None:
    mine = make_key("P-256", "p256")
    jwk = mine.as_dict(private=False)
    for extra in ({"jwk": jwk}, {"jku": "http://127.0.0.1:1/"}, {"x5u": "http://127.0.0.1:1/"}, {"x5c": ["AAAA"]}):
        assert "verifies" in refusal(mint(mine, "ES256", extra))


def test_a_key_of_one_algorithm_verifies_no_other() -> None:
    for algorithm in ("RS256", "PS256", "ES384", "EdDSA", "Ed448"):
        text, _, code = mint(KEYS[algorithm], algorithm).rpartition(b".")
        for other in sorted(ASYMMETRIC - {algorithm}):
            head = {"alg": other, "kid": KEYS[algorithm].kid}
            payload = text.partition(b".")[2]
            assert refusal(base64url(json.dumps(head).encode()) + b"." + payload + b"." + code)


def test_only_the_algorithms_of_the_configuration_are_accepted() -> None:
    rules = Rules(RULES.issuers, RULES.audiences, frozenset(("PS256",)))
    assert isinstance(verified(mint(KEYS["PS256"], "PS256"), rules), Identity)
    assert "algorithm" in refusal(mint(KEYS["RS256"], "RS256"), rules)


def test_an_ecdsa_signature_in_der_or_of_another_length_is_refused() -> None:
    text, _, code = good().rpartition(b".")
    der = KEYS["ES256"].get_op_key("sign").sign(text, ec.ECDSA(hashes.SHA256()))
    raw = base64.urlsafe_b64decode(code + b"==")
    for other in (der, raw[:63], raw + b"\x00", b"\x00" + raw, bytes(64), raw[32:] + raw[:32], raw[:32] + bytes(32)):
        assert refusal(text + b"." + base64url(other))


def test_a_weak_rsa_key_is_no_key() -> None:
    weak = rsa.generate_private_key(65537, 1024)
    number = weak.public_key().public_numbers().n.to_bytes(128, "big")
    jwk = {"kty": "RSA", "kid": "weak", "n": base64url(number).decode(), "e": "AQAB"}
    keys, left = read_key_set(json.dumps({"keys": [jwk]}).encode())
    assert "1024 bits" in left[0]
    text = unsigned({"alg": "RS256", "kid": "weak"})
    token = text + b"." + base64url(weak.sign(text, padding.PKCS1v15(), hashes.SHA256()))
    assert refusal(token, keys=keys)


@pytest.mark.parametrize(
    "key_id",
    ["../../../../dev/null", "/dev/null", "p256\x00", "' UNION SELECT 'x' --", "P256", "", "x" * 256, "x" * 4096],
)
def test_a_key_id_leads_to_no_file_no_query_and_no_other_key(key_id: str) -> None:
    for secret in (b"", b"x"):
        text = unsigned({"alg": "HS256", "kid": key_id}, sub="admin")
        assert refusal(text + b"." + base64url(hmac.digest(secret, text, "sha256")))
    assert refusal(signed(json.dumps(claims()).encode(), {"kid": key_id}))


TOKEN = mint(KEYS["EdDSA"], "EdDSA")
CHARACTERS = b"ABCxyz019-_.=+/ \n\x00\xff~"


@settings(max_examples=300)
@given(st.integers(0, len(TOKEN) - 1), st.sampled_from(CHARACTERS), st.sampled_from(["put", "insert", "cut", "end"]))
def test_no_neighbour_of_a_good_token_verifies(at: int, letter: int, change: str) -> None:
    new = bytes([letter])
    other = {
        "put": TOKEN[:at] + new + TOKEN[at + 1 :],
        "insert": TOKEN[:at] + new + TOKEN[at:],
        "cut": TOKEN[:at] + TOKEN[at + 1 :],
        "end": TOKEN[: at + 1],
    }[change]
    checker = verifier()
    assert isinstance(checker.verify(TOKEN), Identity)
    if other != TOKEN:
        outcome = checker.verify(other)
        if not isinstance(outcome, Identity | Exception):
            outcome = asyncio.run(_result(outcome))
        assert isinstance(outcome, TokenError)


@settings(max_examples=200)
@given(st.binary(max_size=200))
def test_anything_else_is_refused_and_raises_nothing(data: bytes) -> None:
    assert refusal(data)
    assert refusal(data + b"." + TOKEN)
    assert refusal(TOKEN + b"." + data)


@settings(max_examples=200)
@given(st.binary(max_size=80))
def test_any_payload_that_is_signed_is_read_or_refused(data: bytes) -> None:
    assert refusal(signed(data))


def test_only_the_one_way_to_write_a_token_is_read() -> None:
    head, payload, code = TOKEN.split(b".")
    letters = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    twin = code[:-1] + letters[letters.index(code[-1]) ^ 1 : (letters.index(code[-1]) ^ 1) + 1]
    assert base64.urlsafe_b64decode(twin + b"==") == base64.urlsafe_b64decode(code + b"==")
    for other in (
        b"%b.%b.%b" % (head, payload, twin),
        b"%b.%b.%b=" % (head, payload, code),
        b"%b.%b.%b==" % (head, payload, code),
        b"%b.%b.%b." % (head, payload, code),
        b".%b.%b.%b" % (head, payload, code),
        b"%b..%b" % (head, code),
        b"%b.%b" % (head, payload),
        b"%b.%b." % (head, payload),
        b" " + TOKEN,
        TOKEN + b"\n",
        TOKEN + b"\x00",
        b"%b.%b.%b.%b.%b" % (head, payload, code, code, code),
    ):
        assert refusal(other)


def test_huge_tokens_are_not_read() -> None:
    assert refusal(good(junk="x" * 8192)) == "The token is too long."
    roomy = Rules(RULES.issuers, RULES.audiences, longest=65536)
    assert isinstance(verified(good(junk="x" * 8192), roomy), Identity)


# ---- the claims ------------------------------------------------------------------------------------------------------


def test_a_token_holds_from_its_beginning_to_its_end_within_the_leeway() -> None:
    now = int(time.time())
    assert isinstance(verified(good(exp=now - 20)), Identity)
    assert isinstance(verified(good(exp=time.time() + 60.5, nbf=now - 0.5)), Identity)
    assert isinstance(verified(good(nbf=now + 20, iat=now + 20)), Identity)
    assert refusal(good(exp=now - 31)) == "The token has expired."
    assert refusal(good(nbf=now + 100)) == refusal(good(iat=now + 100)) == "The token is not valid yet."
    strict = Rules(RULES.issuers, RULES.audiences, leeway=0.0)
    assert refusal(good(exp=now - 1), strict)


@pytest.mark.parametrize("value", ["1", "x", True, False, [], {}, -1, 2**53 + 2, 10**30, 1e300])
@pytest.mark.parametrize("name", ["exp", "nbf", "iat"])
def test_times_are_numbers_that_may_be_meant(name: str, value: Any) -> None:
    assert refusal(signed(json.dumps(claims(**{name: value})).encode()))


@pytest.mark.parametrize("text", [b"1e400", b"Infinity", b"NaN", b"-1e400", b"9" * 5000, b"null"])
def test_times_beyond_numbers_are_refused(text: bytes) -> None:
    content = json.dumps(claims(exp=0)).encode().replace(b'"exp": 0', b'"exp": ' + text)
    assert text in content
    assert refusal(signed(content))


def test_a_token_without_end_is_refused() -> None:
    assert refusal(good(exp=None)) == "The token has no end (exp) that is a number of seconds."


@pytest.mark.parametrize("issuer", [None, "", ISSUER + "/", ISSUER.upper(), "https://evil.example", [ISSUER], 1, True])
def test_a_token_of_another_issuer_is_refused(issuer: Any) -> None:
    assert refusal(signed(json.dumps(claims(iss=issuer)).encode())) == "The token is of another issuer."


@pytest.mark.parametrize(
    "audience", [None, "", "evil", AUDIENCE + "/", [], ["evil"], [[AUDIENCE]], {AUDIENCE: 1}, 1, True]
)
def test_a_token_for_another_audience_is_refused(audience: Any) -> None:
    assert refusal(signed(json.dumps(claims(aud=audience)).encode())) == "The token is for another audience."
    anybody = Rules(RULES.issuers, frozenset())
    assert isinstance(verified(signed(json.dumps(claims(aud=audience)).encode()), anybody), Identity)


@pytest.mark.parametrize("typ", ["logout+jwt", "secevent+jwt", "dpop+jwt", "JWS", "application/refresh+jwt", "jwt "])
def test_a_token_for_another_purpose_is_refused(typ: str) -> None:
    assert refusal(mint(KEYS["ES256"], "ES256", {"typ": typ})) == "The token is of a type that is for something else."


@pytest.mark.parametrize("typ", ["JWT", "jwt", "at+jwt", "application/at+jwt", "Application/AT+JWT"])
def test_the_type_is_a_media_type(typ: str) -> None:
    assert isinstance(verified(mint(KEYS["ES256"], "ES256", {"typ": typ})), Identity)


@pytest.mark.parametrize(
    "content", [b"", b"null", b"1", b"[]", b'"eyJ9"', b"{}", b"{", b"{}{}", b"{" + b'"a":{' * 3000]
)
def test_claims_are_a_json_object(content: bytes) -> None:
    assert refusal(signed(content))


def test_a_claim_that_stands_there_twice_is_refused() -> None:
    twice = json.dumps(claims()).replace("{", '{"sub": "admin", ', 1).encode()
    assert "each thing once" in refusal(signed(twice))
    deep = json.dumps(claims()).replace("{", '{"act": {"sub": "a", "sub": "b"}, ', 1).encode()
    assert "each thing once" in refusal(signed(deep))


def test_a_token_within_a_token_is_refused() -> None:
    assert refusal(signed(good(), {"cty": "JWT"}))


def test_claims_that_are_needed_must_be_there() -> None:
    rules = Rules(RULES.issuers, RULES.audiences, required=("tenant", "act.sub"))
    assert isinstance(verified(good(tenant="a", act={"sub": "b"}), rules), Identity)
    for changes in ({}, {"tenant": "a"}, {"tenant": "a", "act": {}}, {"tenant": "a", "act": {"sub": None}}):
        assert refusal(good(**changes), rules) == "The token lacks a claim that is needed."


@pytest.mark.parametrize(
    ("wanted", "value", "holds"),
    [
        (("a", "b"), "b", True),
        (("a",), ["x", "a"], True),
        ((True,), True, True),
        ((2,), 2, True),
        (("a",), "A", False),
        (("a",), {"a": 1}, False),
        (("a",), [["a"]], False),
        ((True,), 1, False),
        ((True,), "true", False),
        ((1,), True, False),
        ((1,), "1", False),
        (("a",), None, False),
    ],
)
def test_claims_must_be_what_is_wanted_in_type_too(wanted: tuple[Any, ...], value: Any, holds: bool) -> None:
    rules = Rules(RULES.issuers, RULES.audiences, values=(("tenant", wanted),))
    assert isinstance(verified(good(tenant=value), rules), Identity) is holds


@pytest.mark.parametrize("name", [None, "", 1, True, ["alice"], {"a": 1}, "a\r\nX-User: root", "a\x00", "x" * 257])
def test_a_token_says_whose_it_is_in_printable_words(name: Any) -> None:
    content = json.dumps(claims(sub=name)).encode()
    assert refusal(signed(content)) == "The token does not say whose it is."
    consumer = json.dumps(claims(azp=name)).encode()
    assert "consumer" in refusal(signed(consumer), naming=Naming(consumer="azp"))


# ---- several issuers, and what is remembered -------------------------------------------------------------------------


def test_a_token_is_verified_by_the_issuer_that_it_names() -> None:
    first, second = make_key("P-256", "k"), make_key("P-256", "k")
    both = TokenVerifier([
        Issuer(FixedKeys(read_key_set(key_set(first))[0]), Rules(frozenset(("one",)), RULES.audiences), Naming()),
        Issuer(FixedKeys(read_key_set(key_set(second))[0]), Rules(frozenset(("two",)), RULES.audiences), Naming()),
    ])  # fmt: skip

    def outcome(token: bytes) -> Any:
        return both.verify(token)

    assert isinstance(outcome(mint(first, "ES256", iss="one")), Identity)
    assert isinstance(outcome(mint(second, "ES256", iss="two")), Identity)
    assert isinstance(outcome(mint(first, "ES256", iss="two")), TokenError)
    assert isinstance(outcome(mint(second, "ES256", iss="one")), TokenError)
    assert isinstance(outcome(mint(first, "ES256", iss="three")), TokenError)
    assert isinstance(outcome(mint(first, "ES256", iss=["one", "two"])), TokenError)


class Switched:
    """Keys that can be taken away."""

    def __init__(self) -> None:
        self.version = 0
        self.keys = SET
        self.known = lambda head: self.keys.find(head)

    def settled(self) -> bool:
        return False

    async def find(self, head: Any) -> Any:
        return self.keys.find(head)


def test_what_is_remembered_is_no_longer_believed_than_the_token_and_its_key(monkeypatch: pytest.MonkeyPatch) -> None:
    keys = Switched()
    remembering = TokenVerifier([Issuer(keys, RULES, Naming())], remembered=2)
    token = good()
    first = remembering.verify(token)
    assert isinstance(first, Identity)
    assert remembering.verify(token) is first
    for _ in range(3):
        remembering.verify(good(jti=str(time.perf_counter())))
    assert remembering.verify(token) is first, "in use it stays"

    monkeypatch.setattr("edgewise.gateway.jwt.time", lambda: first.expires - 0.01)
    assert remembering.verify(token) is first
    monkeypatch.setattr("edgewise.gateway.jwt.time", lambda: first.expires)
    assert str(remembering.verify(token)) == "The token has expired."
    monkeypatch.undo()

    keys.version += 1
    second = remembering.verify(token)
    assert isinstance(second, Identity)
    assert second is not first
    keys.keys, keys.version = KeySet(()), keys.version + 1
    outcome = remembering.verify(token)
    assert not isinstance(outcome, Identity | Exception)
    assert isinstance(asyncio.run(_result(outcome)), TokenError)


async def _result(outcome: Any) -> Any:
    return await outcome


def test_the_end_of_a_good_token_makes_no_other_good() -> None:
    checker = verifier()
    token = good()
    assert isinstance(checker.verify(token), Identity)
    head, _, code = token.split(b".")
    other = b"%b.%b.%b" % (head, base64url(json.dumps(claims(sub="admin")).encode()), code)
    assert isinstance(checker.verify(other), TokenError)
    assert isinstance(checker.verify(token), Identity)


def test_the_signature_alone_can_be_verified_for_those_who_check_the_claims_themselves() -> None:
    async def case() -> None:
        head, found = await signed_claims(good(iss="anybody", exp=1), FixedKeys(SET))
        assert (head.algorithm, head.key_id, found["iss"]) == ("ES256", "p256", "anybody")
        with pytest.raises(TokenError):
            await signed_claims(mint(make_key("P-256", "p256"), "ES256"), FixedKeys(SET))

    asyncio.run(case())
