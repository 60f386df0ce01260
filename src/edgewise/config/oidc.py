"""The tables of identity providers that users log in at with OpenID Connect."""

from __future__ import annotations

import re
from typing import Annotated, Literal, NamedTuple

from pydantic import AfterValidator, Field

from edgewise.config.problems import BadValue, show
from edgewise.config.types import Duration, FieldName, FileName, Model, Text

_PATH = re.compile(r"(?:/[A-Za-z0-9._~-]{1,64}){1,8}")
_ORIGIN = r"(?:https://[A-Za-z0-9.-]+|http://(?:127\.0\.0\.1|localhost|\[::1\]))(?::[0-9]{1,5})?"
_ISSUER = re.compile(_ORIGIN + r"(?:/[!-\"$->@-~]*)?")
_ENDPOINT = re.compile(_ORIGIN + r"(?:/[!-\"$-~]*)?")
_SCOPE = re.compile(r"[!#-\[\]-~]{1,256}")
_CLAIM = re.compile(r"[!-~]{1,128}")
_CLAIMS = ("email", "email_verified", "name", "preferred_username", "acr", "amr", "auth_time")
_LONGEST = 400 * 86400
RESERVED = frozenset(
    (
        "client_id", "code_challenge", "code_challenge_method", "nonce", "redirect_uri", "request", "request_uri",
        "response_mode", "response_type", "scope", "state",
    )
)  # fmt: skip
"""Parameters of an authorization request that only edgewise sets."""


def _path(text: str) -> str:
    """Return a path that is matched as it stands. Raises BadValue."""
    if not _PATH.fullmatch(text) or any(part in (".", "..") for part in text.split("/")):
        raise BadValue(f"{show(text)} is not a plain path", 'a path such as "/oauth2/callback"')
    return text


def _return_path(text: str) -> str:
    """Return a path of this host, which may be "/" alone. Raises BadValue."""
    return text if text == "/" else _path(text)


def is_endpoint(text: str) -> bool:
    """Is this the URL of an endpoint of a provider: https, or http on this machine, without a fragment?"""
    return len(text) <= 2048 and _ENDPOINT.fullmatch(text) is not None


def _issuer(text: str) -> str:
    """Return an issuer (OpenID Connect Discovery 1.0 section 3). Raises BadValue."""
    if len(text) > 1024 or not _ISSUER.fullmatch(text):
        expected = 'a URL such as "https://login.example.com/realms/staff"; http:// only to this machine'
        raise BadValue(f"{show(text)} is not an issuer", expected)
    return text


def _scope(text: str) -> str:
    """Return a scope (RFC 6749 section 3.3). Raises BadValue."""
    if not _SCOPE.fullmatch(text):
        raise BadValue(f"{show(text)} is not a scope", 'one scope such as "email"')
    return text


def _claim(text: str) -> str:
    """Return the name of a claim. Raises BadValue."""
    if not _CLAIM.fullmatch(text):
        raise BadValue(f"{show(text)} is not the name of a claim", 'a name such as "email" or "realm_access.roles"')
    return text


OIDC_VALIDATORS = {
    _path: "path", _return_path: "path", _issuer: "https:// URL", _scope: "scope", _claim: "claim",
}  # fmt: skip
"""What checks the values here -> in words; known to the reference."""

OwnPath = Annotated[str, AfterValidator(_path)]
Claim = Annotated[str, AfterValidator(_claim)]
Lifetime = Annotated[Duration, Field(ge=60, le=_LONGEST)]


class Paths(NamedTuple):
    """Where a host answers for a provider's logins."""

    login: str
    callback: str
    logout: str
    backchannel: str


class Oidc(Model):
    """An OpenID Connect provider that users log in at (see oidc.md). `auth = { oidc = "NAME" }` asks for such a login.

    The login is kept in the gateway's session ([sessions]); its paths are answered on every host of routes that ask.
    """

    issuer: Annotated[str, AfterValidator(_issuer)]
    """The provider: its `/.well-known/openid-configuration` says where its endpoints and keys are."""
    client_id: Text
    """What the provider calls this client."""
    client_secret: Text | None = Field(default=None, repr=False)
    """Secret of the client; without one it is a public client, by PKCE alone."""
    client_secret_file: FileName | None = None
    """File with that secret, read at each reload."""
    client_auth: Literal["basic", "post"] = "basic"
    """How the secret is told: `client_secret_basic` or `client_secret_post`."""
    ca_file: FileName | None = None
    """Certificates in PEM of the authorities that the provider's is checked by; by default the system's."""
    scopes: list[Annotated[str, AfterValidator(_scope)]] = Field(default=["openid"])
    """What is asked for: `openid` is asked for always, `offline_access` where the provider wants it for refresh."""
    authorize_params: dict[Text, Text] = Field(default={})
    """More parameters of the authorization request, such as `prompt`, `acr_values`, `login_hint` or `hd`."""
    max_age: Duration | None = None
    """How long ago a user may have given a password to the provider, at most, when logging in."""
    login: OwnPath | None = None
    """Path that begins a login, with `?next=` the path to come back to; by default `/oauth2/NAME/login`."""
    callback: OwnPath | None = None
    """Path of the redirect URI, as it is registered; by default `/oauth2/NAME/callback`."""
    logout: OwnPath | None = None
    """Path that logs out, here and at the provider; by default `/oauth2/NAME/logout`."""
    backchannel_logout: OwnPath | None = None
    """Path where the provider says who logged out; by default `/oauth2/NAME/backchannel-logout`."""
    after_logout: Annotated[str, AfterValidator(_return_path)] = "/"
    """Path to come back to after the logout; its URL is registered as a post-logout redirect URI."""
    user_claim: Claim = "sub"
    """The claim that names the user: 1 to 256 visible ASCII characters."""
    groups_claim: Claim = "groups"
    """The claim with the user's groups; a dot leads into an object, as in `realm_access.roles`."""
    claims: list[Claim] = Field(default=[*_CLAIMS])
    """Claims that are kept beside those, for authorization and upstreams."""
    userinfo: bool = False
    """Ask the userinfo endpoint for claims too."""
    require_claims: dict[Claim, str | bool | int] = Field(default={})
    """Claims that must be so for a login to count, such as `hd = "example.com"` or `email_verified = true`."""
    lifetime: Lifetime | None = None
    """Time after which a user must log in again; by default that of the session."""
    refresh: bool = True
    """Use refresh tokens, where the provider gives some: the login ends when it refuses one."""
    pass_token: FieldName | None = None
    """Name of the field in which upstreams get the access token, such as `Authorization` (as a Bearer token)."""

    def paths(self, name: str) -> Paths:
        """Return where the logins of the table `name` are answered."""
        base = f"/oauth2/{name}"
        return Paths(
            self.login or f"{base}/login",
            self.callback or f"{base}/callback",
            self.logout or f"{base}/logout",
            self.backchannel_logout or f"{base}/backchannel-logout",
        )
