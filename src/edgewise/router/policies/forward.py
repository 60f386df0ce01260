"""The table `forward` to the way of asking a service of one's own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgewise.gateway.forward import ForwardAuth, Terms, Verdicts
from edgewise.proxy.subrequests import Subrequests
from edgewise.router.policies.building import Building

if TYPE_CHECKING:
    from edgewise.config.forward import Forward
    from edgewise.contracts.policies import Authenticator


def forward(spec: Forward, building: Building) -> Authenticator:
    """Return the way; only the service speaks in the fields that it gives servers."""
    route = building.route
    own = frozenset(name.lower().encode() for name in spec.response_headers)
    route.stripped |= own
    sent = (
        None
        if spec.request_headers is None
        else frozenset(name.lower().encode() for name in spec.request_headers) - own
    )
    terms = Terms(
        target=spec.path.encode(),
        sent=sent,
        forwarded=tuple(name.encode() for name in spec.response_headers),
        answered=tuple(name.encode() for name in spec.client_headers),
        user=(spec.user_header or "").lower().encode(),
        groups=(spec.groups_header or "").lower().encode(),
        timeout=spec.timeout,
        allow=spec.on_error == "allow",
        keep=spec.cache,
        keyed=frozenset(name.lower().encode() for name in (spec.cache_by or spec.request_headers or ())),
    )
    verdicts = building.gateway.share(
        ("forward", spec.upstream, terms, spec.cache_entries), lambda: Verdicts(spec.cache_entries)
    )
    return ForwardAuth(terms, Subrequests(spec.upstream, most=spec.max_body), verdicts)
