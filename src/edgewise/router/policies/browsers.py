"""The tables `cors` and `security_headers` to what browsers are told, and the match of preflights."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgewise.contracts.plan import Params, Route
from edgewise.contracts.table import Match, Refusal
from edgewise.gateway.cors import OWN_FIELDS, Cors, CorsRules, preflight_method
from edgewise.http.head import RequestHead

if TYPE_CHECKING:
    from edgewise.config.cors import Cors as CorsSpec
    from edgewise.config.security_headers import SecurityHeaders
    from edgewise.contracts.policies import Policy
    from edgewise.router.policies.building import Building

_NAMES = {
    "content_type_options": b"X-Content-Type-Options",
    "frame_options": b"X-Frame-Options",
    "referrer_policy": b"Referrer-Policy",
    "opener_policy": b"Cross-Origin-Opener-Policy",
    "resource_policy": b"Cross-Origin-Resource-Policy",
    "permissions_policy": b"Permissions-Policy",
    "content_security_policy": b"Content-Security-Policy",
}


def cors(spec: CorsSpec, building: Building) -> Policy:
    """Return the policy that answers preflights and says who may read answers; servers' own word on it is dropped."""
    expose = spec.expose
    if spec.credentials:  # to which "*" is a field's name
        expose = [name for name in expose if name != "*"]
    rules = CorsRules(
        spec.origins, spec.methods, spec.headers, expose, spec.credentials, int(spec.max_age), spec.private_network
    )
    building.edit_answers(tuple(("remove", name, b"") for name in OWN_FIELDS))
    building.route.preflights = True
    return Cors(rules).check


def security_headers(spec: SecurityHeaders, building: Building) -> None:
    """Give the answers of a route the fields that they lack."""
    fields = [(name, getattr(spec, key).encode("latin-1")) for key, name in _NAMES.items()]
    if building.route.preflights:
        fields = [(name, value) for name, value in fields if name != _NAMES["resource_policy"]]
    fields = [(name, value) for name, value in fields if value != b"off"]
    building.route.default_fields = tuple(fields)
    building.edit_answers(tuple(("default", name.lower(), b"%b: %b\r\n" % (name, value)) for name, value in fields))


class PreflightMatch:
    """Matches as another match does, and a preflight as the request that it asks for, where that has `cors`."""

    def __init__(self, match: Match) -> None:
        self._match = match

    def __call__(self, head: RequestHead) -> tuple[Route, Params] | Refusal:
        """Match."""
        method = preflight_method(head) if head.method == b"OPTIONS" else None
        if method is not None:
            asked = RequestHead(method, head.target, head.path, head.query, head.minor, head.lines, head.secret)
            found = self._match(asked)
            if not isinstance(found, Refusal) and found[0].preflights:
                return found
        return self._match(head)
