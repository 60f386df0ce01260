"""Policies: what requests must pass, and what becomes of them on the way; of routes, upstreams, hosts or the server."""

from __future__ import annotations

from typing import Annotated

from pydantic import BeforeValidator

from edgewise.config.auth import Auth
from edgewise.config.limits import RateLimit
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

    auth: Annotated[Auth | None, BeforeValidator(OFF_VALIDATOR)] = None
    """Who may come: ways to tell who asks."""
    rate_limit: Annotated[RateLimit | None, BeforeValidator(OFF_VALIDATOR)] = None
    """How often a client may come."""
