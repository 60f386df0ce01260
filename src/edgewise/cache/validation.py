"""Asking the origin whether a stored response still holds, and taking over what it says (RFC 9111 section 4.3)."""

from __future__ import annotations

from edgewise.cache.directives import joined
from edgewise.cache.freshness import timestamp
from edgewise.cache.request import CacheRequest
from edgewise.cache.settings import CacheSettings
from edgewise.cache.stored import Stored
from edgewise.cache.storing import Refusal, describe, judge
from edgewise.http.head import Field, ResponseHead
from edgewise.protocols.http1_fields import hop_by_hop

CONDITIONS = frozenset(
    (b"if-none-match", b"if-modified-since", b"if-range", b"range", b"if-match", b"if-unmodified-since")
)
"""Request fields that give way to `validators`: they speak of what the client has."""
_NOT_UPDATED = frozenset((b"content-length", b"content-encoding", b"content-range"))
"""Describe the stored content, which a 304 does not change (RFC 9111 section 3.2)."""


def validators(stored: Stored) -> bytes:
    """Return the field lines of a conditional request for it, b"" where it has no validator (section 4.3.1)."""
    lines = b""
    if stored.etag is not None and not stored.tagged:
        lines += b"If-None-Match: %b\r\n" % stored.etag
    if stored.modified is not None:
        lines += b"If-Modified-Since: %b\r\n" % stored.modified
    return lines


def confirms(stored: Stored, response: ResponseHead) -> bool:
    """Does this 304, the answer to `validators`, speak of this stored response (section 4.3.4)?

    A strong entity tag has to be the same, a weak one, else Last-Modified, has to match. One without any validator
    answers the only question that was asked. Where it does not, ask again without conditions.
    """
    etag = joined(response.fields, b"etag")
    known = None if stored.tagged else stored.etag
    if etag is not None:
        if etag.startswith(b"W/"):
            return known is not None and etag.removeprefix(b"W/") == known.removeprefix(b"W/")
        return etag == known
    modified = response.get(b"last-modified")
    if modified is None or stored.modified is None:
        return True
    return timestamp(modified) == timestamp(stored.modified)


def freshen(
    stored: Stored,
    request: CacheRequest,
    response: ResponseHead,
    settings: CacheSettings,
    asked: float,
    received: float,
) -> tuple[Stored, str]:
    """Return the stored response as a 304 updates it, and why it is not to be kept, "" where it is (section 3.2).

    It answers the request in any case: it has just been validated.
    """
    merged = _merged(stored, response)
    judged = judge(request, merged, settings, asked, received)
    if isinstance(judged, Refusal):
        fresh, reason = describe(request, merged, settings, asked, received), judged.reason
    else:
        fresh, reason = judged, ""
    fresh.body, fresh.file, fresh.slice = stored.body, stored.file, stored.slice
    fresh.tagged = stored.tagged
    fresh.measure(stored.length)
    return fresh, reason


def _merged(stored: Stored, response: ResponseHead) -> ResponseHead:
    left_out = hop_by_hop(response) | _NOT_UPDATED
    new = tuple(field for field in response.fields if field.name not in left_out)
    # A Date that the 304 has not is the time of its receipt: the old one would make the response old again.
    replaced = {field.name for field in new} | {b"date"}
    kept: tuple[Field, ...] = tuple(field for field in stored.fields if field.name not in replaced)
    return ResponseHead(
        stored.status, stored.reason, response.minor, kept + new, stored.length, True, None, frozenset()
    )
