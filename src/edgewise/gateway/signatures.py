"""Senders told by a signature of their request's content with a shared secret: webhooks (HMAC, RFC 2104)."""

from __future__ import annotations

import hashlib
import hmac
import re
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Awaitable, Callable
from time import time
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from edgewise.contracts.identity import Identity
from edgewise.contracts.policies import Denial, Verified, gathered
from edgewise.contracts.state import StateError

if TYPE_CHECKING:
    from edgewise.contracts.exchange import Exchange
    from edgewise.contracts.plan import Answer
    from edgewise.contracts.state import StateEngine
    from edgewise.http.head import RequestHead

Open: TypeAlias = "Callable[[], Awaitable[StateEngine]]"
_TIME = re.compile(rb"[0-9]{1,12}")
_MOST_SIGNATURES = 16
"""Signatures in one field that are looked at."""


def _refused(detail: str, reason: str = "") -> Denial:
    return Denial(403, "auth", detail, reason=reason)


_SEVERAL = _refused("The request has several signatures where one is expected.")
_MALFORMED = _refused("The request's signature cannot be read.")
_NO_TIME = _refused("The request does not say when it was signed.")
_TOO_OLD = _refused("The request was not signed just now.")
_WRONG = _refused("The request's signature is not right.")
_AGAIN = _refused("A request with this signature came before.")


class Form(NamedTuple):
    """How a sender signs."""

    header: bytes
    """Field with the signature; this and other names of fields are in lower case."""
    prefix: bytes
    separator: bytes
    """What parts several signatures; b"" where there is one."""
    pairs: bytes
    """Name of the pairs that hold signatures, b"" where the field is not of pairs."""
    timestamp: bytes
    """Name of the pair with the time."""
    timestamp_header: bytes
    """Field with the time."""
    algorithm: str
    encoding: str
    """hex, base64 or base64url."""
    signed: tuple[tuple[str, bytes], ...]
    """Pieces of what is signed: ("text", the text), ("header", name) or (body, timestamp and so on, b"")."""
    tolerance: float
    """Seconds that the time may be from now."""
    once: float
    """Seconds for which a signature does not count again; 0: it does."""
    most: int
    """Bytes of content."""

    @property
    def timed(self) -> bool:
        """Does the request say when it was signed?"""
        return bool(self.timestamp or self.timestamp_header)


class Given(NamedTuple):
    """What a request brings."""

    signatures: list[bytes]
    time: bytes
    """b"" for none."""


class SignedRequests:
    """The way `signature` of `auth`."""

    challenge = b""

    def __init__(
        self, name: str, identity: Identity, form: Form, secrets: tuple[bytes, ...], open_engine: Open | None
    ) -> None:
        """`name`: of the table; `open_engine`: where signatures that came are remembered, None for nowhere."""
        self._name = name
        self._identity = identity
        self._form = form
        self._secrets = secrets
        self._open = open_engine if form.once else None

    def authenticate(self, exchange: Exchange) -> Verified | Awaitable[Verified]:
        """Return who signed the request; its content is read only where the rest of it may be right."""
        given = self._given(exchange.plan.request)
        if given is None or isinstance(given, Denial):
            return given
        if self._form.timed and not abs(time() - int(given.time)) <= self._form.tolerance:
            return _TOO_OLD
        content = gathered(exchange, self._form.most, "auth")
        if isinstance(content, bytes) and self._open is None:
            signed = self._signed(exchange.plan.request, given.time, content)
            return self._verified(given, signed)
        return self._wait(exchange, given, content)

    def begin(self, exchange: Exchange) -> Answer | None:
        """A sender that has no signature cannot be sent anywhere."""
        return None

    async def _wait(self, exchange: Exchange, given: Given, content: bytes | Awaitable[bytes]) -> Verified:
        if not isinstance(content, bytes):
            content = await content
        signed = self._signed(exchange.plan.request, given.time, content)
        verified = self._verified(given, signed)
        if isinstance(verified, Identity) and self._open is not None and signed is not None:
            return await self._first(self._open, verified, signed)
        return verified

    async def _first(self, open_engine: Open, identity: Identity, signed: bytes) -> Verified:
        """Note what was signed, whichever of several secrets it was signed with: it counts once."""
        key = f"signature/{self._name}/{hashlib.sha256(signed).hexdigest()}"
        try:
            engine = await open_engine()
            noted = await engine.compare_and_set(key, b"", 0, self._form.once)
        except StateError as error:
            detail = "It cannot be told now whether the request came before."
            return Denial(503, "auth", detail, ((b"Retry-After", b"1"),), f"state engine: {error}")
        return _AGAIN if noted is None else identity

    def _given(self, request: RequestHead) -> Given | Denial | None:
        """Take signatures and time out of the fields; None where there is no signature."""
        form = self._form
        values = [field.value for field in request.fields if field.name == form.header]
        if not values:
            return None
        if len(values) > 1:
            return _SEVERAL
        moment = b""
        parts = [values[0]]
        if form.pairs:
            pairs = [part.strip(b" \t").partition(b"=") for part in values[0].split(b",")]
            parts = [value for name, _, value in pairs if name == form.pairs]
            times = [value for name, _, value in pairs if name == form.timestamp]
            moment = times[0] if len(times) == 1 else b""
        elif form.separator:
            parts = values[0].split(form.separator)
        if form.timestamp_header:
            times = [field.value for field in request.fields if field.name == form.timestamp_header]
            moment = times[0] if len(times) == 1 else b""
        if form.timed and not _TIME.fullmatch(moment):
            return _NO_TIME
        prefix = form.prefix
        signatures = [part[len(prefix) :] for part in parts if part.startswith(prefix)]
        if form.encoding == "hex":
            signatures = [signature.lower() for signature in signatures]
        if not 0 < len(signatures) <= _MOST_SIGNATURES:
            return _MALFORMED
        return Given(signatures, moment)

    def _verified(self, given: Given, signed: bytes | None) -> Identity | Denial:
        if signed is None:
            return _MALFORMED
        right = False
        for secret in self._secrets:
            expected = self._encoded(hmac.digest(secret, signed, self._form.algorithm))
            for signature in given.signatures:
                right |= hmac.compare_digest(signature, expected)
        return self._identity if right else _WRONG

    def _encoded(self, digest: bytes) -> bytes:
        if self._form.encoding == "hex":
            return digest.hex().encode()
        return b64encode(digest) if self._form.encoding == "base64" else urlsafe_b64encode(digest)

    def _signed(self, request: RequestHead, moment: bytes, content: bytes) -> bytes | None:
        """Return what is signed; None where a field of it is not there once."""
        pieces: list[bytes] = []
        for kind, value in self._form.signed:
            if kind == "header":
                values = [field.value for field in request.fields if field.name == value]
                if len(values) != 1:
                    return None
                pieces.append(values[0])
            else:
                pieces.append(_piece(kind, value, request, moment, content))
        return b"".join(pieces)


def _piece(kind: str, text: bytes, request: RequestHead, moment: bytes, content: bytes) -> bytes:
    if kind == "text":
        return text
    if kind == "body":
        return content
    if kind == "timestamp":
        return moment
    found: Any = {
        "method": request.method,
        "path": request.path,
        "query": request.query or b"",
        "target": request.target,
        "host": request.authority,
    }[kind]
    piece: bytes = found
    return piece
