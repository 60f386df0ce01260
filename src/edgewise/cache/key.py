"""The key under which a response is stored: what of a request tells it apart from others (RFC 9111 section 2)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from hashlib import blake2b
from urllib.parse import unquote_to_bytes

from edgewise.cache.cookies import ANALYTICS, Counting, name_pattern, pairs
from edgewise.cache.device import DESKTOP, Device, device_of
from edgewise.cache.directives import joined
from edgewise.cache.vary import Variants
from edgewise.http.head import Field, RequestHead, plain_head
from edgewise.http.targets import normalise_path, split_authority, split_target

MARKETING = (
    b"utm_*", b"gclid", b"gclsrc", b"gbraid", b"wbraid", b"dclid", b"fbclid", b"msclkid", b"ttclid", b"twclid",
    b"yclid", b"igshid", b"li_fat_id", b"mc_cid", b"mc_eid", b"_hsenc", b"_hsmi", b"mkt_tok", b"pk_*", b"mtm_*",
)  # fmt: skip
"""Query parameters that campaigns add and pages do not read; `*` stands for anything."""
_DEFAULT_PORTS = {b"http": 80, b"https": 443}
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://(.*)", re.DOTALL)
"""Of a URL that has one; a query may hold another URL."""


@dataclass(frozen=True, slots=True)
class KeySettings:
    """What makes a key. Names of parameters and cookies may hold `*`; names of fields are lower-case."""

    partition: bytes = b""
    """Of the store, such as a route's name: routes that differ by more than the URL do not answer for each other."""
    scheme: bool = True
    """http and https apart: a redirect from one to the other, shared, would never end."""
    query: tuple[bytes, ...] | None = None
    """Parameters that count; None: all."""
    ignore_query: tuple[bytes, ...] = ()
    """Parameters that do not count, such as MARKETING."""
    sort_query: bool = False
    """The order of parameters does not count; of those with the same name it does."""
    headers: tuple[bytes, ...] = ()
    """Request fields that are part of the key, whatever Vary says."""
    cookies: tuple[bytes, ...] = ()
    """Cookies that are part of the key, whatever Vary says."""
    session_cookies: tuple[bytes, ...] | None = None
    """Cookies that separate users where a response varies on Cookie, such as cookies.DJANGO; None: all but the ignored.
    Visitors without any of them share one object."""
    ignore_cookies: tuple[bytes, ...] = ANALYTICS
    """Cookies that never separate users; looked at where `session_cookies` is None."""
    device: tuple[bytes, ...] = ()
    """Kinds of devices that are told apart from desktops: mobile, tablet (`device`); servers are told the kind, and
    User-Agent and its like are looked at for nothing else. Empty: devices make no difference."""
    languages: tuple[bytes, ...] = ()
    """Languages there are, the default first: a response that varies on Accept-Language is kept once for each."""


