"""The table that says which pages of other origins may use a route."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, Field

from edgewise.config.problems import BadValue, show
from edgewise.config.types import Duration, FieldName, Method, Model

_ORIGIN = re.compile(r"([a-z][a-z0-9+.-]*)://(?:\*\.)?([a-z0-9_-][a-z0-9._-]*|\[[0-9a-f:.]+\])(?::([0-9]{1,5}))?")
_DEFAULT_PORTS = {"http": "80", "https": "443"}


def check_origin(text: str) -> str:
    """Return an origin as browsers send it (RFC 6454 section 6.2): lower case, without the scheme's own port."""
    lower = text.lower()
    if lower in ("*", "null"):
        return lower
    found = _ORIGIN.fullmatch(lower)
    if found is None:
        expected = 'such as "https://app.example.com", "https://*.example.com", "*" or "null"'
        raise BadValue(f"{show(text)} is no origin", expected)
    scheme, _, port = found.groups()
    return lower.removesuffix(f":{port}") if port is not None and _DEFAULT_PORTS.get(scheme) == port else lower


class Cors(Model):
    """Pages of other origins that may use a route (CORS), told to browsers here in place of what servers say of it.

    `true`, as `{}`: pages of any origin, but never with the user's cookies.
    """

    origins: list[Annotated[str, AfterValidator(check_origin)]] = Field(default=["*"], min_length=1)
    """Origins: "https://app.example.com", "https://*.example.com" for any name below, "*" for any, "null" for pages of
    files and sandboxes, which anybody can make."""
    methods: list[Method] = Field(default=["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"])
    """Methods that pages may use."""
    headers: list[FieldName] = Field(default=["*"])
    """Fields that pages may send; "*": any."""
    expose: list[FieldName] = Field(default=["*"])
    """Fields of answers that pages may read; "*": any, which browsers do not take with credentials."""
    credentials: bool = False
    """Let pages use the user's cookies and client certificate: only for origins that are named."""
    max_age: Annotated[Duration, Field(le=86400)] = 7200.0
    """Time for which browsers may keep what they were told; they keep it for 2 hours at most."""
    private_network: bool = False
    """Let public pages reach this server in a private network."""
