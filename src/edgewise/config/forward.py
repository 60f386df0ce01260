"""The table of forward authentication: a service of one's own that is asked about each request."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from edgewise.config.problems import BadValue, show
from edgewise.config.types import Duration, FieldName, Model, Name, PositiveCount, PositiveDuration, Size

_TARGET = re.compile(r"/[!-\"$-~]{0,2047}")


def _target(text: str) -> str:
    if not _TARGET.fullmatch(text):
        raise BadValue(f"{show(text)} is not a path", 'a path such as "/check", with a query where one is needed')
    return text


TARGET_VALIDATOR = _target
"""What checks a path with query; known to the reference."""


class Forward(Model):
    """Asks a service, by a GET with the request's fields: 2xx lets the request go on, 3xx and 4xx go to the client.

    Fields whose names are listed in `response_headers` are only the service's: no client can send them on.
    """

    upstream: Name
    """Where the service is: one of [upstreams], with its balancing, health, timeouts and retries."""
    path: Annotated[str, AfterValidator(TARGET_VALIDATOR)] = "/"
    """What is asked for."""
    request_headers: list[FieldName] | None = None
    """Fields of the request that the service gets; by default all, but for those of content, ranges and conditions."""
    response_headers: list[FieldName] = Field(default=[])
    """Fields of its answer that servers get."""
    client_headers: list[FieldName] = Field(default=[])
    """Fields of its answer that the client gets, such as Set-Cookie."""
    user_header: FieldName | None = None
    """Field of its answer that names the sender."""
    groups_header: FieldName | None = None
    """Field of its answer with the sender's groups, parted by commas."""
    timeout: PositiveDuration = 5.0
    """For the whole answer."""
    max_body: Size = 65536
    """Bytes of content that an answer may have."""
    on_error: Literal["deny", "allow"] = "deny"
    """What becomes of requests while the service gives no answer of use: 503, or they go on as nobody's."""
    cache: Duration = 0.0
    """How long requests with the same client, method, host, path, query and fields go on by one 2xx."""
    cache_by: list[FieldName] = Field(default=[])
    """Those fields; by default `request_headers`."""
    cache_entries: PositiveCount = 10000
    """Verdicts kept by a worker."""