class Keys:
    """Makes keys of requests for one route."""

    __slots__ = ("_apart", "_cookies", "_counting", "_ignored", "_named", "_settings", "_start", "device", "variants")

    def __init__(self, settings: KeySettings) -> None:
        self._settings = settings
        self._start = settings.partition + b"\n" if settings.partition else b""
        self._named = None if settings.query is None else name_pattern(settings.query)
        self._ignored = name_pattern(settings.ignore_query)
        self._cookies = Counting(settings.cookies)
        self._counting = Counting(settings.session_cookies, settings.ignore_cookies)
        self.device: Device | None = device_of(settings.device) if settings.device else None
        """Tells which kind of device sent a request; None: it makes no difference."""
        self._apart = bool(settings.headers or settings.cookies or settings.device)
        """Does more than the URL make a key?"""
        self.variants = Variants(self._counting, settings.languages, self.device)

    def key(self, head: RequestHead, scheme: bytes, url: bytes | None = None) -> bytes:
        """Return the key of a request that came by `scheme` (b"http" or b"https"). Secrets in it are digests."""
        if url is None:
            url = self.url_of(head, scheme)
        key = self._start + (b"%b://%b" % (scheme, url) if self._settings.scheme else url)
        if not self._apart:
            return key
        kind = b"" if self.device is None else self.device(head.fields)
        return self._with_parts(key, head.fields, kind)

    def of_url(self, url: bytes, scheme: bytes) -> list[bytes]:
        """Return the keys of requests for a URL without cookies or fields that count: one a kind of device."""
        head = plain_head()
        if self.device is None:
            return [self.key(head, scheme, url)]
        key = self._start + (b"%b://%b" % (scheme, url) if self._settings.scheme else url)
        return [self._with_parts(key, head.fields, kind) for kind in (DESKTOP, *self._settings.device)]

    def _with_parts(self, key: bytes, fields: tuple[Field, ...], kind: bytes) -> bytes:
        parts = [self._header(name, fields) for name in self._settings.headers]
        if self._settings.cookies:
            parts.append(blake2b(self._cookies.of(fields), digest_size=16).hexdigest().encode())
        if kind:
            parts.append(b"device=" + kind)
        return b"\n".join([key, *parts])

    def url_of(self, head: RequestHead, scheme: bytes) -> bytes:
        """Return the same as `url` for the target of a request."""
        authority = head.authority
        host = normal_authority(authority, scheme) if b":" in authority else head.host
        query = self.query(head.query)
        return host + head.path if query is None else b"%b%b?%b" % (host, head.path, query)

    def url(self, authority: bytes, scheme: bytes, path: bytes, query: bytes | None) -> bytes:
        """Return what a purge by URL, prefix, host or pattern goes by: `host[:port]/path[?query]`, without scheme.

        `path` as normalised by the codec. Raises ValueError on an authority that no request could have.
        """
        kept = self.query(query)
        target = path if kept is None else b"%b?%b" % (path, kept)
        return normal_authority(authority, scheme) + target

    def query(self, query: bytes | None) -> bytes | None:
        """Return what of a query counts; None where nothing does.

        Send this upstream in place of the whole query: else a response could depend on what its key does not tell.
        """
        settings = self._settings
        if not query or not (settings.sort_query or settings.ignore_query or settings.query is not None):
            return query
        kept = [(name, part) for part in query.split(b"&") if part and self._counts(name := _parameter(part))]
        if settings.sort_query:
            kept.sort(key=lambda item: item[0])
        return b"&".join(part for _, part in kept) or None

    def somebody(self, head: RequestHead) -> bool:
        """Has the request cookies that separate users?"""
        return bool(pairs(head.fields)) and bool(self._counting.of(head.fields))

    def _counts(self, name: bytes) -> bool:
        if self._named is not None and not self._named.fullmatch(name):
            return False
        return not self._ignored.fullmatch(name)

    @staticmethod
    def _header(name: bytes, fields: tuple[Field, ...]) -> bytes:
        value = joined(fields, name)
        if value is None:
            return name
        return b"%b=%b" % (name, blake2b(value, digest_size=16).hexdigest().encode())


def purge_url(text: str, keys: Keys) -> bytes:
    """Return what stands for a URL that somebody wrote, with or without scheme (see `Keys.url`).

    Raises ValueError where it has no host.
    """
    named = _SCHEME.fullmatch(text.strip())
    scheme, rest = (named[1].lower().encode(), named[2]) if named else (b"https", text.strip())
    authority, slash, target = rest.partition("/")
    path, query = split_target((slash + target or "/").encode("latin-1"))
    if not authority or scheme not in _DEFAULT_PORTS:
        raise ValueError(f"{text!r} is not a URL with a host, such as https://example.com/page")
    return keys.url(authority.encode("latin-1"), scheme, normalise_path(path, allow_encoded_slash=True), query)


def purge_prefix(text: str) -> bytes:
    """Return what stands for the beginning of URLs, or for a pattern, written with or without scheme."""
    named = _SCHEME.fullmatch(text.strip())
    rest = named[2] if named else text.strip()
    host, slash, path = rest.partition("/")
    return (host.lower() + slash + path).encode("latin-1")


def normal_authority(authority: bytes, scheme: bytes) -> bytes:
    """Return a lower-case host with its port, unless that is the scheme's; b"" for none. Raises ValueError."""
    if not authority:
        return b""
    host, port = split_authority(authority)
    return host if port is None or port == _DEFAULT_PORTS.get(scheme) else b"%b:%d" % (host, port)


def _parameter(part: bytes) -> bytes:
    """Return a parameter's name as apps decode it, so that no spelling of a name passes by a list."""
    return unquote_to_bytes(part.partition(b"=")[0].replace(b"+", b" "))
