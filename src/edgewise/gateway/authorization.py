"""What those may do who were verified: rules of which one must allow a request."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from edgewise.contracts.identity import Identity
from edgewise.contracts.policies import Denial, Outcome
from edgewise.gateway.claims import ABSENT, claim

if TYPE_CHECKING:
    from edgewise.contracts.exchange import Exchange

PRESENT = "*"
"""A claim only has to be there."""
_NOBODY = Identity("", "")
_BEARERS = frozenset(("jwt",))
"""Ways of authentication by bearer tokens (RFC 6750)."""


class Rule(NamedTuple):
    """Allows a request where all of this holds; what is empty holds."""

    name: str
    methods: frozenset[bytes] = frozenset()
    scopes: frozenset[str] = frozenset()
    """All of them are needed."""
    any_scope: frozenset[str] = frozenset()
    groups: frozenset[str] = frozenset()
    consumers: frozenset[str] = frozenset()
    claims: tuple[tuple[str, tuple[Any, ...]], ...] = ()
    """(path, values of which one is wanted)."""
    anonymous: bool = False
    """It is for those too whom nobody verified."""

    def allows(self, identity: Identity) -> bool:
        """Does it allow a sender, whatever the method?"""
        return (
            self.scopes <= identity.scopes
            and (not self.any_scope or not self.any_scope.isdisjoint(identity.scopes))
            and self.concerns(identity)
        )

    def concerns(self, identity: Identity) -> bool:
        """Does all hold but, perhaps, the scopes?"""
        return (
            (not self.groups or not self.groups.isdisjoint(identity.groups))
            and (not self.consumers or identity.consumer in self.consumers)
            and all(_holds(claim(identity.claims, path), wanted) for path, wanted in self.claims)
        )


class Authorization:
    """The policy `authorize`, behind `auth`."""

    def __init__(self, rules: Sequence[Rule], nobody: Callable[[Exchange], Outcome]) -> None:
        """`nobody` answers those who must say first who they are."""
        methods = {method for rule in rules for method in rule.methods}
        self._rules = {method: _of_method(rules, method) for method in methods}
        self._others = tuple(rule for rule in rules if not rule.methods)
        """For methods that no rule names."""
        self._nobody = nobody

    def check(self, exchange: Exchange) -> Outcome:
        """Let a request pass that a rule allows."""
        identity = exchange.identity
        method = exchange.plan.request.method
        if self.rule(identity, method) is not None:
            return None
        return self._nobody(exchange) if identity is None else self._denial(identity, method)

    def rule(self, identity: Identity | None, method: bytes) -> str | None:
        """Return the name of the first rule that allows a request, None where there is none."""
        rules = self._rules.get(method, self._others)
        if identity is None:
            return next((rule.name for rule in rules if rule.anonymous and rule.allows(_NOBODY)), None)
        for rule in rules:
            if rule.allows(identity):
                return rule.name
        return None

    def _denial(self, identity: Identity, method: bytes) -> Denial:
        """Refuse a sender; one with a bearer token that lacks nothing but scopes is told which (RFC 6750, 3.1)."""
        reason = f"no rule allows {method.decode('latin-1')} to {identity.name}"
        for rule in self._rules.get(method, self._others):
            wanted = sorted(rule.scopes or rule.any_scope)
            if wanted and rule.concerns(identity):
                scopes = " ".join(wanted)
                detail = f"The credential lacks a scope that is needed: {scopes}."
                challenge = f'Bearer error="insufficient_scope", scope="{scopes}"'.encode()
                fields = ((b"WWW-Authenticate", challenge),) if identity.method in _BEARERS else ()
                return Denial(403, "authorize", detail, fields, reason)
        return Denial(403, "authorize", "The request is not allowed to this sender.", (), reason)


def _of_method(rules: Sequence[Rule], method: bytes) -> tuple[Rule, ...]:
    return tuple(rule for rule in rules if not rule.methods or method in rule.methods)


def _holds(value: Any, wanted: tuple[Any, ...]) -> bool:
    if value is ABSENT or value is None:
        return False
    if wanted == (PRESENT,):
        return True
    values = value if isinstance(value, list) else [value]
    return any(_same(one, other) for one in values for other in wanted)


def _same(one: Any, other: Any) -> bool:
    """Are these equal values of JSON? To Python, true is 1."""
    return one == other and isinstance(one, bool) == isinstance(other, bool)
