"""Keeps certificates: orders what is missing, renews what is due, waits longer after each failure.

Runs in the control process, one certificate at a time. A failure never touches what is stored: the old certificate is
served until a new one is there, and after its end. Where nodes share certificates, one of them does what is due while
it leads, and each of the others takes what comes of it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from edgewise.contracts.state import StateError
from edgewise.tls.acme.messages import AcmeError
from edgewise.tls.entry import Entry
from edgewise.tls.errors import TlsError
from edgewise.tls.renewal import backoff
from edgewise.tls.shared import SharedCertificate
from edgewise.tls.store import Record, Store

if TYPE_CHECKING:
    from edgewise.tls.cluster import Cluster
    from edgewise.tls.issuing import Issuer
    from edgewise.tls.managed import Managed

log = logging.getLogger("edgewise.certificates")
_LONGEST_SLEEP = 3600.0
"""Seconds after which the clock is looked at again: it may have been set."""
_PATIENCE = 600.0
"""Seconds that one order may take."""
_ELSEWHERE = 2.0
"""Seconds after which a node whose work another one does looks again."""
_ERRORS = (AcmeError, TlsError, OSError, StateError)


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


class Keeper:
    """Keeps the certificates that it is told to `follow`. `changed` has the workers load what was stored."""

    def __init__(self, changed: Callable[[], Awaitable[None]], clock: Callable[[], float] = time.time) -> None:
        self._changed = changed
        self._clock = clock
        self._entries: dict[str, Entry] = {}
        self._issuer: Issuer | None = None
        self._store: Store | None = None
        self._cluster: Cluster | None = None
        self._told: set[str] = set()
        """Names of which other nodes may have something new."""
        self._trouble = ""
        """Why what is due is not done at the moment."""
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def follow(
        self, managed: Sequence[Managed], issuer: Issuer | None, store: Store | None, cluster: Cluster | None = None
    ) -> None:
        """Keep these certificates from now on, from this issuer, together with the other nodes of `cluster`.

        An order under way is finished by the issuer that it began with, and counts where its certificate is still kept.
        With other settings of the issuer, what waits after failures is tried at once.
        """
        other = self._issuer is not None and self._issuer is not issuer
        self._issuer, self._store, self._cluster = issuer, store, cluster
        known = {entry.managed: entry for entry in self._entries.values()}
        self._entries = {}
        if store is not None:
            self._entries = {each.name: known.get(each) or Entry(each, store) for each in managed}
        for entry in self._entries.values():
            entry.asked = entry.asked or (other and entry.record.failures > 0)
        self.told(None)

    def told(self, name: str | None) -> None:
        """Look what other nodes share of a certificate, of all where it is None."""
        self._told.update(self._entries if name is None else self._entries.keys() & {name})
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

    def _state(self, entry: Entry) -> Kept:
        issuer, end, now = self._issuer, entry.certificate, self._clock()
        assert issuer is not None
        due = entry.due(issuer)
        not_after = end.not_valid_after_utc.timestamp() if end is not None else None
        managed, record = entry.managed, entry.record
        error = record.error or (self._trouble if due <= now else "")
        return Kept(managed.name, managed.names, not_after, max(due, now), record.failures, error)

    def renew(self, name: str, *, revoke: bool = False) -> None:
        """Renew a certificate now, whatever it was waiting for; then revoke the old one, if asked.

        Raises KeyError where none of that name is kept.
        """
        entry = self._entries[name]
        entry.asked = True
        if revoke and self._issuer is not None and entry.record.source == self._issuer.source:
            entry.revoke = entry.pem
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
        issuer, store, cluster = self._issuer, self._store, self._cluster
        if issuer is None or store is None:
            return _LONGEST_SLEEP
        if cluster is None:
            await self._do_due(issuer, store, None)
        elif not await self._take_part(issuer, store, cluster):
            return _ELSEWHERE
        moments = [at for entry in self._entries.values() for at in (entry.due(issuer), entry.record.ask_at) if at]
        return min(max(min(moments, default=_LONGEST_SLEEP) - self._clock(), 0.0), _LONGEST_SLEEP)

    async def _take_part(self, issuer: Issuer, store: Store, cluster: Cluster) -> bool:
        """Take what other nodes have, do what is due if none of them does; False: look again soon."""
        if not cluster.reached:
            self._trouble = "waits for shared state"
            return False
        try:
            await self._take(issuer, store, cluster)
            done = not any(entry.has_work(issuer, self._clock()) for entry in self._entries.values())
            done = done or await cluster.lead(lambda: self._do_due(issuer, store, cluster))
        except (StateError, OSError) as error:
            log.error("certificates wait for shared state: %s", error)
            self._trouble = f"waits for shared state: {error}"
            return False
        self._trouble = ""
        return done and not any(entry.unshared for entry in self._entries.values())

    async def _take(self, issuer: Issuer, store: Store, cluster: Cluster) -> None:
        """Look at what other nodes told of. Raises StateError and OSError; the rest is looked at again then."""
        taken = False
        while self._told:
            name = next(iter(self._told))
            entry = self._entries.get(name)
            if entry is not None:
                taken |= await self._compare(entry, issuer, store, cluster)
            self._told.discard(name)
        if taken:
            await self._tell_workers()

    async def _compare(self, entry: Entry, issuer: Issuer, store: Store, cluster: Cluster) -> bool:
        shared = await cluster.certificate(_kind(issuer), entry.managed.name)
        if not entry.compare(shared, issuer, store):
            return False
        log.info("%s: took the certificate that another node got", entry.managed.name)
        return True

    async def _do_due(self, issuer: Issuer, store: Store, cluster: Cluster | None) -> None:
        if cluster is not None:
            await cluster.share_account(store, issuer.source)
        for entry in sorted(self._entries.values(), key=lambda entry: entry.due(issuer)):
            if not entry.has_work(issuer, self._clock()):
                continue
            if cluster is not None and await self._compare(entry, issuer, store, cluster):
                await self._tell_workers()
            if entry.due(issuer) <= self._clock():
                await self._attempt(entry, issuer, store, cluster)
            elif 0.0 < entry.record.ask_at <= self._clock():
                await self._ask_window(entry, issuer, store, cluster)
            if entry.unshared:
                await self._share(entry, issuer, cluster)
        if cluster is not None:
            await cluster.share_account(store, issuer.source)

    async def _attempt(self, entry: Entry, issuer: Issuer, store: Store, cluster: Cluster | None) -> None:
        managed, asked = entry.managed, entry.asked
        entry.asked = False
        try:
            async with asyncio.timeout(_PATIENCE):
                pem = await issuer.issue(managed.names, entry.pem if entry.record.source == issuer.source else None)
            if not await self._keep(entry, pem, issuer, store, cluster):
                return
        except asyncio.CancelledError:
            entry.asked = asked
            raise
        except _ERRORS as error:
            self._failed(entry, issuer, store, error)
            entry.unshared = cluster is not None
            return
        await self._tell_workers()
        entry.read(store)
        if entry.revoke is not None:
            await self._revoke(entry, issuer)
        await self._ask_window(entry, issuer, store, cluster)

    async def _keep(self, entry: Entry, pem: bytes, issuer: Issuer, store: Store, cluster: Cluster | None) -> bool:
        """Share and store a new certificate; False: another node got one since, which is to be taken.

        Where the engine is lost in between, the certificate is this node's alone until it can be shared.
        """
        record = Record(issuer.source, issued=self._clock())
        shared: bool | None = None
        try:
            if cluster is not None:
                shared = await cluster.keep(_kind(issuer), entry.managed.name, SharedCertificate(pem, record))
        except StateError as error:
            log.error("%s: the new certificate is not shared yet: %s", entry.managed.name, error)
        finally:
            if shared is not False:
                entry.keep(store, pem, record)
                entry.unshared = cluster is not None and shared is None
        if shared is False:
            log.warning("%s: another node got a certificate meanwhile; this one is dropped", entry.managed.name)
            self.told(entry.managed.name)
            return False
        return True

    async def _tell_workers(self) -> None:
        try:
            await self._changed()
        except OSError as error:
            log.error("a worker did not take a new certificate: %s", error or "no answer in time")

    async def _share(self, entry: Entry, issuer: Issuer, cluster: Cluster | None) -> None:
        """Tell other nodes what this one has and knows; what cannot be told now is told later."""
        if cluster is None:
            return
        value = SharedCertificate(entry.pem or b"", entry.record)
        try:
            if not await cluster.keep(_kind(issuer), entry.managed.name, value):
                self.told(entry.managed.name)
            entry.unshared = False
        except StateError as error:
            log.error("%s: other nodes are not told of the certificate: %s", entry.managed.name, error)

    def _failed(self, entry: Entry, issuer: Issuer, store: Store, error: Exception) -> None:
        """Note a failure, on disk too: a process that is restarted again and again must not press the authority."""
        record = entry.record
        record.failures, record.tried = record.failures + 1, issuer.source
        record.error = " ".join(str(error).split())[:500] or type(error).__name__
        wait = backoff(record.failures, issuer.retry, getattr(error, "retry_after", None))
        record.retry_at = self._clock() + wait
        log.error("%s: no certificate: %s; next attempt in %.0f s", entry.managed.name, record.error, wait)
        with contextlib.suppress(OSError):
            store.keep_record(entry.managed.name, record)

    async def _revoke(self, entry: Entry, issuer: Issuer) -> None:
        pem, entry.revoke = entry.revoke, None
        assert pem is not None
        try:
            await issuer.revoke(pem)
            log.info("%s: the certificate before is revoked", entry.managed.name)
        except _ERRORS as error:
            log.error("%s: the certificate before is not revoked: %s", entry.managed.name, error)

    async def _ask_window(self, entry: Entry, issuer: Issuer, store: Store, cluster: Cluster | None) -> None:
        """Ask when the authority wants the certificate renewed; without an answer, a third of the lifetime counts."""
        if entry.pem is None:
            return
        record = entry.record
        try:
            found = await issuer.window(entry.pem)
        except _ERRORS as error:
            log.warning("%s: no word on when to renew: %s", entry.managed.name, error)
            record.ask_at = self._clock() + _LONGEST_SLEEP
            return
        record.window, record.ask_at = (found[:2], found[2]) if found is not None else (None, 0.0)
        entry.unshared = cluster is not None and found is not None
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


def _kind(issuer: Issuer) -> tuple[str, str]:
    """Return what certificates must have in common for nodes to share them."""
    return issuer.source, issuer.key_type
