"""Parsed heads of HTTP messages, independent of the version that carried them (RFC 9110)."""

from __future__ import annotations

from copy import copy
from typing import Any, NamedTuple

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


class FieldLines:
    """The field lines of a request head and all that follows from them: one record for every head that has them.

    A line that is a secret (the last Cookie, else the last Authorization, else the last X-API-Key) is not among them:
    it belongs to its head alone, and goes between `before` and `after`.
    """

    __slots__ = (
        "after", "authority", "before", "body", "connection", "expect_continue", "forward", "forward_after", "host",
        "keep_alive", "kept", "telling", "upgrade",
    )  # fmt: skip

    def __init__(self, before: tuple[Field, ...] = (), after: tuple[Field, ...] = ()) -> None:
        self.before = before
        self.after = after
        self.authority: bytes | None = None
        """Host as sent (with port where given); None where there is none."""
        self.host = b""
        """Lower-case host without port or trailing dot, for matching."""
        self.body = NO_BODY
        """Content length in bytes, NO_BODY or CHUNKED."""
        self.keep_alive = True
        """May the connection carry another request after this one (RFC 9112 section 9.3)?"""
        self.upgrade: bytes | None = None
        """Lower-case protocol of a request to upgrade, e.g. `websocket`; never `h2c` (RFC 9110 section 7.8)."""
        self.expect_continue = False
        """The client waits for 100 (Continue) (RFC 9110 section 10.1.1)."""
        self.connection: frozenset[bytes] = frozenset()
        """Lower-case options of the Connection field, so that hop-by-hop fields can be dropped."""
        self.forward = b""
        """FieldLines of `before` that pass on as they are, joined: neither hop-by-hop nor written anew by a proxy."""
        self.forward_after = b""
        """The same of `after`."""
        self.telling = True
        """Is there a field (Via, traceparent, X-Forwarded-For...) that changes what a proxy adds?"""
        self.kept = False
        """Other heads with these lines share this record."""

    def revised(self, **changes: Any) -> FieldLines:
        """Return a record of its own with other values."""
        lines = copy(self)
        lines.kept = False
        for name, value in changes.items():
            setattr(lines, name, value)
        return lines


class RequestHead:
    """A request head that passed every check of the codec; nothing in it is ambiguous. Immutable."""

    __slots__ = ("lines", "method", "minor", "path", "query", "secret", "target")

    def __init__(
        self,
        method: bytes,
        target: bytes,
        path: bytes,
        query: bytes | None,
        minor: int,
        lines: FieldLines,
        secret: bytes = b"",
    ) -> None:
        self.method = method
        """As sent, for example `GET`; methods are case-sensitive (RFC 9110 section 9.1)."""
        self.target = target
        """Origin-form target to forward: normalised path plus `?query` where there is one (`*` for OPTIONS *)."""
        self.path = path
        """Normalised path: dot segments removed, percent-encoded unreserved characters decoded."""
        self.query = query
        """Without the question mark; None where there is none, b"" for a lone `?`."""
        self.minor = minor
        """0 for HTTP/1.0, 1 for HTTP/1.1 (and whatever 1.x is later), 2 for HTTP/2."""
        self.lines = lines
        self.secret = secret
        """`Cookie: value\\r\\n` or another line that no other head shares; b"" for none."""

    @property
    def authority(self) -> bytes:
        """Host as sent (with port where given); b"" only for HTTP/1.0 without Host."""
        return self.lines.authority or b""

    @property
    def host(self) -> bytes:
        """Lower-case host without port or trailing dot, for matching."""
        return self.lines.host

    @property
    def body(self) -> int:
        """Content length in bytes, NO_BODY or CHUNKED."""
        return self.lines.body

    @property
    def version(self) -> str:
        """The protocol as logs name it, for example `HTTP/1.1`."""
        return "HTTP/2.0" if self.minor == 2 else f"HTTP/1.{self.minor}"

    @property
    def fields(self) -> tuple[Field, ...]:
        """All fields as sent, in order, Host included."""
        lines = self.lines
        if not self.secret:
            return lines.before + lines.after
        name, _, value = self.secret.partition(b":")
        return (*lines.before, Field(name.lower(), value.strip(b" \t\r\n"), self.secret), *lines.after)

    @property
    def forward(self) -> bytes:
        """The field lines that pass on as they are, joined."""
        return b"".join((self.lines.forward, self.secret, self.lines.forward_after))

    def get(self, name: bytes) -> bytes | None:
        """Return the first value of the field `name` (lower-case), or None."""
        for field in self.fields:
            if field.name == name:
                return field.value
        return None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RequestHead) and _values(self) == _values(other)

    __hash__ = None  # type: ignore[assignment]  # heads are compared in tests, never looked up

    def with_lines(self, lines: FieldLines, secret: bytes = b"") -> RequestHead:
        """Return the head with other field lines."""
        return RequestHead(self.method, self.target, self.path, self.query, self.minor, lines, secret)


def _values(head: RequestHead) -> tuple[Any, ...]:
    """Return all that a head says; whether other heads share its lines is no part of it."""
    lines = head.lines
    framing = (lines.body, lines.keep_alive, lines.upgrade, lines.expect_continue, lines.connection)
    forward = (lines.authority, lines.host, lines.forward, lines.forward_after, lines.telling)
    return (head.method, head.target, head.path, head.query, head.minor, head.fields, *framing, *forward)


def plain_head(
    method: bytes = b"GET",
    path: bytes = b"/",
    query: bytes | None = None,
    host: bytes = b"",
    fields: tuple[Field, ...] = (),
    minor: int = 1,
) -> RequestHead:
    """Return the head of a request without content that has these fields and no other meaning."""
    lines = FieldLines(fields)
    lines.authority, lines.host = host or None, host
    target = path if query is None else b"%b?%b" % (path, query)
    return RequestHead(method, target, path, query, minor, lines)


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
