"""Keeps certificates: orders what is missing, renews what is due, waits longer after each failure.

Runs in the control process, one certificate at a time. A failure never touches what is stored: the old certificate is
served until a new one is there, and after its end.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol

from cryptography import x509

from edgewise.tls.acme.messages import AcmeError
from edgewise.tls.errors import TlsError
from edgewise.tls.pem import key_type_of, read_bundle
from edgewise.tls.renewal import backoff, renew_at
from edgewise.tls.store import Record, Store

if TYPE_CHECKING:
    from edgewise.tls.managed import Managed

log = logging.getLogger("edgewise.certificates")
_LONGEST_SLEEP = 3600.0
"""Seconds after which the clock is looked at again: it may have been set."""
_PATIENCE = 600.0
"""Seconds that one order may take."""


class Issuer(Protocol):
    """Who makes certificates."""

    @property
    def source(self) -> str:
        """What certificates of this issuer are marked with."""

    @property
    def key_type(self) -> str:
        """Kind of their keys."""

    @property
    def retry(self) -> float:
        """Seconds to wait after a first failure."""

    async def issue(self, names: tuple[str, ...], previous: bytes | None) -> bytes:
        """Return key and chain (PEM); `previous` is what they follow. Raises AcmeError, TlsError or OSError."""

    async def window(self, pem: bytes) -> tuple[float, float, float] | None:
        """Return (start, end, when to ask again) of the time the issuer wants a renewal. Raises like `issue`."""

    async def revoke(self, pem: bytes) -> None:
        """Revoke a certificate. Raises like `issue`."""

    def close(self) -> None:
        """Let go of what is held."""


class Kept(NamedTuple):
    """How a certificate is doing; times are Unix times."""

    name: str
    names: tuple[str, ...]
    not_after: float | None
    """None where there is none yet."""
    next_attempt: float | None
    """None where somebody else renews it."""
    failures: int
    error: str


class _Entry:
    """One certificate and what is known of it."""

    def __init__(self, managed: Managed, store: Store) -> None:
        self.managed = managed
        self.record = store.record(managed.name)
        self.asked = False
        """The operator wants it renewed now."""
        self.revoke = False
        """And the old one revoked after."""
        self.pem: bytes | None = None
        self.certificate: x509.Certificate | None = None
        self.read(store)

    def read(self, store: Store) -> None:
        """Take the certificate that is stored; one that cannot be used counts as none."""
        try:
            self.pem = store.certificate(self.managed.name)
            self.certificate = read_bundle(self.pem)[0] if self.pem is not None else None
        except (TlsError, OSError) as error:
            log.error("%s: %s", self.managed.file, error)
            self.pem = self.certificate = None

    def due(self, issuer: Issuer) -> float:
        """Return the Unix time of the next attempt."""
        if self.asked:
            return 0.0
        if self.record.failures and self.record.tried == issuer.source:
            return self.record.retry_at
        other = self.record.source != issuer.source
        if self.certificate is None or other or key_type_of(self.certificate) != issuer.key_type:
            return 0.0
        return renew_at(self.certificate, self.record.issued, self.record.window)


class Keeper:
    """Keeps the certificates that it is told to `follow`. `changed` has the workers load what was stored."""

    def __init__(self, changed: Callable[[], Awaitable[None]], clock: Callable[[], float] = time.time) -> None:
        self._changed = changed
        self._clock = clock
        self._entries: dict[str, _Entry] = {}
        self._issuer: Issuer | None = None
        self._store: Store | None = None
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def follow(self, managed: Sequence[Managed], issuer: Issuer | None, store: Store | None) -> None:
        """Keep these certificates from now on, from this issuer.

        An order under way is finished by the issuer that it began with, and counts where its certificate is still kept.
        With other settings of the issuer, what waits after failures is tried at once.
        """
        other = self._issuer is not None and self._issuer is not issuer
        self._issuer, self._store = issuer, store
        known = {entry.managed: entry for entry in self._entries.values()}
        self._entries = {}
        if store is not None:
            self._entries = {each.name: known.get(each) or _Entry(each, store) for each in managed}
        for entry in self._entries.values():
            entry.asked = entry.asked or (other and entry.record.failures > 0)
        self._wake.set()

    def start(self) -> None:
        """Begin to order. Before, nothing would answer the challenges."""
        if self._task is None:
            self._task = asyncio.create_task(self._run())

    @property
    def started(self) -> bool:
        """Was `start` called?"""
        return self._task is not None

    def kept(self) -> list[Kept]:
        """Return how each certificate is doing."""
        return [self._state(entry) for entry in self._entries.values()]

    def _state(self, entry: _Entry) -> Kept:
        issuer, end = self._issuer, entry.certificate
        assert issuer is not None
        due = max(entry.due(issuer), self._clock())
        not_after = end.not_valid_after_utc.timestamp() if end is not None else None
        managed, record = entry.managed, entry.record
        return Kept(managed.name, managed.names, not_after, due, record.failures, record.error)

    def renew(self, name: str, *, revoke: bool = False) -> None:
        """Renew a certificate now, whatever it was waiting for; then revoke the old one, if asked.

        Raises KeyError where none of that name is kept.
        """
        entry = self._entries[name]
        entry.asked, entry.revoke = True, revoke
        self._wake.set()

    async def _run(self) -> None:
        while True:
            self._wake.clear()
            try:
                wait = await self.step()
            except Exception:  # a defect must not end renewals for good
                log.exception("keeping certificates failed")
                wait = _LONGEST_SLEEP
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await self._wake.wait()

    async def step(self) -> float:
        """Do what is due; return the seconds until something is."""
        issuer, store = self._issuer, self._store
        if issuer is None or store is None:
            return _LONGEST_SLEEP
        for entry in sorted(self._entries.values(), key=lambda entry: entry.due(issuer)):
            if entry.due(issuer) <= self._clock():
                await self._attempt(entry, issuer, store)
            elif 0.0 < entry.record.ask_at <= self._clock():
                await self._ask_window(entry, issuer, store)
        moments = [at for entry in self._entries.values() for at in (entry.due(issuer), entry.record.ask_at) if at]
        return min(max(min(moments, default=_LONGEST_SLEEP) - self._clock(), 0.0), _LONGEST_SLEEP)

    async def _attempt(self, entry: _Entry, issuer: Issuer, store: Store) -> None:
        managed, old, revoke = entry.managed, entry.pem, entry.revoke
        same_source = entry.record.source == issuer.source
        entry.asked = entry.revoke = False
        try:
            async with asyncio.timeout(_PATIENCE):
                pem = await issuer.issue(managed.names, old if same_source else None)
            store.keep_record(managed.name, Record())  # until both are written, the next start renews once more
            store.keep_certificate(managed.name, pem)
            entry.record = Record(issuer.source, issued=self._clock())
            store.keep_record(managed.name, entry.record)
        except (AcmeError, TlsError, OSError) as error:
            self._failed(entry, issuer, store, error)
            return
        try:
            await self._changed()
        except OSError as error:
            log.error("%s: a worker did not take the new certificate: %s", managed.name, error or "no answer in time")
        entry.read(store)
        if revoke and old is not None and same_source:
            await self._revoke(managed.name, old, issuer)
        await self._ask_window(entry, issuer, store)

    def _failed(self, entry: _Entry, issuer: Issuer, store: Store, error: Exception) -> None:
        """Note a failure, on disk too: a process that is restarted again and again must not press the authority."""
        record = entry.record
        record.failures, record.tried = record.failures + 1, issuer.source
        record.error = " ".join(str(error).split())[:500] or type(error).__name__
        wait = backoff(record.failures, issuer.retry, getattr(error, "retry_after", None))
        record.retry_at = self._clock() + wait
        log.error("%s: no certificate: %s; next attempt in %.0f s", entry.managed.name, record.error, wait)
        with contextlib.suppress(OSError):
            store.keep_record(entry.managed.name, record)

    async def _revoke(self, name: str, pem: bytes, issuer: Issuer) -> None:
        try:
            await issuer.revoke(pem)
            log.info("%s: the certificate before is revoked", name)
        except (AcmeError, TlsError, OSError) as error:
            log.error("%s: the certificate before is not revoked: %s", name, error)

    async def _ask_window(self, entry: _Entry, issuer: Issuer, store: Store) -> None:
        """Ask when the authority wants the certificate renewed; without an answer, a third of the lifetime counts."""
        if entry.pem is None:
            return
        record = entry.record
        try:
            found = await issuer.window(entry.pem)
        except (AcmeError, TlsError, OSError) as error:
            log.warning("%s: no word on when to renew: %s", entry.managed.name, error)
            record.ask_at = self._clock() + _LONGEST_SLEEP
            return
        record.window, record.ask_at = (found[:2], found[2]) if found is not None else (None, 0.0)
        with contextlib.suppress(OSError):
            store.keep_record(entry.managed.name, record)

    async def close(self) -> None:
        """Stop; an order under way is given up."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        if self._issuer is not None:
            self._issuer.close()
