"""Status codes and their reason phrases (RFC 9110 section 15 and the IANA registry)."""

from __future__ import annotations

from http import HTTPStatus

REASONS: dict[int, bytes] = {status.value: status.phrase.encode("ascii") for status in HTTPStatus}
"""Reason phrase of each registered status."""
# The standard library of some Pythons has the names of RFC 7231.
REASONS |= {
    413: b"Content Too Large",
    414: b"URI Too Long",
    416: b"Range Not Satisfiable",
    422: b"Unprocessable Content",
}


def reason(status: int) -> bytes:
    """Return the reason phrase of `status`, b"" for one that is not registered."""
    return REASONS.get(status, b"")


def status_line(status: int) -> bytes:
    """Return the HTTP/1.1 status line of `status`, with its CRLF (RFC 9112 section 4)."""
    return b"HTTP/1.1 %d %b\r\n" % (status, REASONS.get(status, b""))
