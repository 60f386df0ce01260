"""The table that says how it is verified who asks."""

from __future__ import annotations

from typing import Literal

from edgewise.config.types import Model


class Auth(Model):
    """Ways to tell who asks; whoever is told by none of them gets 401.

    Upstreams learn it as [identity] says, and clients cannot say it of themselves.
    """

    require: Literal["any", "all"] = "any"
    """Whether one of the ways is enough, or every one is needed: the first then says who asks."""
    optional: bool = False
    """Let requests through that have no credential at all, as nobody's; one that is not good is refused."""
