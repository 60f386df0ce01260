"""May a response be stored, and what of it (RFC 9111 section 3)?"""

from __future__ import annotations

from typing import NamedTuple

from edgewise.cache.directives import Directives, of_response
from edgewise.cache.freshness import Lifetime, birth, date_of, lifetime
from edgewise.cache.key import normal_authority
from edgewise.cache.request import CacheRequest
from edgewise.cache.settings import CacheSettings
from edgewise.cache.stored import Stored
from edgewise.cache.tags import group_tag, groups_of, tag_ids, tags_of
from edgewise.cache.vary import vary_names
from edgewise.http.dates import format_date
from edgewise.http.head import Field, ResponseHead
from edgewise.http.statuses import REASONS
from edgewise.protocols.http1_fields import hop_by_hop

_UNDERSTOOD = frozenset(REASONS) - {206, 304}
"""Statuses whose meaning for a cache is known here; 206 and 304 are parts of something else."""
_NOT_STORED = frozenset((b"age", b"content-length", b"proxy-authentication-info"))
"""Beside the fields of one hop: each answer has its own Age and Content-Length."""


class Refusal(NamedTuple):
    """Why a response is not stored."""

    reason: str
    """One word or two, for Cache-Status and `explain`."""


def judge(
    request: CacheRequest, response: ResponseHead, settings: CacheSettings, asked: float, received: float
) -> Stored | Refusal:
    """Decide whether a response to a GET is stored; what is returned still lacks its content (`Stored.fill`).

    `asked` and `received`: when the request went out and the head came, in seconds since the epoch.
    """
    said = of_response(response.fields, settings.targets)
    life = lifetime(response.status, response.fields, said, settings, received)
    reason = (
        _forbidden(request, response, said)
        or _unknown(response, said, life)
        or _personal(request, response, said, life, settings)
    )
    if reason:
        return Refusal(reason)
    if response.body > settings.most_bytes:
        return Refusal("size")
    try:
        tags = _tags(request, response)
    except ValueError:
        return Refusal("tags")
    stored = _describe(request, response, said, life, settings, (asked, received))
    stored.tags = tags
    return stored if _worth_keeping(stored) else Refusal("stale")


# ---- reasons against it ----------------------------------------------------------------------------------------------


def _forbidden(request: CacheRequest, response: ResponseHead, said: Directives) -> str:
    """Say why it must not be stored whatever it is."""
    if request.head.method != b"GET":
        return "method"
    if request.said.no_store:
        return "request no-store"
    # With must-understand, no-store is for caches that do not know the status (RFC 9111 section 5.2.2.3).
    if said.no_store and not said.must_understand:
        return "no-store"
    if said.must_understand and response.status not in _UNDERSTOOD:
        return "status not understood"
    return "private" if said.private else ""


def _unknown(response: ResponseHead, said: Directives, life: Lifetime) -> str:
    """Say why nothing makes it storable."""
    if response.status < 200 or response.status in (206, 304):
        return "status"
    return "" if life.known or said.no_cache or said.public else "no freshness"


def _personal(
    request: CacheRequest, response: ResponseHead, said: Directives, life: Lifetime, settings: CacheSettings
) -> str:
    """Say why it may be meant for this client only, or be an answer to this request only."""
    names = vary_names(response.fields)
    if names is None:
        return "vary"
    if request.said.authorized and not (said.public or said.must_revalidate or said.s_maxage is not None):
        return "authorization"
    if not settings.store_set_cookie and not _for_all(said) and _sets_cookie(response, said):
        return "set-cookie"
    if not life.explicit and not said.public and b"cookie" not in names and request.somebody():
        return "cookie"
    return "range" if request.said.ranged and response.status != 200 else ""


def _for_all(said: Directives) -> bool:
    """Does it say that shared caches may keep it, not only that caches may?"""
    return said.public or said.s_maxage is not None or (said.targeted and said.max_age is not None)


def _sets_cookie(response: ResponseHead, said: Directives) -> bool:
    left_out = said.private_fields | said.no_cache_fields
    return b"set-cookie" not in left_out and response.get(b"set-cookie") is not None


# ---- the object ------------------------------------------------------------------------------------------------------


def describe(
    request: CacheRequest, response: ResponseHead, settings: CacheSettings, asked: float, received: float
) -> Stored:
    """Return a response as an object without content and tags, whether it may be stored or not."""
    said = of_response(response.fields, settings.targets)
    life = lifetime(response.status, response.fields, said, settings, received)
    return _describe(request, response, said, life, settings, (asked, received))


def _describe(
    request: CacheRequest,
    response: ResponseHead,
    said: Directives,
    life: Lifetime,
    settings: CacheSettings,
    times: tuple[float, float],
) -> Stored:
    asked, received = times
    stored = Stored(response.status, response.reason, stored_fields(response, said, settings, received))
    stored.received = received
    stored.date = date_of(response.fields, received)
    stored.born = birth(response.fields, asked, received)
    stored.fresh_until = 0.0 if said.no_cache else stored.born + life.seconds
    stored.allow(said, settings)
    stored.vary = vary_names(response.fields) or ()
    stored.primary = request.key
    stored.key = request.variant(stored.vary)
    stored.url = request.url
    return stored


def _worth_keeping(stored: Stored) -> bool:
    """Can it answer anything, now or after validation?"""
    stale_for = max(stored.stale_while_revalidate, stored.stale_if_error)
    return stored.validates or stored.fresh_until + stale_for > stored.received


def stored_fields(
    response: ResponseHead, said: Directives, settings: CacheSettings, received: float
) -> tuple[Field, ...]:
    """Return the fields to store, with a Date (RFC 9111 section 3.1, RFC 9110 section 6.6.1).

    Not those of one hop, nor those that `private` or `no-cache` name: to leave these out is to never use them without
    validation.
    """
    left_out = hop_by_hop(response) | _NOT_STORED | said.private_fields | said.no_cache_fields
    if not settings.store_set_cookie:
        left_out |= {b"set-cookie"}
    fields = tuple(field for field in response.fields if field.name not in left_out)
    if response.get(b"date") is None:
        date = format_date(received)
        fields += (Field(b"date", date, b"Date: %b\r\n" % date),)
    return fields


def withheld(response: ResponseHead, stored: Stored, settings: CacheSettings) -> bytes:
    """Return the lines that are not stored because they are for the one whose request went out."""
    said = of_response(response.fields, settings.targets)
    own = (said.private_fields | said.no_cache_fields | {b"set-cookie"}) - hop_by_hop(response)
    own -= {field.name for field in stored.fields}
    return b"".join(field.line for field in response.fields if field.name in own - _NOT_STORED)


def _tags(request: CacheRequest, response: ResponseHead) -> bytes:
    """Return the ids of its tags; a cache group is a tag, and once more one of its origin. Raises ValueError."""
    tags = tags_of(response.fields)
    groups = groups_of(response.fields)
    if groups:
        origin = origin_of(request)
        tags += groups + tuple(group_tag(origin, group) for group in groups)
    return tag_ids(tags)


def origin_of(request: CacheRequest) -> bytes:
    """Return the origin of a request's target, for example `https://example.com` (RFC 9110 section 4.3.1)."""
    return b"%b://%b" % (request.scheme, normal_authority(request.head.authority, request.scheme))
