"""Requests and responses for tests of the cache, read by the codec like any others."""

from __future__ import annotations

from collections.abc import Mapping

from edgewise.cache.key import Keys, KeySettings
from edgewise.cache.request import CacheRequest, Requests
from edgewise.cache.settings import CacheSettings
from edgewise.cache.stored import Stored
from edgewise.cache.storing import Refusal, judge
from edgewise.http.dates import format_date
from edgewise.http.head import RequestHead, ResponseHead
from edgewise.protocols.http1 import parse_request_head, parse_response_head

NOW = 1_800_000_000.0
"""A moment, in seconds since the epoch."""
SETTINGS = CacheSettings()
KEYS = Keys(KeySettings())

Lines = Mapping[str, str | list[str]]


def fields(lines: Lines) -> str:
    """Return field lines; a list gives several of the same name."""
    pairs = [(name, value) for name, found in lines.items() for value in ([found] if isinstance(found, str) else found)]
    return "".join(f"{name}: {value}\r\n" for name, value in pairs)


def request_head(target: str = "/", lines: Lines | None = None, method: str = "GET") -> RequestHead:
    """Return a parsed request head for a.example."""
    text = f"{method} {target} HTTP/1.1\r\n" + fields({"Host": "a.example", **(lines or {})}) + "\r\n"
    return parse_request_head(text.encode("latin-1"))


def response_head(lines: Lines | None = None, status: int = 200, reason: str = "OK") -> ResponseHead:
    """Return a parsed response head; Content-Length is 5 unless given."""
    text = f"HTTP/1.1 {status} {reason}\r\n" + fields({"Content-Length": "5", **(lines or {})}) + "\r\n"
    return parse_response_head(text.encode("latin-1"))


def asking(
    target: str = "/",
    lines: Lines | None = None,
    method: str = "GET",
    keys: Keys = KEYS,
    settings: CacheSettings = SETTINGS,
) -> CacheRequest:
    """Return what a request says to the cache."""
    found = Requests(keys, settings).of(request_head(target, lines, method), b"https")
    assert found is not None
    return found


def judged(
    lines: Lines,
    status: int = 200,
    request: CacheRequest | None = None,
    settings: CacheSettings = SETTINGS,
    received: float = NOW,
    asked: float | None = None,
) -> Stored | Refusal:
    """Return the verdict on a response of now (Date included unless given as a list of none)."""
    dated = {"Date": date(received), **lines}
    began = received if asked is None else asked
    return judge(request or asking(), response_head(dated, status), settings, began, received)


def stored(lines: Lines, status: int = 200, body: bytes = b"hello", **more: object) -> Stored:
    """Return a response that must be storable, with its content."""
    found = judged(lines, status, **more)  # type: ignore[arg-type]
    assert isinstance(found, Stored), found
    found.fill(body)
    return found


def refused(lines: Lines, status: int = 200, **more: object) -> str:
    """Return why a response is not stored, "" where it is."""
    found = judged(lines, status, **more)  # type: ignore[arg-type]
    return found.reason if isinstance(found, Refusal) else ""


def date(seconds: float) -> str:
    """Return a date as a field value."""
    return format_date(seconds).decode()
