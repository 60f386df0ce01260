"""The table `authorize` to the rules that requests must be allowed by."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgewise.contracts.policies import Denial, Outcome
from edgewise.gateway.authorization import Authorization, Rule

if TYPE_CHECKING:
    from collections.abc import Callable

    from edgewise.config.authorize import AuthorizeRule
    from edgewise.contracts.exchange import Exchange
    from edgewise.contracts.policies import Policy
    from edgewise.router.policies.building import Building

_UNKNOWN = Denial(401, "authorize", "It is not known who sends the request.")


def authorize(spec: list[AuthorizeRule], building: Building) -> Policy:
    """Return the policy that lets pass what one of the rules allows."""
    rules = [_rule(rule, number) for number, rule in enumerate(spec, start=1)]
    made = Authorization(rules, _nobody(building))
    building.route.rule = made.rule
    return made.check


def _nobody(building: Building) -> Callable[[Exchange], Outcome]:
    """Return what answers a request of nobody's: as `auth` does, where there is one."""
    authentication = building.earlier.get("auth")
    if authentication is None:
        return lambda exchange: _UNKNOWN
    answer: Callable[[Exchange], Outcome] = authentication.nobody
    return answer


def _rule(spec: AuthorizeRule, number: int) -> Rule:
    claims = tuple(
        (path, tuple(wanted) if isinstance(wanted, list) else (wanted,)) for path, wanted in spec.claims.items()
    )
    return Rule(
        spec.name or str(number),
        methods=frozenset(method.encode() for method in spec.methods),
        scopes=frozenset(spec.scopes),
        any_scope=frozenset(spec.any_scope),
        groups=frozenset(spec.groups),
        consumers=frozenset(spec.consumers),
        claims=claims,
        anonymous=spec.anonymous,
    )
