"""Forward authentication: a service is asked about each request, and its answer decides."""

from __future__ import annotations

from collections.abc import Awaitable
from time import monotonic, time
from typing import TYPE_CHECKING, NamedTuple

from edgewise.contracts.identity import Identity
from edgewise.contracts.plan import Answer
from edgewise.contracts.policies import POLICIES, Ask, Denial, Fetched, FetchError, Verified
from edgewise.protocols.http1 import hop_by_hop

if TYPE_CHECKING:
    from edgewise.contracts.exchange import Exchange

_UNANSWERED = "Whether the request may go on cannot be told now."
_ABOUT_CONTENT = frozenset((
    b"content-length", b"content-encoding", b"content-type", b"expect", b"host", b"if-match", b"if-modified-since",
    b"if-none-match", b"if-range", b"if-unmodified-since", b"range", b"transfer-encoding",
))  # fmt: skip
"""Fields that would be about a request or an answer that this is not."""
_TOLD_HERE = frozenset((
    b"forwarded", b"traceparent", b"x-forwarded-for", b"x-forwarded-host", b"x-forwarded-method", b"x-forwarded-proto",
    b"x-forwarded-uri", b"x-original-method", b"x-original-uri", b"x-request-id",
))  # fmt: skip
_NOT_PASSED = frozenset((
    b"connection", b"content-length", b"date", b"keep-alive", b"trailer", b"transfer-encoding", b"upgrade",
))  # fmt: skip
"""Fields of an answer that are written anew for the client."""
_AUTH = POLICIES.index("auth") + 1


class Terms(NamedTuple):
    """What the service is asked and what becomes of its answer; names of fields are in lower case."""

    target: bytes
    sent: frozenset[bytes] | None
    """Fields of the request that it gets; None: all that are about the sender."""
    forwarded: tuple[bytes, ...]
    """Fields of its answer for servers, as they are written there."""
    answered: tuple[bytes, ...]
    """The same for the client."""
    user: bytes
    """Field with the sender's name, b"" for none."""
    groups: bytes
    timeout: float
    allow: bool
    """Let requests go on while it does not answer."""
    keep: float
    """Seconds for which a 2xx is remembered."""
    keyed: frozenset[bytes]
    """Fields of the request that it depends on."""


class Verdict(NamedTuple):
    """A 2xx."""

    identity: Identity
    forward_lines: bytes
    answer_lines: bytes


class Verdicts:
    """Those of late, in two generations: when the young one is full it becomes the old one, the old one goes."""

    def __init__(self, entries: int) -> None:
        self._entries = entries
        self._young: dict[tuple[bytes, ...], tuple[float, Verdict]] = {}
        self._old: dict[tuple[bytes, ...], tuple[float, Verdict]] = {}

    def find(self, key: tuple[bytes, ...]) -> Verdict | None:
        """Return a verdict that holds."""
        found = self._young.get(key) or self._old.get(key)
        return found[1] if found is not None and monotonic() < found[0] else None

    def keep(self, key: tuple[bytes, ...], verdict: Verdict, until: float) -> None:
        """Remember a verdict until a time (monotonic seconds)."""
        if len(self._young) >= self._entries:
            self._old, self._young = self._young, {}
        self._young[key] = until, verdict


