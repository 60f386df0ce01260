"""The table of shared state: which engine keeps it, and how."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, ValidationInfo

from edgewise.config.problems import BadValue, nearest, show
from edgewise.config.types import LogPath, Model, PositiveDuration

_EXPECTED = '"sqlite:DIRECTORY", "nats://HOST:PORT" or "redis://HOST:PORT/DATABASE"'
_SCHEMES = ("sqlite", "nats", "tls", "redis", "rediss")
_SERVER = re.compile(r"(?:[!-?A-~]+@)?(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?")
_DATABASE = re.compile(r"(?:/[0-9]{0,4})?")


def _state_url(text: str, info: ValidationInfo) -> str:
    """Return the URL of an engine; a directory is joined to that of the configuration file. Raises BadValue."""
    scheme, colon, rest = text.partition(":")
    if scheme not in _SCHEMES or not colon:
        raise BadValue(f"{show(text)} is not the URL of a state engine", _EXPECTED, _near(scheme, rest))
    if scheme == "sqlite":
        if not rest or rest.startswith("//"):
            close = f"sqlite:{rest[2:]}" if rest[2:] else ""
            raise BadValue(f"{show(text)} names no directory", '"sqlite:DIRECTORY"', close)
        directory = (info.context or {}).get("directory")
        return f"sqlite:{Path(directory) / rest}" if directory else text
    servers, slash, path = rest.removeprefix("//").partition("/")
    several = scheme in ("nats", "tls")
    hosts = servers.split(",") if several else [servers]
    whole = rest.startswith("//") and all(_SERVER.fullmatch(host) for host in hosts)
    if not whole or (several and path) or not _DATABASE.fullmatch(slash + path):
        raise BadValue("it is not the URL of a state engine", _EXPECTED)
    return text


def _near(scheme: str, rest: str) -> str:
    close = nearest(scheme, _SCHEMES)
    return f"{close}:{rest}" if close and rest else ""


STATE_URL_VALIDATOR = _state_url
StateUrl = Annotated[str, AfterValidator(STATE_URL_VALIDATOR)]


class State(Model):
    """State that outlives a process, shared by workers and, on NATS or Redis, by nodes (see state.md)."""

    url: StateUrl = Field(default="sqlite:edgewise-state", validate_default=True)
    """Engine: `"sqlite:DIRECTORY"` (embedded), `"nats://..."` or `"tls://..."`, `"redis://..."` or `"rediss://..."`."""
    patience: PositiveDuration = 2.0
    """Time that a call waits for an engine that does not answer."""
    sync: Literal["normal", "full"] = "normal"
    """Embedded: whether a write survives the end of any process, or with "full" also a loss of power."""
    replicas: Annotated[int, Field(ge=1, le=5)] = 1
    """NATS: servers that keep each stream."""
    local_copy: LogPath | None = None
    """NATS: directory of the copy to read while NATS is out of reach, or "off"; by default in the state directory."""
    allow_eviction: bool = False
    """Redis: use a server that is set to drop keys when its memory is full."""


def without_password(url: str) -> str:
    """Return the URL of an engine fit to be shown."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return url.partition(":")[0] + ":"
    if "@" not in parts.netloc:
        return url
    hosts = ",".join(host.rpartition("@")[2] for host in parts.netloc.split(","))
    return parts._replace(netloc=hosts).geturl()
