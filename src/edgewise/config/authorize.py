"""The table that says what those may do who were verified, and the table of the log of such decisions."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Discriminator, Field, Tag

from edgewise.config.consumers import check_scope
from edgewise.config.types import LogPath, Method, Model, Name, Text, list_or_one

Scope = Annotated[str, AfterValidator(check_scope)]
ClaimValue = str | bool | int | float
ClaimValues = Annotated[
    Annotated[ClaimValue, Tag("<one>")] | Annotated[list[ClaimValue], Field(min_length=1), Tag("<list>")],
    Discriminator(list_or_one),
]


def rules_listed(value: Any) -> Any:
    """Return one rule as a list of it; False is no rules at all."""
    if value is False:
        return None
    return [value] if isinstance(value, dict) else value


class AuthorizeRule(Model):
    """A rule allows a request where everything it says holds; `{}` allows whoever was verified."""

    name: Name | None = None
    """Shown in the decision log; by default the rule's number, from 1."""
    methods: list[Method] = Field(default=[])
    """Methods that the rule is for; by default all."""
    scopes: list[Scope] = Field(default=[])
    """Scopes that the credential must have, all of them."""
    any_scope: list[Scope] = Field(default=[])
    """Scopes of which the credential must have one."""
    groups: list[Text] = Field(default=[])
    """Groups of which the sender must be in one."""
    consumers: list[Text] = Field(default=[])
    """Consumers of which the sender must be one."""
    claims: dict[Text, ClaimValues] = Field(default={})
    """Claims that must be so, by path: { "org.id" = 7, plan = ["pro", "team"], email = "*" }. A list: one of them is
    enough; "*": any value; a claim that is a list itself must have a value that is wanted."""
    anonymous: bool = False
    """Allow those too whom nobody verified, where `auth` is optional."""


class DecisionLog(Model):
    """Log of who was allowed what, and why not: of routes with `auth` or `authorize`, as lines of JSON."""

    path: LogPath = "off"
    """File, "stdout" or "off"."""
    of: Literal["refused", "all"] = "refused"
    """Which decisions are written."""
