"""Maintenance: every request is answered with 503, but those of who may look."""

from __future__ import annotations

import hmac
from collections.abc import Callable
from typing import TYPE_CHECKING

from edgewise.contracts.policies import Denial, Outcome

if TYPE_CHECKING:
    from edgewise.contracts.exchange import Exchange
    from edgewise.http.head import RequestHead

_HTML = b"text/html"


class Bypass:
    """Tells who may look by a secret that comes in a field or a cookie."""

    def __init__(self, secret: str, field: str, cookie: str) -> None:
        self._secret = secret.encode()
        self._field = field.lower().encode()
        self._cookie = cookie.encode()

    def brought(self, head: RequestHead) -> bool:
        """Does a request bring the secret?"""
        values = [head.get(self._field) or b""]
        for field in head.fields:
            if field.name == b"cookie":
                values += [value for name, value in _pairs(field.value) if name == self._cookie]
        return any(hmac.compare_digest(value, self._secret) for value in values)


class Maintenance:
    """The policy `maintenance`."""

    def __init__(
        self,
        message: str,
        retry_after: int,
        *,
        page: bytes | None = None,
        allowed: Callable[[str], bool] = lambda ip: False,
        bypass: Bypass | None = None,
    ) -> None:
        """`retry_after`: seconds; `page`: HTML for browsers; `allowed`: may an address look?"""
        fields = ((b"Retry-After", b"%d" % retry_after),)
        self._denial = Denial(503, "maintenance", message, fields)
        self._page = self._denial if page is None else self._denial._replace(page=(b"text/html; charset=utf-8", page))
        self._allowed = allowed
        self._bypass = bypass

    def check(self, exchange: Exchange) -> Outcome:
        """Refuse a request of whoever may not look."""
        head = exchange.plan.request
        if self._allowed(exchange.client.client_ip()) or (self._bypass is not None and self._bypass.brought(head)):
            return None
        return self._page if _HTML in (head.get(b"accept") or b"") else self._denial


def _pairs(cookies: bytes) -> list[tuple[bytes, bytes]]:
    found = []
    for pair in cookies.split(b";"):
        name, _, value = pair.partition(b"=")
        found.append((name.strip(b" \t"), value.strip(b" \t")))
    return found
