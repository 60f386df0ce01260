"""What an unsafe request makes invalid (RFC 9111 section 4.4, RFC 9875 section 3)."""

from __future__ import annotations

from urllib.parse import urljoin, urlsplit

from edgewise.cache.key import Keys, normal_authority
from edgewise.cache.purges import Kind, Purge
from edgewise.cache.tags import group_tag, groups_of
from edgewise.http.head import RequestHead, ResponseHead
from edgewise.http.targets import normalise_path, split_target

_SAFE = (b"GET", b"HEAD", b"OPTIONS", b"TRACE")
"""RFC 9110 section 9.2.1; of any other method nothing is known."""


def invalidated(head: RequestHead, scheme: bytes, keys: Keys, response: ResponseHead) -> list[Purge]:
    """Return the purges that a response calls for: none where the method is safe or the response is an error.

    The target, what Location and Content-Location name if it has the same origin, and groups of that origin.
    """
    if head.method in _SAFE or not 200 <= response.status < 400:
        return []
    urls = [keys.url(head.authority, scheme, head.path, head.query)]
    origin = normal_authority(head.authority, scheme)
    base = b"%b://%b%b" % (scheme, origin, head.target)
    for name in (b"location", b"content-location"):
        value = response.get(name)
        url = None if value is None else _same_origin(value, base, scheme, origin, keys)
        if url is not None:
            urls.append(url)
    purges = [Purge(Kind.URL, url) for url in dict.fromkeys(urls)]
    try:
        groups = groups_of(response.fields, b"cache-group-invalidation")
    except ValueError:
        groups = ()
    tags = [group_tag(b"%b://%b" % (scheme, origin), group) for group in groups]
    return purges + [Purge(Kind.TAG, tag) for tag in tags]


def _same_origin(reference: bytes, base: bytes, scheme: bytes, origin: bytes, keys: Keys) -> bytes | None:
    """Return what a purge of the referenced URL goes by; None for another origin, or for what is no reference."""
    try:
        parts = urlsplit(urljoin(base.decode("latin-1"), reference.decode("latin-1")))
        target = parts.path.encode("latin-1") or b"/"
        path, query = split_target(target + (b"?" + parts.query.encode("latin-1") if parts.query else b""))
        authority = parts.netloc.encode("latin-1")
        if parts.scheme.encode("latin-1") != scheme or normal_authority(authority, scheme) != origin:
            return None
        return keys.url(authority, scheme, normalise_path(path, allow_encoded_slash=True), query)
    except ValueError:
        return None
