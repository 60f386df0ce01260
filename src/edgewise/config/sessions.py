"""The table of sessions that the gateway holds for the routes that have `session`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from edgewise.config.types import Duration, FileName, Model, Token

_LONGEST = 400 * 86400
Lifetime = Annotated[Duration, Field(ge=1, le=_LONGEST)]


class Sessions(Model):
    """Sessions held by the gateway, for the routes that have `session` (see gateway-sessions.md).

    Upstreams learn who asks as [identity] says.
    """

    mode: Literal["stateful", "sealed"] = "stateful"
    """Where a session is kept: in the state engine under an opaque id, or sealed in its cookie."""
    cookie: Token | None = None
    """Name of the cookie; by default `__Host-session`, without secure `session`."""
    secure: bool | None = None
    """Whether the cookie is for https alone; by default where there is a tls_listen."""
    same_site: Literal["Lax", "Strict", "None"] = "Lax"
    """SameSite of the cookie."""
    idle: Lifetime = 86400.0
    """Time after which a session that is not used ends."""
    lifetime: Lifetime = 14 * 86400.0
    """Time after the login at which a session ends, however much it is used."""
    secrets: list[Annotated[str, Field(min_length=32)]] = Field(default=[], repr=False)
    """Sealed: the first seals, all open; 32 characters or more each, from a source of randomness."""
    secret_files: list[FileName] = Field(default=[])
    """Sealed: files with one secret each, after those of secrets; read at each reload."""
