"""The table of idempotency keys."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from edgewise.config.types import Age, Duration, FieldName, Model, Size, StatusRange

MOST = 16_000_000
"""Bytes of an answer, or of a request, at most."""


class Idempotency(Model):
    """Requests that clients may send again under the same key: the first answer is kept, and given to all of them.

    A key belongs to the route and to whoever sent it. Another request under the same key gets 422, one that comes while
    the first is under way 409.
    """

    header: FieldName = "Idempotency-Key"
    """Field that has the key."""
    methods: list[Literal["POST", "PUT", "PATCH", "DELETE"]] = Field(default=["POST", "PATCH"], min_length=1)
    """Methods that it is for."""
    required: bool = False
    """Refuse requests of these methods that have no key (400)."""
    keep: Annotated[Age, Field(ge=1, le=31_536_000)] = 86400
    """How long an answer is kept."""
    most: Annotated[Size, Field(ge=1, le=MOST)] = 1024**2
    """Content of answers that are kept at most; a longer one is passed on, and its key is free again."""
    most_request: Annotated[Size, Field(ge=1, le=MOST)] = 1024**2
    """Content of requests with a key at most; it is read whole before a server is asked."""
    lock: Annotated[Duration, Field(ge=1, le=3600)] = 60.0
    """How long a key stays taken when the worker that has it died."""
    by: list[FieldName] = Field(default=["Authorization", "Cookie"])
    """Fields that tell clients apart where no policy has verified who asks."""
    not_kept: list[StatusRange] = Field(default=[408, 425, 429, "500-599"])
    """Statuses of answers that are not kept: the key is free again."""
    on_error: Literal["refuse", "allow"] = "refuse"
    """While the state engine is lost: refuse requests with a key (503), or let them through."""
