"""The cookie of a session: read strictly, written with every protection browsers offer (RFC 6265bis)."""

from __future__ import annotations

from collections.abc import Iterable

from edgewise.sessions.settings import SessionSettings

SEPARATOR = "~"
"""Between access and refresh token, where both are spoken of as one; what a side leaves empty stays as it is."""
_MOST_READ = 32_768
"""Bytes of Cookie fields that are looked at."""


class SessionCookie:
    """Reads and writes the cookie that settings describe."""

    def __init__(self, settings: SessionSettings) -> None:
        self.name = settings.cookie
        self._start = f"{settings.cookie}="
        attributes = f"; Path={settings.path}"
        if settings.domain:
            attributes += f"; Domain={settings.domain}"
        if settings.secure:
            attributes += "; Secure"
        self._attributes = f"{attributes}; HttpOnly; SameSite={settings.same_site}"
        self._max_age = f"; Max-Age={int(settings.absolute)}" if settings.persistent else ""

    def read(self, fields: Iterable[str]) -> str | None:
        """Return the cookie's value; see `read_cookie`."""
        return _read(self._start, fields)

    def write(self, value: str) -> list[str]:
        """Return the Set-Cookie field that sets the cookie, or removes it where the value is ""."""
        return [self._line(self._start, value)]

    def _line(self, start: str, value: str) -> str:
        if not value:
            return f"{start}{self._attributes}; Max-Age=0"
        return f"{start}{value}{self._attributes}{self._max_age}"


class TokenCookies(SessionCookie):
    """The two cookies of a JWT session: the access token, and under a longer name the refresh token."""

    def __init__(self, settings: SessionSettings) -> None:
        super().__init__(settings)
        self._refresh = f"{settings.cookie}-refresh"

    def read(self, fields: Iterable[str]) -> str | None:
        """Return what both cookies hold, as `TokenSessions` takes it."""
        fields = list(fields)
        held = [read_cookie(name, fields) or "" for name in (self.name, self._refresh)]
        return SEPARATOR.join(held) if any(held) else None

    def write(self, value: str) -> list[str]:
        """Return the Set-Cookie fields for the tokens that there are, or that remove both where the value is ""."""
        access, _, refresh = value.partition(SEPARATOR)
        lines = ((self._start, access), (f"{self._refresh}=", refresh))
        return [self._line(start, token) for start, token in lines if token or not value]


def read_cookie(name: str, fields: Iterable[str]) -> str | None:
    """Return a cookie's value out of Cookie fields; None where there is none, or more than one.

    Of two different values one was set by somebody else, from a neighbouring host or over plain HTTP, and nothing tells
    which. Only space and tab are trimmed: other white space would let a name pass for one with a prefix.
    """
    return _read(f"{name}=", fields)


def _read(start: str, fields: Iterable[str]) -> str | None:
    found: str | None = None
    budget = _MOST_READ
    for text in fields:
        budget -= len(text)
        if budget < 0:
            return None
        at = text.find(start)
        if at < 0:
            continue
        if found is None and text.find(start, at + 1) < 0 and (at == 0 or text[at - 2 : at] == "; "):
            found = text[at + len(start) :].partition(";")[0].rstrip(" \t")  # as browsers write it
            continue
        for pair in text.split(";"):
            pair = pair.strip(" \t")
            if pair.startswith(start):
                value = pair[len(start) :]
                if found is not None and found != value:
                    return None
                found = value
    return found


def without_cookie(name: str, fields: Iterable[str]) -> str:
    """Return Cookie fields as one, without any cookie of this name; "" where nothing is left."""
    start = f"{name}="
    pairs = [pair.strip(" \t") for text in fields for pair in text.split(";")]
    return "; ".join(pair for pair in pairs if pair and not pair.startswith(start))