class ForwardAuth:
    """The way `forward` of `auth`."""

    challenge = b""

    def __init__(self, terms: Terms, ask: Ask, verdicts: Verdicts) -> None:
        self._terms = terms
        self._ask = ask
        self._verdicts = verdicts

    def authenticate(self, exchange: Exchange) -> Verified | Awaitable[Verified]:
        """Return whom the service says the sender is, or its answer for the client."""
        if not self._terms.keep:
            return self._asked(exchange, ())
        key = self._key(exchange)
        verdict = self._verdicts.find(key)
        return self._asked(exchange, key) if verdict is None else _passed(exchange, verdict)

    def begin(self, exchange: Exchange) -> Answer | None:
        """The service said what there is to say."""
        return None

    def _key(self, exchange: Exchange) -> tuple[bytes, ...]:
        """Return all that a verdict depends on."""
        request = exchange.plan.request
        fields = [b"%b:%b" % (field.name, field.value) for field in request.fields if field.name in self._terms.keyed]
        ip = exchange.client.peer_ip.encode()
        scheme = b"s" if exchange.client.tls else b""
        return request.method, request.authority, request.target, ip, scheme, *fields

    async def _asked(self, exchange: Exchange, key: tuple[bytes, ...]) -> Verified:
        terms = self._terms
        asked = monotonic()
        try:
            answer = await self._ask(exchange, terms.target, self._lines(exchange), timeout=terms.timeout)
        except FetchError as error:
            return self._unanswered(str(error))
        if 200 <= answer.status < 300:
            verdict = self._verdict(answer)
            if key and not _not_kept(answer):
                self._verdicts.keep(key, verdict, asked + terms.keep)
            return _passed(exchange, verdict)
        if 300 <= answer.status < 500:
            return _refusal(exchange, answer)
        return self._unanswered(f"it answered {answer.status}")

    def _unanswered(self, reason: str) -> Verified:
        if self._terms.allow:
            return Identity("", "forward")
        return Denial(503, "auth", _UNANSWERED, ((b"Retry-After", b"1"),), f"forward authentication: {reason}")

    def _lines(self, exchange: Exchange) -> bytes:
        """Return the fields that the service gets: the request's, and what the request is."""
        request = exchange.plan.request
        dropped = _ABOUT_CONTENT | _TOLD_HERE | hop_by_hop(request.lines)
        sent, stripped = self._terms.sent, exchange.route.stripped
        lines = [
            field.line
            for field in request.fields
            if field.name not in dropped
            and b"_" not in field.name
            and (field.name not in stripped if sent is None else field.name in sent)
        ]
        lines.append(
            b"X-Forwarded-Method: %b\r\nX-Forwarded-Proto: %b\r\nX-Forwarded-Host: %b\r\nX-Forwarded-Uri: %b\r\n"
            b"X-Original-Method: %b\r\nX-Original-URI: %b\r\n"
            % (request.method, _scheme(exchange), _host(exchange), request.target, request.method, request.target)
        )
        return b"".join(lines)

    def _verdict(self, answer: Fetched) -> Verdict:
        terms = self._terms
        name = answer.get(terms.user) if terms.user else None
        groups = answer.get(terms.groups) if terms.groups else None
        identity = Identity(
            (name or b"").decode("latin-1"),
            "forward",
            groups=frozenset(
                group for each in (groups or b"").decode("latin-1").split(",") if (group := each.strip(" \t"))
            ),
            expires=time() + terms.keep if terms.keep else float("inf"),
        )
        return Verdict(identity, _picked(answer, terms.forwarded), _picked(answer, terms.answered))


def _passed(exchange: Exchange, verdict: Verdict) -> Identity:
    exchange.forward_lines += verdict.forward_lines
    exchange.answer_lines += verdict.answer_lines
    return verdict.identity


def _refusal(exchange: Exchange, answer: Fetched) -> Answer:
    """Return the service's own answer, in the log and the metrics a refusal where it is one."""
    if answer.status >= 400:
        exchange.end, exchange.failure, exchange.refused = "edge-auth", "the service refused", _AUTH
    return Answer(answer.status, tuple(one for one in answer.fields if one[0] not in _NOT_PASSED), answer.content)


def _picked(answer: Fetched, names: tuple[bytes, ...]) -> bytes:
    """Return the lines of an answer's fields that have these names."""
    return b"".join(
        b"%b: %b\r\n" % (name, value) for name in names for key, value in answer.fields if key == name.lower()
    )


def _not_kept(answer: Fetched) -> bool:
    """Does the service say that its answer is for once?"""
    said = (answer.get(b"cache-control") or b"").lower()
    return b"no-store" in said or b"no-cache" in said or answer.get(b"set-cookie") is not None


def _host(exchange: Exchange) -> bytes:
    """Return the host that the client asked, as a trusted proxy says where one does."""
    request = exchange.plan.request
    said = request.get(b"x-forwarded-host") if exchange.client.plans.trusted else None
    return said or request.authority


def _scheme(exchange: Exchange) -> bytes:
    """Return the scheme that the client used, as a trusted proxy says where one does."""
    if exchange.plan.forwarded_proto:
        return exchange.plan.request.get(b"x-forwarded-proto") or b"http"
    return b"https" if exchange.client.tls else b"http"
