"""Parsers of single values: durations, sizes, numbers, networks, statuses, names. Stdlib only, ASCII digits only."""

from __future__ import annotations

import ipaddress
import math
import re
from collections.abc import Iterable

from edgewise.config.problems import BadValue, nearest, show

DURATION = 'a duration such as "250ms", "2s", "1m" or "1h", or a number of seconds'
AGE = 'an age such as "12h", "30d" or "1y", or a whole number of seconds'
SIZE = 'a size such as "16KiB", "64KB", "1MiB" or "100MB", or a number of bytes'
STATUS = 'a status such as 204, or a range such as "200-399"'
_ONE_LINE = "one line without spaces at its ends, ISO 8859-1 characters only"
FRAMING_FIELDS = frozenset(
    {"connection", "content-length", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade"}
)
"""Fields edgewise writes itself on every message (RFC 9110 section 7.6.1, RFC 9112 section 6)."""

_DURATION = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)(ms|s|m|h)")
_DURATION_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_AGE = re.compile(r"([0-9]{1,9})(s|m|h|d|w|y)")
_AGE_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800, "y": 31536000}
_LONGEST_AGE = 2**31 - 1
_URL = re.compile(r"https://(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?(?:/[!-~]*)?")
_SIZE = re.compile(r"([0-9]{1,15})(B|KB|KiB|MB|MiB|GB|GiB)")
_SIZE_UNITS = {
    "B": 1, "KB": 1000, "KiB": 1024, "MB": 1000**2, "MiB": 1024**2, "GB": 1000**3, "GiB": 1024**3,
}  # fmt: skip
_QUANTITY = re.compile(r" *([0-9]{1,9}) *([A-Za-z]{0,12}) *")
_LONG_UNITS = {
    "sec": "s", "second": "s", "seconds": "s", "min": "m", "minute": "m", "minutes": "m", "hour": "h", "hours": "h",
    "day": "d", "days": "d", "week": "w", "weeks": "w", "year": "y", "years": "y",
    "milliseconds": "ms", "k": "kb", "m": "mb", "g": "gb", "bytes": "b",
}  # fmt: skip
_INTEGER = re.compile(r"-?[0-9]{1,18}")
_NUMBER = re.compile(r"-?[0-9]{1,18}\.[0-9]{1,18}")
_STATUS = re.compile(r"([1-5][0-9]{2})(?:-([1-5][0-9]{2}))?")
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_FIELD_VALUE = re.compile(r"[^\x00-\x08\x0a-\x1f\x7f]*")
_LINK = re.compile(r"<[^<>\s\"]+>(?: *; *[A-Za-z-]+(?:=(?:[^\s\";,]+|\"[^\"]*\"))?)* *; *rel=[^,]+")
_IDENTIFIERS = re.compile(r"[^\W\d]\w*(?:\.[^\W\d]\w*)*:[^\W\d]\w*(?:\.[^\W\d]\w*)*")
_SRV = re.compile(r"_[A-Za-z0-9-]+\._(?:tcp|udp)(?:\.[A-Za-z0-9_-]{1,63})+\.?")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
GRPC_RETRIES = {
    "grpc-cancelled": 1,
    "grpc-deadline-exceeded": 4,
    "grpc-resource-exhausted": 8,
    "grpc-internal": 13,
    "grpc-unavailable": 14,
}
"""Reasons to retry that are statuses of gRPC, by their code."""
_RETRY_WORDS = ("connect", *GRPC_RETRIES)
_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE")


