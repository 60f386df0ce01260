"""The table of a route's files."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from edgewise.config.problems import BadValue, show
from edgewise.config.types import FieldValue, FileName, Model, Size, Text

_ENDING = re.compile(r"\.?[A-Za-z0-9_+-]{1,16}")


def _below_root(text: str) -> str:
    """Return the name of a file below the root. Raises BadValue."""
    segments = text.split("/")
    if "\0" in text or any(segment in ("", ".", "..") for segment in segments):
        raise BadValue(f"{show(text)} does not name a file below the root", 'a relative name such as "app/index.html"')
    return text


def _ending(text: str) -> str:
    """Return the end of a file's name. Raises BadValue."""
    if not _ENDING.fullmatch(text):
        raise BadValue(f"{show(text)} is not the end of a file's name", 'an end such as ".wasm"')
    return text


NAME_BELOW_ROOT = _below_root
"""What makes a text the name of a file below the root; known to the reference."""
ENDING = _ending
"""What makes a text the end of a file's name; known to the reference."""
NameBelowRoot = Annotated[str, Field(min_length=1), AfterValidator(_below_root)]
_Ending = Annotated[str, AfterValidator(_ending)]


class Static(Model):
    """Answer with files below a directory: GET and HEAD, conditional requests and ranges.

    The whole path is looked up below the root; strip_prefix and rewrite of the route change it before. What lies
    outside the root is never served, symbolic links included.
    """

    root: FileName
    """Directory."""
    index: list[NameBelowRoot] = Field(default=["index.html"])
    """Files that answer for their directory, the first there is."""
    listing: bool = False
    """List directories that have no index."""
    fallback: NameBelowRoot | None = None
    """File that answers where there is none, unless the path ends like the name of a file: for apps of one page."""
    not_found: NameBelowRoot | None = None
    """File sent with 404."""
    hidden: bool = False
    """Serve names with a leading dot; /.well-known is served in any case."""
    precompressed: list[Literal["br", "zstd", "gzip"]] = Field(default=["br", "zstd", "gzip"])
    """Codings of which a file NAME.br, NAME.zst or NAME.gz is sent to clients that take it, the best first."""
    cache_control: FieldValue = "no-cache"
    """Cache-Control of files that may change; "": none."""
    fingerprints: bool = True
    """Files whose names hold a fingerprint (8 hexadecimal digits or more, as in app.3f9a2c1b.js) are immutable."""
    immutable: list[Text] = Field(default=[])
    """Further files that are immutable, by pattern: "assets/*" are all below assets."""
    types: dict[_Ending, FieldValue] = Field(default={})
    """Media types by the end of names, before those built in."""
    charset: FieldValue = "utf-8"
    """Charset told of text; "": none."""
    memory: Size = 16_777_216
    """Memory of each worker for small files."""
