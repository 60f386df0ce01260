"""The table of a route's compression."""

from __future__ import annotations

import re
from importlib.util import find_spec
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from edgewise.config.problems import BadValue, show
from edgewise.config.types import Model, Size

Coding = Literal["br", "zstd", "gzip"]
_LIBRARIES = {"br": ("brotli",), "zstd": ("compression.zstd", "backports.zstd")}
"""Modules one of which a coding needs."""
_TYPE = re.compile(r"[a-z0-9!#$&^_.+-]+/(?:\*|[a-z0-9!#$&^_.+-]+)")


def installed(coding: str) -> bool:
    """Is there a library for a content coding?"""
    return coding not in _LIBRARIES or any(map(_is_there, _LIBRARIES[coding]))


def _is_there(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ImportError:  # the package around it is missing
        return False


def _media_type(text: str) -> str:
    """Return a media type in lower case, or all of a kind. Raises BadValue."""
    if not _TYPE.fullmatch(text):
        raise BadValue(f"{show(text)} is not a media type", 'a type such as "text/html" or "text/*", in lower case')
    return text


MEDIA_TYPE = _media_type
"""What makes a text a media type; known to the reference."""


class Levels(Model):
    """How hard content is compressed; more costs more CPU."""

    br: Annotated[int, Field(ge=0, le=11)] = 3
    """Level of Brotli."""
    zstd: Annotated[int, Field(ge=1, le=19)] = 3
    """Level of Zstandard."""
    gzip: Annotated[int, Field(ge=1, le=9)] = 4
    """Level of gzip."""


class Compress(Model):
    """Compress what the upstream answers, as the client accepts it; what is encoded already stays as it is."""

    codings: Annotated[list[Coding], Field(min_length=1)] = Field(
        default_factory=lambda: [coding for coding in ("zstd", "br", "gzip") if installed(coding)]
    )
    """Content codings, the best first; by default zstd, br and gzip, those installed (edgewise[compress])."""
    types: list[Annotated[str, AfterValidator(_media_type)]] = Field(default=[])
    """Media types, "text/*" for all of a kind; by default text, JSON, XML, SVG and the like, no event streams."""
    min_size: Size = 1024
    """Content at least, where its length is known."""
    levels: Levels = Levels()
    """How hard."""
    anonymous_only: bool = False
    """Leave answers to requests with Cookie or Authorization alone (BREACH)."""
