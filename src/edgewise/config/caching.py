"""The tables of the HTTP cache: what is kept of a route's answers, and how much room there is."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from edgewise.config.problems import BadValue, show
from edgewise.config.types import Duration, FieldName, FileName, Model, Network, PositiveDuration, Share, Size, Text

_SMALLEST_SLICE = 100_000
_DIRECTIVE = re.compile(
    "public|private|no-cache|no-store|no-transform|must-revalidate|proxy-revalidate|must-understand|immutable"
    "|(?:max-age|s-maxage|stale-while-revalidate|stale-if-error)=[0-9]{1,10}"
)
_Status = Annotated[str, Field(pattern="^[2-5][0-9]{2}$")]
_Language = Annotated[str, Field(pattern="^[A-Za-z]{1,8}(-[A-Za-z0-9]{1,8})*$")]


def _slice(size: int) -> int:
    if 0 < size < _SMALLEST_SLICE:
        raise BadValue(f"{size} bytes are no slice", "0, or 100KB at least")
    return size


Slice = Annotated[Size, AfterValidator(_slice)]
"""Bytes of a slice, 0 for none."""


def _cache_policy(text: str) -> str:
    for directive in text.split(","):
        if not _DIRECTIVE.fullmatch(directive.strip(" ")):
            message = f"{show(directive.strip(' '))} is no directive of answers"
            raise BadValue(message, 'Cache-Control as it is sent, such as "private, max-age=60"')
    return text


CACHE_POLICY = _cache_policy
"""What makes a text a Cache-Control; known to the reference."""
CachePolicy = Annotated[str, AfterValidator(_cache_policy)]
"""Directives of Cache-Control."""


class CacheMemory(Model):
    """Room for answers that routes with `cache` keep."""

    memory: Size = 268_435_456
    """Memory for stored answers, divided among the workers."""
    disk: Size = 0
    """Disk for stored answers beside that, shared by the workers and kept when edgewise ends; 0: none. Content of more
    than 256 KiB is then kept there alone."""
    directory: FileName | None = None
    """Directory for them, of this edgewise alone; by default "cache" in its state directory."""
    second_hit: bool = False
    """What was asked for once only has a tenth of the memory: it does not take the place of what is asked for again."""
    offline: PositiveDuration = 60.0
    """Where nodes share state: time without word from the engine after which stored answers are validated before they
    are used, once in each such time, since other nodes' purges are not heard."""


class RouteCache(Model):
    """Keep answers and give them to whom they fit, as a shared cache does by RFC 9111: what answers say themselves
    decides, the settings here fill what they leave open.
    """

    default_ttl: Duration = 0.0
    """Time for which an answer is fresh that does not say; 0: by a share of the time since Last-Modified, else not."""
    status_ttl: dict[_Status, Duration] = Field(default={})
    """The same for answers of a status, errors too: `{ 404 = "10s" }`."""
    heuristic_share: Share = 0.1
    """Share of the time since Last-Modified for which an answer is fresh that does not say."""
    stale_while_revalidate: Duration = 0.0
    """Time after that in which an answer is used while it is renewed, where it does not say."""
    stale_if_error: Duration = 0.0
    """Time after that in which an answer stands in for servers that fail, where it does not say."""
    stale_on_disconnect: Duration = 60.0
    """The same while no server can be reached, unless the answer forbids it."""
    max_object: Size = 8_388_608
    """Content of an answer at most; longer ones are passed on only."""
    slice: Slice = 0
    """Ask servers in ranges of this size and keep each by itself, so that a client's range of a large object needs no
    more than it touches; 0: objects are fetched whole. At least 100KB. `max_object` is for what is kept whole."""
    query: list[Text] | None = None
    """Query parameters that make a difference, "*" for anything in a name; by default all. Others are not sent on."""
    ignore_query: list[Text] = Field(default=[])
    """Query parameters that make none and are not sent on."""
    ignore_marketing: bool = False
    """The same for those that campaigns add: utm_*, gclid, fbclid and the like."""
    sort_query: bool = False
    """The order of query parameters makes no difference."""
    headers: list[FieldName] = Field(default=[])
    """Request fields that make a difference, beside those that answers name in Vary."""
    cookies: list[Text] = Field(default=[])
    """Cookies that make a difference, whatever Vary says."""
    session_cookies: list[Text] | None = None
    """Cookies that tell users apart where an answer varies on Cookie, such as Django's "sessionid" and "csrftoken".
    Whoever has none of them shares one answer. By default every cookie counts but those of analytics."""
    ignore_cookies: list[Text] | None = None
    """Cookies that never count, where `session_cookies` is not given; by default those of well-known analytics."""
    languages: list[_Language] = Field(default=[])
    """Languages there are, the default first: an answer that varies on Accept-Language is kept once for each."""
    device: list[Literal["mobile", "tablet"]] = Field(default=[])
    """Kinds of devices told apart from desktops, by Sec-CH-UA-Mobile and User-Agent: each has answers of its own, and
    servers get its name in X-UA-Device. An answer that varies on User-Agent is kept once for each."""
    request_directives: bool = True
    """Heed what clients ask of caches: no-cache, max-age, min-fresh, max-stale."""
    etag: Literal["weak", "strong"] | None = None
    """Give answers without an entity tag one of their content, so that browsers ask with it and get 304. None is given
    where content is passed on, or kept in parts."""
    browser: CachePolicy | None = None
    """Cache-Control that browsers get with what is kept, in place of its own: "private, max-age=60". Its seconds count
    from when they get it. Errors and redirects keep their own; so does what is not kept."""
    hide: list[FieldName] = Field(default=[])
    """Fields of answers that are for this cache and not sent on, such as "Surrogate-Key" and "CDN-Cache-Control"."""
    store_set_cookie: bool = False
    """Keep an answer together with the cookies it sets, as RFC 9111 allows. By default it is kept only where it says
    that shared caches may, and without its cookies."""
    purge_from: list[Network] = Field(default=[])
    """Addresses and networks whose PURGE requests are obeyed: what is stored of the URL is forgotten everywhere. By
    default PURGE is a method like any other."""
    targets: list[FieldName] = Field(default=["CDN-Cache-Control"])
    """Fields that count in place of Cache-Control, the first that is there (RFC 9213)."""
