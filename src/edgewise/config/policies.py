"""Policies: what requests must pass, and what becomes of them on the way; of routes, upstreams, hosts or the server."""

from __future__ import annotations

from typing import Annotated

from pydantic import BeforeValidator, Field

from edgewise.config.auth import Auth
from edgewise.config.authorize import AuthorizeRule, rules_listed
from edgewise.config.cors import Cors
from edgewise.config.idempotency import Idempotency
from edgewise.config.ip import Ip
from edgewise.config.limits import Concurrency, RateLimit, RateLimits
from edgewise.config.maintenance import Maintenance
from edgewise.config.security_headers import SecurityHeaders
from edgewise.config.tls import SWITCH_VALIDATOR
from edgewise.config.transcode import Transcode
from edgewise.config.transform import Transform
from edgewise.config.types import Model


def _off_is_none(value: object) -> object:
    return None if value is False else value


OFF_VALIDATOR = _off_is_none
"""What makes `false` turn a policy off that a table farther away turns on; known to the reference."""


class Policies(Model):
    """What requests must pass, and what becomes of them on the way; in the order of the policies (see policies.md).

    Each key may stand in a route, in `policies` of an upstream, in a table of [hosts] and in [policies] for the whole
    server: the nearest to the request holds, whole, in that order; `false` turns one off that stands farther away.
    """

    cors: Annotated[Cors | None, BeforeValidator(SWITCH_VALIDATOR)] = None
    """Pages of other origins that may use this: `true` for any, without the user's cookies, or a table."""
    security_headers: Annotated[SecurityHeaders | None, BeforeValidator(SWITCH_VALIDATOR)] = None
    """Fields that have browsers take more care: `true`, `false`, or a table."""
    maintenance: Annotated[Maintenance | None, BeforeValidator(SWITCH_VALIDATOR)] = None
    """Answer with 503 in place of the service: `true`, `false`, or a table."""
    ip: Annotated[Ip | None, BeforeValidator(OFF_VALIDATOR)] = None
    """From which addresses requests may come."""
    auth: Annotated[Auth | None, BeforeValidator(OFF_VALIDATOR)] = None
    """Who may come: ways to tell who asks."""
    authorize: Annotated[
        Annotated[list[AuthorizeRule], Field(min_length=1)] | None,
        BeforeValidator(rules_listed, json_schema_input_type=bool | AuthorizeRule | list[AuthorizeRule]),
    ] = None
    """What those may do who were verified: rules of which one must allow the request, or one rule."""
    rate_limit: Annotated[RateLimits | None, BeforeValidator(OFF_VALIDATOR)] = None
    """How often requests may come: one limit, or several that all hold."""
    concurrency: Annotated[Concurrency | None, BeforeValidator(OFF_VALIDATOR)] = None
    """How many requests may be under way at once."""
    idempotency: Annotated[Idempotency | None, BeforeValidator(OFF_VALIDATOR)] = None
    """Requests that may be sent again under the same key."""
    transform: Annotated[Transform | None, BeforeValidator(OFF_VALIDATOR)] = None
    """Changes to requests and answers."""

    transcode: Annotated[Transcode | None, BeforeValidator(OFF_VALIDATOR)] = None
    """JSON over HTTP for servers that speak gRPC."""

    def limits(self) -> list[RateLimit]:
        """Return the rate limits of this table."""
        if self.rate_limit is None:
            return []
        return self.rate_limit if isinstance(self.rate_limit, list) else [self.rate_limit]
