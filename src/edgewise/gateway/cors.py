"""Cross-origin requests (CORS protocol of the Fetch standard): preflights are answered, answers say who may read."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from edgewise.contracts.plan import Answer
from edgewise.contracts.policies import Denial, Outcome
from edgewise.protocols.memo import Memo

if TYPE_CHECKING:
    from edgewise.contracts.exchange import Exchange
    from edgewise.http.head import FieldLines, RequestHead

ANY = "*"
OWN_FIELDS = (
    b"access-control-allow-credentials", b"access-control-allow-headers", b"access-control-allow-methods",
    b"access-control-allow-origin", b"access-control-allow-private-network", b"access-control-expose-headers",
    b"access-control-max-age",
)  # fmt: skip
"""Lower-case names in which a server's word gives way to ours."""
_VARY_ORIGIN = b"Vary: Origin\r\n"
_PREFLIGHT_VARY = (
    b"Vary",
    b"Origin, Access-Control-Request-Method, Access-Control-Request-Headers, Access-Control-Request-Private-Network",
)
_NAMES = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+(?:[ \t]*,[ \t]*[!#$%&'*+.^_`|~0-9A-Za-z-]+)*")
_HOST = re.compile(rb"[a-z0-9_-][a-z0-9._-]*")
_MOST_HEADERS = 4096
"""Bytes of Access-Control-Request-Headers that are said back."""
_ENTRIES = 1024
_REFUSED = Denial(403, "cors", "Pages of this origin may not use this.", (_PREFLIGHT_VARY,))
_UNKNOWN = b"?"


class CorsRules(NamedTuple):
    """Who may do what; as `config.cors.Cors` has them."""

    origins: Sequence[str]
    methods: Sequence[str]
    headers: Sequence[str]
    expose: Sequence[str]
    credentials: bool
    max_age: int
    """Seconds."""
    private_network: bool


def preflight_method(head: RequestHead) -> bytes | None:
    """Return the method that a preflight asks for; None for what is no preflight."""
    if head.method != b"OPTIONS" or head.get(b"origin") is None:
        return None
    return head.get(b"access-control-request-method")


class Cors:
    """The policy `cors`. Answers to everybody are equal where any origin may read them, without credentials."""

    def __init__(self, rules: CorsRules) -> None:
        self._rules = rules
        self._exact = frozenset(origin.encode() for origin in rules.origins if "*" not in origin)
        wildcards = [origin.partition("*") for origin in rules.origins if "://*." in origin]
        self._wildcards = tuple((before.encode(), after.encode()) for before, _, after in wildcards)
        self._any = ANY in rules.origins
        expose = b", ".join(name.encode() for name in rules.expose)
        self._read = b"Access-Control-Expose-Headers: %b\r\n" % expose if expose else b""
        self._for_all = b"Access-Control-Allow-Origin: *\r\n" + self._read if self._any else b""
        self._for_origin: Memo[bytes] = Memo(self._lines, entries=_ENTRIES, longest=256)
        self._origins: dict[FieldLines, bytes] = {}

    def check(self, exchange: Exchange) -> Outcome:
        """Answer a preflight; have the answer of any other request say who may read it."""
        head = exchange.plan.request
        if head.method == b"OPTIONS":
            wanted = preflight_method(head)
            if wanted is not None:
                return self._preflight(head)
        if self._any:
            exchange.answer_lines += self._for_all
            return None
        origin = self._origin(head)
        exchange.answer_lines += self._for_origin[origin] if origin else _VARY_ORIGIN
        return None

    def _origin(self, head: RequestHead) -> bytes:
        """Return the origin of a request, b"" for none; remembered for lines that many heads have."""
        lines = head.lines
        found = self._origins.get(lines, _UNKNOWN)
        if found is _UNKNOWN:
            found = head.get(b"origin") or b""
            if lines.kept:
                if len(self._origins) >= _ENTRIES:
                    self._origins.clear()
                self._origins[lines] = found
        return found

    def _lines(self, origin: bytes) -> bytes:
        """Return what an answer to a page of an origin says."""
        if not self._allowed(origin):
            return _VARY_ORIGIN
        credentials = b"Access-Control-Allow-Credentials: true\r\n" if self._rules.credentials else b""
        return b"Access-Control-Allow-Origin: %b\r\n%b%b%b" % (origin, credentials, self._read, _VARY_ORIGIN)

    def _allowed(self, origin: bytes) -> bool:
        if self._any or origin in self._exact:
            return True
        for before, after in self._wildcards:
            fits = origin.startswith(before) and origin.endswith(after) and len(origin) > len(before) + len(after)
            if fits and _HOST.fullmatch(origin[len(before) : -len(after)]):
                return True
        return False

    def _preflight(self, head: RequestHead) -> Outcome:
        """Say what may be asked for: browsers compare it with what they want."""
        origin = head.get(b"origin") or b""
        if not self._allowed(origin):
            return _REFUSED._replace(reason=f"preflight of {origin[:256].decode('latin-1')}")
        rules = self._rules
        fields = [
            (b"Access-Control-Allow-Origin", b"*" if self._any else origin),
            (b"Access-Control-Allow-Methods", ", ".join(rules.methods).encode()),
            (b"Access-Control-Max-Age", b"%d" % rules.max_age),
            _PREFLIGHT_VARY,
        ]
        headers = self._headers(head.get(b"access-control-request-headers"))
        fields += [(b"Access-Control-Allow-Headers", headers)] if headers else []
        fields += [(b"Access-Control-Allow-Credentials", b"true")] if rules.credentials else []
        if rules.private_network and head.get(b"access-control-request-private-network") == b"true":
            fields.append((b"Access-Control-Allow-Private-Network", b"true"))
        return Answer(204, tuple(fields), b"")

    def _headers(self, asked: bytes | None) -> bytes:
        """Return the fields that may be sent: where any may, those that are asked for, as "*" leaves some out."""
        if ANY not in self._rules.headers:
            return ", ".join(self._rules.headers).encode()
        if asked is None or len(asked) > _MOST_HEADERS or not _NAMES.fullmatch(asked):
            return b""
        return asked
