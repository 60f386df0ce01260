"""The table of maintenance: requests are answered with 503, but for those who may look."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, Field

from edgewise.config.problems import BadValue
from edgewise.config.types import Duration, FieldName, FileName, Model, Network, Text, Token

_SECRET = re.compile(r"[A-Za-z0-9._~-]{16,256}")


def check_bypass_secret(text: str) -> str:
    """Return a secret that can stand in a field and in a cookie; the message does not repeat it."""
    if not _SECRET.fullmatch(text):
        raise BadValue("this is no secret to pass by", '16 to 256 letters, digits and "._~-"')
    return text


class Maintenance(Model):
    """Answer every request with 503, but those of who may look."""

    retry_after: Annotated[Duration, Field(ge=1)] = 300.0
    """Time after which clients may try again (Retry-After)."""
    message: Text = "The service is down for maintenance."
    """What clients are told."""
    page: FileName | None = None
    """HTML file that browsers get in its place; it must need no other. Read at start and at each reload."""
    allow: list[Network] = Field(default=[])
    """Networks whose requests pass."""
    bypass_secret: Annotated[str, AfterValidator(check_bypass_secret)] | None = Field(default=None, repr=False)
    """Requests that bring this secret pass: 16 characters or more of letters, digits and "._~-"."""
    bypass_header: FieldName = "X-Maintenance-Bypass"
    """Field that brings it; servers do not get it."""
    bypass_cookie: Token = "maintenance-bypass"
    """Cookie that brings it."""