def parse_duration(value: object) -> float:
    """Return seconds from "250ms", "2s", "1.5m", "1h" or a number of seconds >= 0. Raises BadValue."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        if not math.isfinite(value) or value < 0:
            raise BadValue(f"{show(value)} is not a duration", DURATION)
        return float(value)
    found = _DURATION.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        raise BadValue(f"{show(value)} is not a duration", DURATION, _repaired(value, _DURATION_UNITS))
    return float(found[1]) * _DURATION_UNITS[found[2]]


def parse_age(value: object) -> int:
    """Return seconds from "12h", "30d", "1y" (365 days) or a whole number of seconds >= 0. Raises BadValue."""
    seconds = -1
    if isinstance(value, int) and not isinstance(value, bool):
        seconds = value
    elif isinstance(value, str) and (found := _AGE.fullmatch(value)):
        seconds = int(found[1]) * _AGE_UNITS[found[2]]
    if not 0 <= seconds <= _LONGEST_AGE:
        raise BadValue(f"{show(value)} is not an age", AGE, _repaired(value, _AGE_UNITS))
    return seconds


def parse_size(value: object) -> int:
    """Return bytes from "16KiB" (1024), "64KB" (1000) or a number of bytes >= 0. Raises BadValue."""
    if isinstance(value, int) and not isinstance(value, bool):
        if value < 0:
            raise BadValue(f"{show(value)} is not a size", SIZE)
        return value
    found = _SIZE.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        raise BadValue(f"{show(value)} is not a size", SIZE, _repaired(value, _SIZE_UNITS))
    return int(found[1]) * _SIZE_UNITS[found[2]]


def _repaired(value: object, units: Iterable[str]) -> str:
    """Return `value` as it would be right, where only spaces, letter case or a long name of the unit are wrong."""
    found = _QUANTITY.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        return ""
    word = found[2].lower()
    word = _LONG_UNITS.get(word, word)
    return next((found[1] + unit for unit in units if unit.lower() == word), "")


def parse_number(text: str) -> int | float | None:
    """Return the number that `text` writes in plain ASCII decimals, else None."""
    if _INTEGER.fullmatch(text):
        return int(text)
    return float(text) if _NUMBER.fullmatch(text) else None


def parse_network(text: str) -> str:
    """Return a network in canonical "address/prefix" form; a bare address is a network of one. Raises BadValue."""
    try:
        return str(ipaddress.ip_network(text))
    except ValueError:
        pass
    try:
        close = str(ipaddress.ip_network(text, strict=False))
    except ValueError:
        close = ""
    message = f"{show(text)} has bits set beyond its prefix" if close else f"{show(text)} is not a network"
    raise BadValue(message, 'an address or network such as "10.0.0.0/8"', close)


def parse_status_range(value: int | str) -> tuple[int, int]:
    """Return (lowest, highest) status from 204 or "200-399". Raises BadValue."""
    found = _STATUS.fullmatch(str(value)) if not isinstance(value, bool) else None
    low, high = (int(found[1]), int(found[2] or found[1])) if found else (1, 0)
    if low > high:
        raise BadValue(f"{show(value)} is not a status or a range of them", STATUS)
    return low, high


def check_status_range(value: object) -> int | str:
    """Return `value` where `parse_status_range` takes it. Raises BadValue."""
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise BadValue(f"{show(value)} is not a status or a range of them", STATUS)
    parse_status_range(value)
    return value


def check_retry_condition(value: object) -> int | str:
    """Return "connect", a word of GRPC_RETRIES or a status from 400 to 599. Raises BadValue."""
    if isinstance(value, str) and value in _RETRY_WORDS:
        return value
    if isinstance(value, int) and not isinstance(value, bool) and 400 <= value <= 599:
        return value
    close = nearest(value, _RETRY_WORDS) if isinstance(value, str) else ""
    words = ", ".join(f'"{word}"' for word in _RETRY_WORDS)
    expected = f"{words} or a status from 400 to 599"
    raise BadValue(f"{show(value)} is not a reason to retry", expected, close)


def check_token(text: str) -> str:
    """Return a field or cookie name (RFC 9110 section 5.6.2). Raises BadValue."""
    if not _TOKEN.fullmatch(text):
        raise BadValue(f"{show(text)} is not a name", "letters, digits and !#$%&'*+-.^_`|~ only")
    return text


def check_field_name(text: str) -> str:
    """Return the name of a field that configuration may set: not those that frame messages. Raises BadValue."""
    if check_token(text).lower() in FRAMING_FIELDS:
        raise BadValue(f"{show(text)} is written by edgewise itself and cannot be changed", "another field name")
    return text


def check_field_value(text: str) -> str:
    """Return a field value (RFC 9110 section 5.5, ISO 8859-1). Raises BadValue."""
    latin = all(ord(character) < 256 for character in text)
    if not latin or not _FIELD_VALUE.fullmatch(text) or text != text.strip(" \t"):
        raise BadValue(f"{show(text)} is not a header value", _ONE_LINE)
    return text


def check_link(text: str) -> str:
    """Return the value of a Link field that names a target and a relation (RFC 8288 section 3). Raises BadValue."""
    if not _LINK.fullmatch(check_field_value(text)):
        raise BadValue(f"{show(text)} is not a link", 'a link such as "</app.css>; rel=preload; as=style"')
    return text


def check_method(text: str) -> str:
    """Return a request method, upper case. CONNECT never matches a route. Raises BadValue."""
    if text == "CONNECT" or not _TOKEN.fullmatch(text) or text != text.upper():
        expected = "a method in upper case, such as GET"
        raise BadValue(f"{show(text)} is not a method that a route can match", expected, nearest(text, _METHODS))
    return text


def check_hash_key(text: str) -> str:
    """Return "ip", "path", "session", "header:NAME" or "cookie:NAME". Raises BadValue."""
    kind, colon, name = text.partition(":")
    if text in ("ip", "path", "session") or (kind in ("header", "cookie") and colon and _TOKEN.fullmatch(name)):
        return text
    close = nearest(kind, ["ip", "path", "session", "header", "cookie"])
    if colon and _TOKEN.fullmatch(name) and close in ("header", "cookie"):
        close = f"{close}:{name}"
    raise BadValue(f"{show(text)} is not a hash key", '"ip", "path", "session", "header:NAME" or "cookie:NAME"', close)


def check_csrf(value: object) -> object:
    """Return True, False or "token". Raises BadValue."""
    if isinstance(value, bool) or value == "token":
        return value
    close = nearest(value, ["token"]) if isinstance(value, str) else ""
    raise BadValue(f"{show(value)} is no check of where requests come from", 'true, false or "token"', close)


def check_import_path(text: str) -> str:
    """Return "package.module:attribute". Raises BadValue."""
    if not _IDENTIFIERS.fullmatch(text):
        head, dot, tail = text.rpartition(".")
        close = f"{head}:{tail}" if dot and _IDENTIFIERS.fullmatch(f"{head}:{tail}") else ""
        raise BadValue(f"{show(text)} is not an import path", '"package.module:attribute"', close)
    return text


def check_url(text: str) -> str:
    """Return an https:// URL. Raises BadValue."""
    if not _URL.fullmatch(text):
        close = "https://" + text.removeprefix("http://")
        raise BadValue(
            f"{show(text)} is not a URL with https://",
            'a URL such as "https://ca.example.com/directory"',
            close if _URL.fullmatch(close) and "." in text else "",
        )
    return text


def check_srv(text: str) -> str:
    """Return the name of an SRV record (RFC 2782). Raises BadValue."""
    if not _SRV.fullmatch(text):
        raise BadValue(f"{show(text)} is not the name of an SRV record", 'a name such as "_http._tcp.shop.internal"')
    return text


def check_name(text: str) -> str:
    """Return the name of an upstream or route, fit for metrics and for UPSTREAM/SERVER. Raises BadValue."""
    if not _NAME.fullmatch(text):
        raise BadValue(
            f"{show(text)} is not a name", 'letters, digits, ".", "-" and "_", at most 64, a letter or digit first'
        )
    return text
