"""The tables of issuers whose tokens (JWT) say who asks."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Discriminator, Field, Tag, ValidationInfo

from edgewise.config.credentials import NO_FIELD_VALIDATOR, Realm
from edgewise.config.problems import BadValue, show
from edgewise.config.types import Count, Duration, FieldName, FileName, Model, Name, Size, Text, Token, list_or_one

_HOST = r"(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?"
_URL = re.compile(rf"https://{_HOST}(?:/[!-\"$-~]*)?")
_LOOPBACK_URL = re.compile(r"http://(?:127\.0\.0\.1|localhost|\[::1\])(?::[0-9]{1,5})?(?:/[!-\"$-~]*)?")
_CLAIM = re.compile(r"[!-~]{1,128}")
_MOST_URL = 2048

Algorithm = Literal[
    "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "Ed25519", "Ed448",
    "HS256", "HS384", "HS512",
]  # fmt: skip
"""RFC 7518 section 3.1, RFC 8037, RFC 9864; there is no `none`."""


def is_url(text: str) -> bool:
    """Is this a URL that keys may be told at: https, or http on this machine?"""
    return len(text) <= _MOST_URL and (_URL.fullmatch(text) or _LOOPBACK_URL.fullmatch(text)) is not None


def _key_set(text: str, info: ValidationInfo) -> str:
    """Return a URL, or a file name joined to the directory of the configuration file. Raises BadValue."""
    if is_url(text):
        return text
    if "://" in text or not text:
        expected = 'a URL such as "https://login.example.com/jwks", http:// only to this machine, or a file'
        raise BadValue(f"{show(text)} is not where keys are", expected)
    directory = (info.context or {}).get("directory")
    return str(Path(directory) / text) if directory else text


def _claim(text: str) -> str:
    """Return the path of a claim. Raises BadValue."""
    if not _CLAIM.fullmatch(text):
        raise BadValue(f"{show(text)} is not the name of a claim", 'a name such as "sub" or "realm_access.roles"')
    return text


def _name(text: str) -> str:
    """Return the name of an environment variable. Raises BadValue."""
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]{0,127}", text):
        raise BadValue(f"{show(text)} is not the name of an environment variable", 'a name such as "JWT_SECRET"')
    return text


JWT_VALIDATORS = {_key_set: "URL or file name", _claim: "claim", _name: "name"}
"""What checks the values here -> in words; known to the reference."""

Claim = Annotated[str, AfterValidator(_claim)]
Claims = list[Claim]
Value = str | bool | int
Texts = Annotated[
    Annotated[Text, Tag("<one>")] | Annotated[list[Text], Field(min_length=1), Tag("<list>")],
    Discriminator(list_or_one),
]
Values = Annotated[
    Annotated[Value, Tag("<one>")] | Annotated[list[Value], Field(min_length=1), Tag("<list>")],
    Discriminator(list_or_one),
]
Names = Annotated[
    Annotated[Name, Tag("<one>")] | Annotated[list[Name], Field(min_length=1), Tag("<list>")],
    Discriminator(list_or_one),
]
"""Of issuers."""


class Jwt(Model):
    """An issuer of tokens (see jwt.md). `auth = { jwt = "NAME" }` asks for one of its tokens.

    Its keys are told by exactly one of jwks, discovery, key_files, secret_file and secret_env.
    """

    issuer: Texts
    """What `iss` must be, or one of several."""
    audience: Texts | None = None
    """What `aud` must hold, or one of several: the name of this service at the issuer."""
    any_audience: bool = False
    """In place of audience: accept tokens that were issued for anybody. Whoever gets one can then use it here."""
    jwks: Annotated[str, AfterValidator(_key_set)] | None = None
    """The issuer's keys (JWK Set): an https:// URL, asked again as its Cache-Control says, or a file."""
    discovery: bool = False
    """Learn the URL of the keys from the issuer's `/.well-known/openid-configuration`."""
    key_files: list[FileName] = Field(default=[])
    """Public keys or certificates of the issuer in PEM; read at each reload."""
    secret_file: FileName | None = None
    """File with a secret shared with the issuer, for HS256 to HS512; read at each reload."""
    secret_env: Annotated[str, AfterValidator(_name)] | None = None
    """Environment variable with such a secret."""
    algorithms: list[Algorithm] = Field(default=[])
    """Algorithms that are accepted; by default all for which the keys are, HS256 for a secret."""
    types: list[str] = Field(default=["", "JWT", "at+jwt"])
    """What `typ` may be; `""` stands for none."""
    leeway: Annotated[Duration, Field(le=300)] = 30.0
    """Time by which clocks may differ."""
    require: Claims = Field(default=[])
    """Claims that must be there."""
    require_claims: dict[Claim, Values] = Field(default={})
    """Claims that must be so, or one of a list as in `tenant = ["a", "b"]`; of a claim that is a list, one member."""
    user_claim: Claim = "sub"
    """The claim that says who asks."""
    consumer_claim: Claim | None = None
    """The claim that names the consumer, for its limits and quotas; tokens without it are refused."""
    groups_claims: Claims = Field(default=["groups"])
    """Claims with groups; a dot leads into an object, as in `realm_access.roles`."""
    scope_claims: Claims = Field(default=["scope", "scp"])
    """Claims with scopes: a text with spaces between them, or a list."""
    header: Annotated[FieldName | None, BeforeValidator(NO_FIELD_VALIDATOR)] = "Authorization"
    """Header with the token: in Authorization after `Bearer`, in others alone; `false` for none."""
    cookie: Token | None = None
    """Cookie with the token; a form of another site then needs to be kept away, see csrf.md."""
    query: Token | None = None
    """Parameter of the query with the token; queries are in logs and histories, so prefer a header."""
    hide: bool = False
    """Keep the header from upstreams."""
    realm: Realm = "edgewise"
    """Realm in WWW-Authenticate."""
    max_bytes: Annotated[Size, Field(ge=256, le=65536)] = 8192
    """Size of a token at most."""
    remembered: Count = 4096
    """Verified tokens that each worker remembers, twice this at most."""
    max_age: Annotated[Duration, Field(ge=60, le=86400)] = 3600.0
    """Time for which keys of a URL are used at most before they are asked for again, whatever Cache-Control says."""
    stale: Annotated[Duration, Field(le=30 * 86400)] = 86400.0
    """Time for which they are used beyond that while the issuer cannot be reached."""
    ca_file: FileName | None = None
    """Certificates in PEM of the authorities that the issuer's is checked by; by default the system's."""

    @property
    def issuers(self) -> list[str]:
        """The issuers, also where there is one."""
        return [self.issuer] if isinstance(self.issuer, str) else self.issuer

    @property
    def audiences(self) -> list[str]:
        """The audiences; none: any."""
        return [self.audience] if isinstance(self.audience, str) else self.audience or []
