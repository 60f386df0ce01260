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
from edgewise.tls.terms import Alone, Terms

if TYPE_CHECKING:
    from edgewise.tls.managed import Managed
    from edgewise.tls.terms import Issuer, Nodes

log = logging.getLogger("edgewise.certificates")
_LONGEST_SLEEP = 3600.0
"""Seconds after which the clock is looked at again: it may have been set."""
_PATIENCE = 600.0
"""Seconds that one order may take."""
_ELSEWHERE = 2.0
"""Seconds after which a node whose work another one does looks again."""
_ERRORS = (AcmeError, TlsError, OSError)


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
        self._terms: Terms | None = None
        self._told: set[str] = set()
        """Names of which other nodes may have something new."""
        self._trouble = ""
        """Why what is due is not done at the moment."""
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def follow(
        self, managed: Sequence[Managed], issuer: Issuer | None, store: Store | None, nodes: Nodes | None = None
    ) -> None:
        """Keep these certificates from now on, from this issuer, together with other nodes where there are any.

        An order under way is finished by the issuer that it began with, and counts where its certificate is still kept.
        With other settings of the issuer, what waits after failures is tried at once.
        """
        other = self._terms is not None and self._terms.issuer is not issuer
        self._terms = Terms(issuer, store, nodes or Alone()) if issuer is not None and store is not None else None
        known = {entry.managed: entry for entry in self._entries.values()}
        self._entries = {}
        if store is not None:
            self._entries = {each.name: known.get(each) or Entry(each, store) for each in managed}
        for entry in self._entries.values():
            if other and entry.record.failures:
                entry.asked = self._clock()
        self.told(None)

    def told(self, name: str | None) -> None:
        """Look what other nodes share of a certificate, of all where it is None."""
        self._told.update(self._entries if name is None else self._entries.keys() & {name})
        self._wake.set()

    def start(self) -> None:
        """Begin to order. Before, nothing would answer the challenges."""
        if self._task is None:
            self._task = asyncio.create_task(self._run())

    def kept(self) -> list[Kept]:
        """Return how each certificate is doing."""
        terms = self._terms
        return [self._state(entry, terms.issuer) for entry in self._entries.values()] if terms is not None else []

    def _state(self, entry: Entry, issuer: Issuer) -> Kept:
        due, end, now = entry.due(issuer), entry.certificate, self._clock()
        not_after = end.not_valid_after_utc.timestamp() if end is not None else None
        managed, record = entry.managed, entry.record
        error = record.error or (self._trouble if due <= now else "")
        return Kept(managed.name, managed.names, not_after, max(due, now), record.failures, error)

    def renew(self, name: str, *, revoke: bool = False) -> None:
        """Renew a certificate now, whatever it was waiting for; then revoke the old one, if asked.

        Raises KeyError where none of that name is kept.
        """
        entry = self._entries[name]
        entry.asked = self._clock()
        if revoke and self._terms is not None and entry.record.source == self._terms.issuer.source:
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
        terms = self._terms
        if terms is None:
            return _LONGEST_SLEEP
        if not await self._take_part(terms):
            return _ELSEWHERE
        moments = [
            at for entry in self._entries.values() for at in (entry.due(terms.issuer), entry.record.ask_at) if at
        ]
        return min(max(min(moments, default=_LONGEST_SLEEP) - self._clock(), 0.0), _LONGEST_SLEEP)

    async def _take_part(self, terms: Terms) -> bool:
        """Take what other nodes have, do what is due if none of them does; False: look again soon."""
        if not terms.nodes.reached:
            self._trouble = "waits for shared state"
            return False
        try:
            await self._take(terms)
            if self._has_work(terms) and not await terms.nodes.lead(lambda: self._do_due(terms)):
                return False
        except (StateError, OSError) as error:
            if not self._trouble:
                log.error("certificates wait for shared state: %s", error)
            self._trouble = f"waits for shared state: {error}"
            return False
        self._trouble = ""
        return not any(entry.unshared for entry in self._entries.values())

    def _has_work(self, terms: Terms) -> bool:
        return any(entry.has_work(terms.issuer, self._clock()) for entry in self._entries.values())

    async def _take(self, terms: Terms) -> None:
        """Look at what other nodes told of. Raises StateError and OSError; the rest is looked at again then."""
        while self._told:
            name = self._told.pop()
            try:
                if name in self._entries:
                    await self._compare(self._entries[name], terms)
            except BaseException:
                self._told.add(name)
                raise

    async def _compare(self, entry: Entry, terms: Terms) -> None:
        """Take what other nodes have of a certificate, where it is newer."""
        shared = await terms.nodes.certificate(terms.kind, entry.managed.name)
        if entry.compare(shared, terms.issuer, terms.store):
            log.info("%s: took the certificate that another node got", entry.managed.name)
            await self._serve(entry, terms.store)

    async def _do_due(self, terms: Terms) -> None:
        await terms.nodes.share_account(terms.store, terms.issuer.source)
        for entry in sorted(self._entries.values(), key=lambda entry: entry.due(terms.issuer)):
            if entry.has_work(terms.issuer, self._clock()):
                await self._compare(entry, terms)  # another node may have done it meanwhile
                await self._do(entry, terms)
        await terms.nodes.share_account(terms.store, terms.issuer.source)

    async def _do(self, entry: Entry, terms: Terms) -> None:
        """Order, share, revoke, ask: what is due of one certificate."""
        renewed = entry.due(terms.issuer) <= self._clock() and await self._order(entry, terms)
        if entry.unshared:
            await self._share(entry, terms)
        if entry.to_be_revoked:
            await self._revoke(entry, terms.issuer)
        if renewed or entry.asks_window(self._clock()):
            await self._ask_window(entry, terms)

    async def _order(self, entry: Entry, terms: Terms) -> bool:
        """Get a certificate, have the workers serve it; was there one?

        Raises StateError where other nodes cannot be told of the challenge: no failure, but an order that waits.
        """
        issuer, asked = terms.issuer, entry.asked
        entry.asked = 0.0
        try:
            async with asyncio.timeout(_PATIENCE):
                previous = entry.pem if entry.record.source == issuer.source else None
                pem = await issuer.issue(entry.managed.names, previous)
            entry.keep(terms.store, pem, Record(issuer.source, issued=self._clock()))
        except (asyncio.CancelledError, StateError):
            entry.asked = asked
            raise
        except _ERRORS as error:
            self._failed(entry, issuer, terms.store, error)
            return False
        entry.unshared = True
        await self._serve(entry, terms.store)
        return True

    async def _serve(self, entry: Entry, store: Store) -> None:
        """Have the workers load what was stored; from then on it is what is shown."""
        try:
            await self._changed()
        except OSError as error:
            log.error(
                "%s: a worker did not take the new certificate: %s", entry.managed.name, error or "no answer in time"
            )
        finally:
            entry.read(store)

    async def _share(self, entry: Entry, terms: Terms) -> None:
        """Tell other nodes what this one has and knows; what cannot be told now is told later."""
        name, value = entry.managed.name, SharedCertificate(entry.pem or b"", entry.record)
        try:
            entry.unshared = not await terms.nodes.keep(terms.kind, name, value)
            if entry.unshared:
                self._told.add(name)
        except StateError as error:
            log.error("%s: other nodes are not told of the certificate: %s", name, error)

    def _failed(self, entry: Entry, issuer: Issuer, store: Store, error: Exception) -> None:
        """Note a failure, on disk too: a process that is restarted again and again must not press the authority."""
        record = entry.record
        record.failures, record.tried = record.failures + 1, issuer.source
        record.error = " ".join(str(error).split())[:500] or type(error).__name__
        wait = backoff(record.failures, issuer.retry, getattr(error, "retry_after", None))
        record.retry_at, entry.unshared = self._clock() + wait, True
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

    async def _ask_window(self, entry: Entry, terms: Terms) -> None:
        """Ask when the authority wants the certificate renewed; without an answer, a third of the lifetime counts."""
        if entry.pem is None:
            return
        record = entry.record
        try:
            found = await terms.issuer.window(entry.pem)
        except _ERRORS as error:
            log.warning("%s: no word on when to renew: %s", entry.managed.name, error)
            record.ask_at = self._clock() + _LONGEST_SLEEP
            return
        record.window, record.ask_at = (found[:2], found[2]) if found is not None else (None, 0.0)
        with contextlib.suppress(OSError):
            terms.store.keep_record(entry.managed.name, record)
        if found is not None:
            entry.unshared = True
            await self._share(entry, terms)

    async def close(self) -> None:
        """Stop; an order under way is given up."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        if self._terms is not None:
            self._terms.issuer.close()
