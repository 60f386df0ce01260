"""Requests that may be sent again: the first answer under a key is kept, and given to each that comes with it.

The field Idempotency-Key of draft-ietf-httpapi-idempotency-key-header. A key belongs to its route and to whoever sent
it. What the state engine holds under it is first that a request is under way, for as long as some worker says so, then
the answer. Neither keys nor credentials can be read from what is held: names are HMACs under the key itself.
"""

from __future__ import annotations

import asyncio
import logging
import math
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from hashlib import sha256
from hmac import compare_digest
from hmac import digest as hmac_digest
from typing import TYPE_CHECKING

from edgewise.contracts.policies import Denial, Outcome, gathered
from edgewise.contracts.state import Entry, StateEngine, StateError
from edgewise.gateway.kept_answers import FINGERPRINT, Claim, read_answer

if TYPE_CHECKING:
    from edgewise.contracts.exchange import Exchange
    from edgewise.contracts.recording import Record

Open = Callable[[], Awaitable[StateEngine]]
"""Connects to the engine. Raises StateError."""

_log = logging.getLogger("edgewise.gateway")
_NAME = "idempotency"
_QUOTED = re.compile(rb'"((?:[ !#-\[\]-~]|\\["\\])*)"')
_BARE = re.compile(rb"[!#-+\--:<-~]+")
"""What most clients send, though the field is a String (RFC 9651 section 3.3.3): no quotes, commas or semicolons."""
_ESCAPED = re.compile(rb'\\(["\\])')
_LONGEST = 255
_TRIES = 3
"""Times that a key is asked for which was given up in between."""
_SOON = 5
"""Seconds at most that a client is told to wait for a request under way."""


@dataclass(frozen=True)
class Settings:
    """What the table `idempotency` says."""

    header: bytes
    """Lower-case name."""
    methods: frozenset[bytes]
    required: bool
    keep: float
    """Seconds that an answer is kept."""
    lock: float
    """Seconds that a key stays taken when the worker that has it died."""
    most: int
    """Bytes of an answer's content at most."""
    most_request: int
    """Bytes of a request's content at most."""
    by: tuple[bytes, ...]
    """Lower-case names of the fields that tell clients apart where nobody was verified."""
    not_kept: tuple[tuple[int, int], ...]
    """(lowest, highest) status of answers that are not kept."""
    allow: bool
    """Let requests through while the engine is lost."""


class Idempotency:
    """The policy `idempotency` of a route."""

    def __init__(self, settings: Settings, route: str, open_engine: Open, record: Record) -> None:
        self._settings = settings
        self._route = route.encode()
        self._open = open_engine
        self._record = record

    def check(self, exchange: Exchange) -> Outcome | Awaitable[Outcome]:
        """Let the first request with a key through, and answer the others."""
        settings = self._settings
        plan = exchange.plan
        head = plan.request
        if head.method not in settings.methods or exchange.grpc is not None or plan.upgrade is not None or plan.answer:
            return None
        values = [field.value for field in head.fields if field.name == settings.header]
        if not values:
            return self._refusal(400, "This request needs the field %b.") if settings.required else None
        key = parse_key(values[0]) if len(values) == 1 else None
        if key is None:
            return self._refusal(400, "The field %b is not one key of 1 to 255 visible characters.")
        return self._begin(exchange, key)

    def _refusal(self, status: int, detail: str, wait: int = 0) -> Denial:
        fields = ((b"Retry-After", b"%d" % wait),) if wait else ()
        text = detail.replace("%b", self._settings.header.decode())
        return Denial(status, "idempotency", text, fields)

    async def _begin(self, exchange: Exchange, key: bytes) -> Outcome:
        content = gathered(exchange, self._settings.most_request, "idempotency")
        whole = content if isinstance(content, bytes) else await content
        name = f"{_NAME}/{_mac(key, self._route, *self._sender(exchange)).hex()}"
        fingerprint = _fingerprint(exchange, key, whole)
        try:
            return await self._claim(await self._open(), exchange, name, fingerprint)
        except StateError as error:
            _log.warning("idempotency keys cannot be looked up: %s", error)
            if self._settings.allow:
                return None
            detail = "Whether this request was made before cannot be told now."
            return self._refusal(503, detail, wait=1)._replace(reason=f"state engine: {error}")

    def _sender(self, exchange: Exchange) -> tuple[bytes, ...]:
        """Return what keys of one sender have in common, and of no other."""
        identity = exchange.identity
        if identity is not None:
            names = (identity.method, identity.consumer or "", identity.name)
            return (b"identity", *(name.encode("utf-8", "surrogatepass") for name in names))
        fields = exchange.plan.request.fields
        return (b"fields", *(b"%b:%b" % (one.name, one.value) for one in fields if one.name in self._settings.by))

    async def _claim(self, engine: StateEngine, exchange: Exchange, name: str, fingerprint: bytes) -> Outcome:
        """Take the key for this request; where it is taken, find out what for."""
        settings = self._settings
        claim = Claim(engine, name, fingerprint, settings.keep, settings.lock, settings.most, settings.not_kept)
        for _ in range(_TRIES):
            if await self._take(claim):
                self._record(exchange, claim)
                return None
            entry = await engine.get(name)
            if entry is not None:
                return await self._met(engine, entry, fingerprint)
        return self._under_way(None)

    @staticmethod
    async def _take(claim: Claim) -> bool:
        """Take the key, and give it back where nobody waits for it any more once it is had."""
        taking = asyncio.ensure_future(claim.take())
        try:
            return await asyncio.shield(taking)
        except asyncio.CancelledError:
            taking.add_done_callback(claim.leave)
            raise

    async def _met(self, engine: StateEngine, entry: Entry, fingerprint: bytes) -> Outcome:
        if not compare_digest(entry.value[1 : 1 + FINGERPRINT], fingerprint):
            return self._refusal(422, "The key in %b was sent with another request before.")
        answer = await read_answer(engine, entry)
        if answer is None:
            return self._under_way(entry.ttl)
        return answer._replace(fields=(*answer.fields, (b"Idempotency-Replayed", b"true")))

    def _under_way(self, left: float | None) -> Denial:
        wait = max(1, min(_SOON, math.ceil(left or 1)))
        return self._refusal(409, "A request with the key in %b is still under way.", wait=wait)


def parse_key(value: bytes) -> bytes | None:
    """Return a key from a String of RFC 9651, or from bare text; None for what is neither, or longer than 255 bytes."""
    found = _QUOTED.fullmatch(value)
    key = _ESCAPED.sub(rb"\1", found[1]) if found is not None else value
    if found is None and not _BARE.fullmatch(value):
        return None
    return key if 0 < len(key) <= _LONGEST else None


def _mac(key: bytes, *parts: bytes) -> bytes:
    """Return the HMAC of parts, none of which can pass for two."""
    return hmac_digest(key, b"".join(b"%d:%b" % (len(part), part) for part in parts), sha256)


def _fingerprint(exchange: Exchange, key: bytes, content: bytes) -> bytes:
    """Return what tells a request from another: method, host, path, query and content."""
    head = exchange.plan.request
    query = b"-" if head.query is None else b"?" + head.query
    return _mac(key, head.method, head.host, head.path, query, sha256(content).digest())
