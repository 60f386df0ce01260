"""Secrets in what is shown to people: values of query parameters and fields, by their names, and userinfo of URLs."""

from __future__ import annotations

import re
from collections.abc import Iterable
from urllib.parse import unquote_to_bytes

MASK = "***"
"""Stands in place of a secret."""
SECRETS = (
    "access_key", "access_token", "api-key", "api_key", "apikey", "assertion", "auth", "auth_token", "authtoken",
    "bearer", "client_assertion", "client_secret", "code", "code_verifier", "credential", "credentials", "csrf_token",
    "id_token", "id_token_hint", "jwt", "key", "logout_token", "otp", "pass", "passcode", "passphrase", "passwd",
    "password", "private_key", "pwd", "refresh_token", "secret", "session", "session_id", "sessionid", "sig",
    "signature", "sso_token", "ticket", "token", "x-amz-credential", "x-amz-security-token", "x-amz-signature",
    "x-api-key", "x-goog-credential", "x-goog-signature",
)  # fmt: skip
"""Names, in lower case, whose values are secrets wherever they stand."""
_FIELDS = frozenset((
    "authorization", "cookie", "edgewise-session", "proxy-authorization", "set-cookie", "x-auth-token", "x-csrf-token",
    "x-hub-signature", "x-hub-signature-256",
))  # fmt: skip
"""Fields that are secrets beside those of such a name."""
_MASK = MASK.encode()
_NAMES = re.compile(rb"([^?&;=]+)=[^?&;]*").findall
_ENCODED = re.compile(rb"(?<![^?&;])([^=&;]*%[^=&;]*)=([^&#]*)")
_USERINFO = re.compile(rb"(?<=//)[^/?#@\s]*@")


class Masking:
    """Masks the values of the parameters and fields that are secrets by their names."""

    def __init__(self, added: Iterable[str] = (), shown: Iterable[str] = ()) -> None:
        """`added` to SECRETS, without those `shown`; letter case makes no difference."""
        names = {*SECRETS, *(name.lower() for name in added)} - {name.lower() for name in shown}
        self._names = frozenset(names)
        self._in_queries = frozenset(name.encode() for name in names)
        choices = b"|".join(re.escape(name.encode()) for name in sorted(names))
        self._plain = re.compile(rb"(?<![^?&;])(" + (choices or rb"(?!)") + rb")=[^&#]*", re.IGNORECASE)
        self._in_text = re.compile(rb"(?<=[?&;])(" + (choices or rb"(?!)") + rb")=[^&#\s\"'<>]*", re.IGNORECASE)

    def query(self, query: bytes) -> bytes:
        """Return a query with its secrets masked, however their names are encoded."""
        names = _NAMES(query.lower())
        if self._in_queries.isdisjoint(names) and b"%" not in b"".join(names):
            return query  # which nearly all queries are
        masked = self._plain.sub(rb"\1=" + _MASK, query)
        return _ENCODED.sub(self._encoded, masked) if b"%" in masked else masked

    def _encoded(self, found: re.Match[bytes]) -> bytes:
        name = unquote_to_bytes(found[1]).decode("latin-1").lower()
        return found[1] + b"=" + _MASK if name in self._names else found[0]

    def url(self, url: bytes) -> bytes:
        """Return a URL with its userinfo and the secrets of its query masked; a fragment is taken for a query."""
        if b"@" in url:
            url = _USERINFO.sub(_MASK + b"@", url)
        for mark in (b"?", b"#"):
            path, found, rest = url.partition(mark)
            if found:
                url = path + mark + self.query(rest)
        return url

    def text(self, text: str) -> str:
        """Return a text with what is secret of the URLs in it masked."""
        if "://" not in text and "=" not in text:
            return text
        masked = _USERINFO.sub(_MASK + b"@", text.encode("utf-8", "surrogatepass"))
        return self._in_text.sub(rb"\1=" + _MASK, masked).decode("utf-8", "surrogatepass")

    def line(self, line: str) -> str:
        """Return a line as people are shown it, which may be one of a head."""
        name, colon, _ = line.partition(": ")
        return f"{name}: {MASK}" if colon and self.is_secret(name.strip(" ")) else self.text(line)

    def is_secret(self, name: str) -> bool:
        """Is the value of a field, or of something else that has a name, a secret?"""
        lower = name.lower()
        return lower in _FIELDS or lower in self._names or lower.replace("-", "_") in self._names


USUAL = Masking()
"""What masks by SECRETS alone."""
