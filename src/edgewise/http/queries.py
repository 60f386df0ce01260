"""Parameters of a query, as forms write them (URL Standard, application/x-www-form-urlencoded)."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import unquote_to_bytes


def decoded(text: bytes) -> bytes:
    """Return a name or value without its encoding."""
    return unquote_to_bytes(text.replace(b"+", b" "))


def parameters(query: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield the parameters of a query, decoded."""
    for pair in query.split(b"&"):
        if pair:
            name, _, value = pair.partition(b"=")
            yield decoded(name), decoded(value)
