"""Certificates in the control process: from the configuration to a keeper, and from its orders to the workers."""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

from edgewise.server import messages as m
from edgewise.tls.acme.issuer import AcmeIssuer, usable_challenges
from edgewise.tls.challenge import challenge_certificate
from edgewise.tls.errors import TlsError
from edgewise.tls.files import host_names, read_certificate
from edgewise.tls.internal import InternalIssuer
from edgewise.tls.keeper import Issuer, Keeper, Kept
from edgewise.tls.managed import Managed, managed_certificates
from edgewise.tls.store import Store

if TYPE_CHECKING:
    from edgewise.config.schema import Config
    from edgewise.server.generation import Generation
    from edgewise.tls.acme.messages import Challenge

log = logging.getLogger("edgewise.certificates")
_PATIENCE = 30.0
"""Seconds within which every worker must have answered."""


class Keeping:
    """Keeps the certificates of a generation. A change is prepared, then committed."""

    def __init__(self) -> None:
        self._requests = itertools.count(1)
        self._answers: dict[int, asyncio.Future[None]] = {}
        self._keeper = Keeper(lambda: self._tell({}, {}))
        self._issuer: tuple[object, Issuer] | None = None
        """With the settings that it was made from."""
        self._store: Store | None = None
        self._next: tuple[list[Managed], tuple[object, Issuer] | None, Store | None, list[Kept]] = ([], None, None, [])
        self._given: list[Kept] = []
        self.send: Callable[[m.ToSupervisor], None] = lambda message: None
        """Sends to the supervisor."""

    def prepare(self, generation: Generation) -> str:
        """Make the issuer of a generation; return why that is impossible, or ""."""
        config = generation.config
        if not config.server.tls_listen:
            self._next = ([], None, None, [])
            return ""
        try:
            managed = managed_certificates(config)
            store = Store(config.tls.directory) if config.tls.directory is not None else None
            self._next = (managed, self._issuer_of(config, store), store, _given(config))
        except TlsError as error:
            return str(error)
        return ""

    def _issuer_of(self, config: Config, store: Store | None) -> tuple[object, Issuer] | None:
        """Return the issuer, the present one for the same settings, so that an order under way goes on."""
        if store is None:
            return None
        acme = config.tls.acme
        challenges = usable_challenges(acme, config.server.listen) if acme is not None else []
        settings = (acme, challenges, config.tls.directory)
        if self._issuer is not None and self._issuer[0] == settings:
            return self._issuer
        issuer = AcmeIssuer(acme, store, challenges, self._answer) if acme is not None else InternalIssuer(store)
        return settings, issuer

    def commit(self) -> None:
        """Keep the prepared certificates from now on."""
        managed, self._issuer, self._store, self._given = self._next
        issuer = self._issuer[1] if self._issuer is not None else None
        self._keeper.follow(managed, issuer, self._store)

    def start(self) -> None:
        """The workers serve: begin to order, challenges can be answered."""
        if not self._keeper.started:
            if self._store is not None:  # the process before this one may have died in the middle of an order
                self._store.clear_leftovers()
                self.send(m.CertificatesWanted(0))
            self._keeper.start()

    def kept(self) -> list[Kept]:
        """Return how each certificate is doing, those of the configuration first."""
        return [*self._given, *self._keeper.kept()]

    def renew(self, name: str, *, revoke: bool) -> None:
        """Renew a certificate now; see `Keeper.renew`."""
        self._keeper.renew(name, revoke=revoke)

    async def _answer(self, challenges: list[Challenge]) -> None:
        """Have every worker answer these challenges and no others."""
        assert self._store is not None
        tokens = {each.token: each.authorization for each in challenges if each.kind == "http-01"}
        files = {}
        for each in challenges:
            if each.kind == "tls-alpn-01":
                pem = challenge_certificate(each.name, each.authorization)
                files[each.name] = str(self._store.keep_challenge(each.name, pem))
        await self._tell(tokens, files)
        if not challenges:
            self._store.clear_challenges()

    async def _tell(self, tokens: dict[str, str], files: dict[str, str]) -> None:
        """Have every worker load certificates and answer challenges. Raises TimeoutError where one does not."""
        request = next(self._requests)
        future = self._answers[request] = asyncio.get_running_loop().create_future()
        self.send(m.CertificatesWanted(request, tokens, files))
        try:
            async with asyncio.timeout(_PATIENCE):
                await future
        finally:
            del self._answers[request]

    def answered(self, request: int) -> None:
        """Take the supervisor's answer."""
        future = self._answers.get(request)
        if future is not None and not future.done():
            future.set_result(None)

    async def close(self) -> None:
        """Stop keeping."""
        await self._keeper.close()


def _given(config: Config) -> list[Kept]:
    """Return the certificates of the configuration, which somebody else renews."""
    found = []
    for entry in config.tls.certificates:
        certificate = read_certificate(entry.cert)
        names = tuple(entry.hosts or host_names(certificate))
        found.append(Kept(entry.cert, names, certificate.not_valid_after_utc.timestamp(), None, 0, ""))
    return found
