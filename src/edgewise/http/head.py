"""Parsed heads of HTTP messages, independent of the version that carried them (RFC 9110)."""

from __future__ import annotations

from typing import NamedTuple

NO_BODY = 0
"""`body` of a head whose message has no content."""
CHUNKED = -1
"""`body` of a head whose content is chunked (HTTP/1.1) or of unknown length (HTTP/2)."""
UNTIL_CLOSE = -2
"""`body` of a response head whose content ends with the connection (RFC 9112 section 6.3)."""


class Field(NamedTuple):
    """One field line."""

    name: bytes
    """Lower-case name."""
    value: bytes
    """Value without surrounding white space."""
    line: bytes
    """`Name: value\\r\\n` with the sender's spelling of the name, white space normalised."""


class RequestHead(NamedTuple):
    """A request head that passed every check of the codec; nothing in it is ambiguous."""

    method: bytes
    """As sent, for example `GET`; methods are case-sensitive (RFC 9110 section 9.1)."""
    target: bytes
    """Origin-form target to forward: normalised path plus `?query` where there is one (`*` for OPTIONS *)."""
    path: bytes
    """Normalised path: dot segments removed, percent-encoded unreserved characters decoded."""
    query: bytes | None
    """Without the question mark; None where there is none, b"" for a lone `?`."""
    authority: bytes
    """Host as sent (with port where given); b"" only for HTTP/1.0 without Host."""
    host: bytes
    """Lower-case host without port or trailing dot, for matching."""
    minor: int
    """HTTP/1.`minor`; 1 for later versions."""
    fields: tuple[Field, ...]
    """All fields as sent, in order, Host included."""
    body: int
    """Content length in bytes, NO_BODY or CHUNKED."""
    keep_alive: bool
    """May the connection carry another request after this one (RFC 9112 section 9.3)?"""
    upgrade: bytes | None
    """Lower-case protocol of a request to upgrade, e.g. `websocket`; never `h2c` (RFC 9110 section 7.8)."""
    expect_continue: bool
    """The client waits for 100 (Continue) (RFC 9110 section 10.1.1)."""
    connection: frozenset[bytes]
    """Lower-case options of the Connection field, so that hop-by-hop fields can be dropped."""
    forward: bytes = b""
    """The field lines that pass on as they are, joined: neither hop-by-hop nor written anew by a proxy."""
    telling: bool = True
    """Is there a field (Via, traceparent, X-Forwarded-For...) that changes what a proxy adds?"""

    def get(self, name: bytes) -> bytes | None:
        """Return the first value of the field `name` (lower-case), or None."""
        for field in self.fields:
            if field.name == name:
                return field.value
        return None


class ResponseHead(NamedTuple):
    """A response head that passed every check of the codec."""

    status: int
    reason: bytes
    minor: int
    fields: tuple[Field, ...]
    body: int
    """Content length, NO_BODY, CHUNKED or UNTIL_CLOSE for a request that was not HEAD (see `protocols.http1`)."""
    keep_alive: bool
    upgrade: bytes | None
    connection: frozenset[bytes]

    def get(self, name: bytes) -> bytes | None:
        """Return the first value of the field `name` (lower-case), or None."""
        for field in self.fields:
            if field.name == name:
                return field.value
        return None
