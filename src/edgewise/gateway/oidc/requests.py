"""What logins read of a request, and the answers they give: pages that reflect nothing, redirects that nobody keeps."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl

from edgewise.contracts.plan import Answer

if TYPE_CHECKING:
    from edgewise.contracts.exchange import Exchange
    from edgewise.http.head import RequestHead

_LOCAL = re.compile(r"/(?:[!-.0-\[\]-~][!-\[\]-~]*)?")
"""A path of this host: not "//", which would be another one to browsers (WHATWG URL, section 4.4); no backslash."""
_MOST_LOCAL = 768
"""Characters of a path to come back to: five logins under way stay well below `head_bytes`."""
_MOST_PARAMETERS = 32
_DEFAULT_PORTS = {"http": ":80", "https": ":443"}
_SAFE = (b"GET", b"HEAD")
NOT_KEPT = ((b"Cache-Control", b"no-store"), (b"Referrer-Policy", b"no-referrer"))
_PAGE = (
    (b"Content-Type", b"text/html; charset=utf-8"),
    (b"Content-Security-Policy", b"default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"),
    (b"X-Content-Type-Options", b"nosniff"),
    *NOT_KEPT,
)
_HTML = """<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">\
<title>{title}</title><style>body{{font:1rem/1.5 sans-serif;max-width:34rem;margin:4rem auto;padding:0 1rem}}</style>\
<h1>{title}</h1>{content}"""


class NotUnderstood(Exception):
    """A query that is none (RFC 6749 section 3.1)."""


def cookie_fields(head: RequestHead) -> list[str]:
    """Return the values of the Cookie fields."""
    return [field.value.decode("latin-1") for field in head.fields if field.name == b"cookie"]


def authority(head: RequestHead) -> str:
    """Return the host that was asked, with the port where it was given."""
    return head.authority.decode("latin-1").lower()


def origin(head: RequestHead, *, secure: bool) -> str:
    """Return the origin that browsers take the host that was asked for (RFC 6454): it names no default port."""
    scheme = "https" if secure else "http"
    return f"{scheme}://{authority(head).removesuffix(_DEFAULT_PORTS[scheme])}"


def navigates(head: RequestHead) -> bool:
    """Does a browser open a page? By Sec-Fetch-Mode, else by whether it asks for HTML."""
    if head.method not in _SAFE:
        return False
    mode = head.get(b"sec-fetch-mode")
    return mode == b"navigate" if mode is not None else b"text/html" in (head.get(b"accept") or b"")


def from_own_page(head: RequestHead, *, secure: bool) -> bool:
    """Does a page of this origin ask? By Sec-Fetch-Site, else by Origin; "none" may be a link in a mail."""
    sites = [field.value for field in head.fields if field.name == b"sec-fetch-site"]
    if sites:
        return len(sites) == 1 and sites[0] == b"same-origin"
    origins = [field.value for field in head.fields if field.name == b"origin"]
    return len(origins) == 1 and origins[0].decode("latin-1").lower() == origin(head, secure=secure)


def parameters(head: RequestHead) -> dict[str, str]:
    """Return the parameters of the query, none of which may come twice. Raises NotUnderstood."""
    try:
        query = (head.query or b"").decode("ascii")
        pairs = parse_qsl(query, keep_blank_values=True, errors="strict", max_num_fields=_MOST_PARAMETERS)
    except ValueError:
        raise NotUnderstood("its query cannot be read") from None
    found = dict(pairs)
    if len(found) != len(pairs):
        raise NotUnderstood("a parameter comes twice")
    return found


def local(path: str | None) -> str | None:
    """Return a path of this host with its query; None for anything else."""
    if path is None or len(path) > _MOST_LOCAL or not _LOCAL.fullmatch(path):
        return None
    return path


def redirect(location: str, cookies: list[str] | None = None) -> Answer:
    """Return an answer that leads on with GET."""
    return Answer(303, ((b"Location", location.encode()), *_set(cookies), *NOT_KEPT), b"")


def page(status: int, title: str, content: str, cookies: list[str] | None = None) -> Answer:
    """Return a page of texts that are ours: nothing of a request is ever in them."""
    return Answer(status, (*_PAGE, *_set(cookies)), _HTML.format(title=title, content=content).encode())


def _set(cookies: list[str] | None) -> tuple[tuple[bytes, bytes], ...]:
    return tuple((b"Set-Cookie", cookie.encode("latin-1")) for cookie in cookies or ())


def note(exchange: Exchange, reason: str) -> None:
    """Have the log say why a login or logout came to nothing."""
    exchange.end = "edge-auth"
    exchange.failure = reason
