"""Reason phrases."""

from __future__ import annotations

from edgewise.http.statuses import reason, status_line


def test_reasons_are_those_of_rfc_9110() -> None:
    assert [reason(status) for status in (200, 404, 413, 414, 416, 422, 502)] == [
        b"OK", b"Not Found", b"Content Too Large", b"URI Too Long", b"Range Not Satisfiable", b"Unprocessable Content",
        b"Bad Gateway",
    ]  # fmt: skip


def test_an_unregistered_status_has_no_reason() -> None:
    assert reason(499) == b""
    assert status_line(499) == b"HTTP/1.1 499 \r\n"
    assert status_line(204) == b"HTTP/1.1 204 No Content\r\n"
