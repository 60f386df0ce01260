"""The table that says how it is verified who asks."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator

from edgewise.config.certificates import ClientCertificate
from edgewise.config.credentials import API_KEYS_VALIDATOR, BASIC_VALIDATOR, ApiKeys, Basic
from edgewise.config.forward import Forward
from edgewise.config.jwt import Names
from edgewise.config.types import Model, Name


class Auth(Model):
    """Ways to tell who asks; whoever is told by none of them gets 401.

    Upstreams learn it as [identity] says, and clients cannot say it of themselves.
    """

    require: Literal["any", "all"] = "any"
    """Whether one of the ways is enough, or every one is needed: the first then says who asks."""
    optional: bool = False
    """Let requests through that have no credential at all, as nobody's; one that is not good is refused."""
    api_keys: Annotated[ApiKeys | None, BeforeValidator(API_KEYS_VALIDATOR)] = None
    """API keys of consumers: `"consumers"` or a table."""
    basic: Annotated[Basic | None, BeforeValidator(BASIC_VALIDATOR)] = None
    """Basic authentication: `"consumers"`, the name of a file made by `htpasswd`, or a table."""
    jwt: Names | None = None
    """Tokens of issuers: the name of a table of [jwt], or of several."""
    client_certificate: ClientCertificate | None = None
    """Certificates of TLS connections."""
    signature: Name | None = None
    """Signatures of requests with a shared secret (webhooks): the name of a table of [signatures]."""
    forward: Forward | None = None
    """A service of one's own that is asked about each request that no other way lets in."""
    oidc: Name | None = None
    """Login at a provider with OpenID Connect: the name of a table of [oidc]."""
