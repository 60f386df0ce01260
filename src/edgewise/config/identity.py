"""The table that says how upstreams learn who asks."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from edgewise.config.types import Duration, FieldName, FileName, Model, Text


class Identity(Model):
    """How upstreams learn who asks, by whatever way that was verified (see identity.md).

    No client can send these fields: they are taken out of every request as soon as anything verifies who asks.
    """

    format: Literal["fields", "jwt", "none"] = "fields"
    """By fields, by a short-lived JWT in jwt_field that upstreams can verify, or not at all."""
    user_field: FieldName = "X-User"
    """Field with who it is: the name of the consumer or the user."""
    consumer_field: FieldName = "X-Consumer"
    """Field with the name of the consumer whose credential it was."""
    groups_field: FieldName = "X-Groups"
    """Field with the groups, separated by commas."""
    scopes_field: FieldName = "X-Scopes"
    """Field with what the credential was granted, separated by spaces."""
    method_field: FieldName = "X-Auth-Method"
    """Field with the way it was verified: a key of `auth`, or "session"."""
    claim_fields: dict[FieldName, Text] = Field(default={})
    """Further fields, each with the claim it tells, such as { X-Email = "email", X-Tenant = "org.id" }."""
    jwt_field: FieldName = "X-Identity"
    """Field with the JWT; in Authorization it stands behind "Bearer", and no client's own goes on."""
    jwt_keys: list[FileName] = Field(default=[])
    """PEM files of private keys (Ed25519, P-256 or RSA): the first signs, all are published. To change keys: add the
    new one behind, later put it first, and later still take the old one out."""
    jwt_issuer: Text = "edgewise"
    """Issuer (`iss`)."""
    jwt_audience: Text | None = None
    """Audience (`aud`); by default the route's name, so that no upstream can use a token at another."""
    jwt_lifetime: Annotated[Duration, Field(ge=10, le=3600)] = 60.0
    """Time for which a token is good; it is signed anew when a quarter of that is left."""
    jwt_claims: list[Text] = Field(default=[])
    """Claims of the sender's own token that are passed on, such as "email" or "org.id"."""

    @property
    def fields(self) -> list[str]:
        """Every name that only the gateway may speak in, whatever the format."""
        named = [self.user_field, self.consumer_field, self.groups_field, self.scopes_field, self.method_field]
        return [*named, *self.claim_fields, self.jwt_field]
