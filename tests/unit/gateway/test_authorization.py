"""What those may do who were verified: rules are alternatives, what a rule says holds all at once."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from edgewise.contracts.identity import Identity
from edgewise.contracts.policies import Denial
from edgewise.gateway.authorization import Authorization, Rule

UNKNOWN = Denial(401, "auth", "who are you?")


def rule(name: str = "1", *, methods: tuple[str, ...] = (), **conditions: Any) -> Rule:
    sets = {key: frozenset(value) if isinstance(value, set) else value for key, value in conditions.items()}
    return Rule(name, methods=frozenset(method.encode() for method in methods), **sets)


def asked(rules: list[Rule], identity: Identity | None, method: str = "GET") -> Any:
    exchange: Any = SimpleNamespace(
        identity=identity, plan=SimpleNamespace(request=SimpleNamespace(method=method.encode()))
    )
    return Authorization(rules, lambda _: UNKNOWN).check(exchange)


def alice(**granted: Any) -> Identity:
    sets = {key: frozenset(value) if isinstance(value, set) else value for key, value in granted.items()}
    return Identity("alice", sets.pop("method", "jwt"), **sets)


class TestRules:
    def test_one_of_them_is_enough(self) -> None:
        rules = [rule(scopes={"orders:write"}), rule(groups={"admin"})]
        assert asked(rules, alice(scopes={"orders:write"})) is None
        assert asked(rules, alice(groups={"admin", "staff"})) is None
        assert asked(rules, alice(groups={"staff"}, scopes={"orders:read"})).status == 403

    def test_all_that_one_says_must_hold(self) -> None:
        rules = [rule(scopes={"a", "b"}, groups={"staff"})]
        assert asked(rules, alice(scopes={"a", "b", "c"}, groups={"staff"})) is None
        assert asked(rules, alice(scopes={"a"}, groups={"staff"})).status == 403
        assert asked(rules, alice(scopes={"a", "b"})).status == 403

    def test_one_with_methods_is_for_these_alone(self) -> None:
        rules = [rule(methods=("GET", "HEAD"), scopes={"read"}), rule(methods=("POST",), scopes={"write"})]
        reader = alice(scopes={"read"})
        assert asked(rules, reader, "HEAD") is None
        assert asked(rules, reader, "POST").status == 403
        assert asked(rules, alice(scopes={"read", "write"}), "DELETE").status == 403
        assert asked([*rules, rule()], reader, "DELETE") is None
        assert asked(rules, reader, "get").status == 403, "methods are case-sensitive"

    def test_an_empty_one_is_for_whoever_was_verified(self) -> None:
        assert asked([rule()], alice()) is None
        assert asked([rule()], None) is UNKNOWN

    def test_nobody_is_allowed_only_what_a_rule_says_is_for_anybody(self) -> None:
        rules = [rule(methods=("GET",), anonymous=True), rule(groups={"admin"})]
        assert asked(rules, None) is None
        assert asked(rules, alice()) is None
        assert asked(rules, None, "POST") is UNKNOWN
        assert asked([rule(groups={"admin"}, anonymous=True)], None) is UNKNOWN

    def test_any_scope_and_consumers_are_choices(self) -> None:
        rules = [rule(any_scope={"a", "b"}, consumers={"acme", "other"})]
        assert asked(rules, alice(scopes={"b"}, consumer="acme")) is None
        assert asked(rules, alice(scopes={"b"}, consumer="third")).status == 403
        assert asked(rules, alice(scopes={"b"})).status == 403
        assert asked(rules, alice(consumer="acme")).status == 403


CLAIMS = {"org": {"id": 7}, "plan": "pro", "roles": ["dev", "ops"], "ok": True, "none": None, "https://x.y/z": 1}


@pytest.mark.parametrize(
    ("path", "wanted", "holds"),
    [
        ("org.id", (7,), True),
        ("org.id", (7.0,), True),
        ("org.id", ("7",), False),
        ("org", ("*",), True),
        ("org.name", ("*",), False),
        ("plan", ("team", "pro"), True),
        ("plan", ("*",), True),
        ("roles", ("ops",), True),
        ("roles", ("admin",), False),
        ("roles", ("*",), True),
        ("ok", (True,), True),
        ("ok", (1,), False),
        ("https://x.y/z", (1,), True),
        ("https://x.y/z", (True,), False),
        ("none", ("*",), False),
        ("none", (None,), False),
    ],
)
def test_claims_are_compared_as_json_values(path: str, wanted: tuple[Any, ...], holds: bool) -> None:
    assert (asked([rule(claims=((path, wanted),))], alice(claims=CLAIMS)) is None) is holds


class TestRefusals:
    def test_a_bearer_is_told_the_scopes_that_would_be_enough(self) -> None:
        rules = [rule(groups={"admin"}), rule(scopes={"orders:write", "orders:read"})]
        refused = asked(rules, alice(scopes={"orders:read"}))
        assert (refused.status, refused.policy) == (403, "authorize")
        challenge = b'Bearer error="insufficient_scope", scope="orders:read orders:write"'
        assert refused.fields == ((b"WWW-Authenticate", challenge),)
        assert "orders:read orders:write" in refused.detail

    def test_others_are_told_without_a_challenge(self) -> None:
        assert asked([rule(scopes={"write"})], alice(method="api_keys")).fields == ()

    def test_groups_and_claims_that_would_be_enough_are_not_told(self) -> None:
        refused = asked([rule(groups={"admin"}, scopes={"s"}), rule(claims=(("plan", ("pro",)),))], alice())
        assert refused.fields == ()
        assert not {"admin", "plan", "pro"} & set(refused.detail.replace(".", " ").split())
        assert refused.reason == "no rule allows GET to alice"


def test_the_rule_that_allows_is_known_by_name() -> None:
    rules = [rule("readers", methods=("GET",), scopes={"read"}), rule("2", groups={"admin"})]
    made = Authorization(rules, lambda _: UNKNOWN)
    assert made.rule(alice(scopes={"read"}), b"GET") == "readers"
    assert made.rule(alice(groups={"admin"}), b"POST") == "2"
    assert made.rule(alice(), b"GET") is None
    assert made.rule(None, b"GET") is None
