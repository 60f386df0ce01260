"""Certificates in the control process: from the configuration to a keeper, and from its orders to the workers."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from edgewise.contracts.sealing import NoSecretError, Sealer, read_secret
from edgewise.contracts.state import StateError
from edgewise.server import messages as m
from edgewise.server.answers import Answers
from edgewise.server.secret import state_directory
from edgewise.state.opening import Options, open_engine
from edgewise.tls.acme.issuer import AcmeIssuer, usable_challenges
from edgewise.tls.challenge import challenge_certificate
from edgewise.tls.cluster import Cluster
from edgewise.tls.errors import TlsError
from edgewise.tls.files import host_names, read_certificate
from edgewise.tls.internal import InternalIssuer
from edgewise.tls.keeper import Keeper, Kept
from edgewise.tls.managed import Managed, managed_certificates
from edgewise.tls.shared import PURPOSE
from edgewise.tls.store import Store
from edgewise.tls.terms import Issuer

if TYPE_CHECKING:
    from edgewise.config.schema import Config
    from edgewise.config.state import State
    from edgewise.contracts.state import StateEngine
    from edgewise.server.generation import Generation
    from edgewise.tls.acme.messages import Challenge

log = logging.getLogger("edgewise.certificates")
_PATIENCE = 30.0
"""Seconds within which every worker must have answered."""


class _Plan(NamedTuple):
    """What a generation wants kept."""

    managed: Sequence[Managed] = ()
    issuer: tuple[object, Issuer] | None = None
    """With the settings that it was made from."""
    store: Store | None = None
    given: Sequence[Kept] = ()
    """Certificates that somebody else renews."""
    cluster: Cluster | None = None
    """The nodes that have the same certificates."""


class Keeping:
    """Keeps the certificates of a generation. A change is prepared, then committed."""

    def __init__(self, node: str, config: Config) -> None:
        """`node` names this one among those that share certificates, as `config` says for good in [cluster]."""
        self._node = node
        self._settings = config.cluster
        self._state = config.state
        self._answers: Answers[None] = Answers()
        self._keeper = Keeper(self._tell)
        self._plan = self._next = _Plan()
        self._cluster: Cluster | None = None
        self._challenges: tuple[dict[str, str], dict[str, str]] = ({}, {})
        """Tokens and files that workers answer with."""
        self.send: Callable[[m.ToSupervisor], None] = lambda message: None
        """Sends to the supervisor."""

    def prepare(self, generation: Generation) -> str:
        """Make the issuer of a generation; return why that is impossible, or ""."""
        config = generation.config
        self._next = _Plan()
        if not config.server.tls_listen:
            return ""
        try:
            managed = managed_certificates(config)
            store = Store(config.tls.directory) if config.tls.directory is not None else None
            issuer = self._issuer_of(config, store)
            self._next = _Plan(managed, issuer, store, _given(config), self._cluster_of(config))
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
        if self._plan.issuer is not None and self._plan.issuer[0] == settings:
            return self._plan.issuer
        issuer = AcmeIssuer(acme, store, challenges, self._answer) if acme is not None else InternalIssuer(store)
        return settings, issuer

    def _cluster_of(self, config: Config) -> Cluster | None:
        """Return this node's part in what nodes share; None where it shares nothing. Raises TlsError."""
        settings, state = self._settings, self._state
        if config.tls.acme is None or state is None or settings is None or not settings.certificates:
            return None
        if self._cluster is None:
            try:
                sealer = Sealer(read_secret(settings.key, settings.key_file), PURPOSE)
            except NoSecretError as error:
                raise TlsError(str(error)) from error
            self._cluster = Cluster(partial(_open, state), sealer, self._node, self._show, self._keeper.told)
        return self._cluster

    def commit(self) -> None:
        """Keep the prepared certificates from now on."""
        before, self._plan = self._plan, self._next
        plan = self._plan
        if before.store is None and plan.store is not None:  # an edgewise that died may have been ordering
            plan.store.clear_leftovers()
            self.send(m.CertificatesWanted(0))
        if plan.cluster is not None:
            plan.cluster.start()  # before the workers accept: whoever orders must know that this node answers too
        issuer = plan.issuer[1] if plan.issuer is not None else None
        self._keeper.follow(plan.managed, issuer, plan.store, plan.cluster)

    def start(self) -> None:
        """The workers serve: begin to order, challenges can be answered."""
        self._keeper.start()

    def kept(self) -> list[Kept]:
        """Return how each certificate is doing, those of the configuration first."""
        return [*self._plan.given, *self._keeper.kept()]

    def renew(self, name: str, *, revoke: bool) -> None:
        """Renew a certificate now; see `Keeper.renew`."""
        self._keeper.renew(name, revoke=revoke)

    async def _answer(self, challenges: list[Challenge]) -> None:
        """Have every worker of every node answer these challenges and no others.

        Raises TimeoutError, and StateError where other nodes cannot be told; what is no longer to be answered may stay.
        """
        cluster = self._plan.cluster
        if cluster is None:
            await self._show(challenges)
            return
        try:
            await cluster.present(challenges)
        except StateError:
            if challenges:
                raise

    async def _show(self, challenges: list[Challenge]) -> None:
        """Have every worker of this node answer these challenges and no others."""
        store = self._plan.store
        if store is None:
            return
        tokens = {each.token: each.authorization for each in challenges if each.kind == "http-01"}
        files = {}
        for each in challenges:
            if each.kind == "tls-alpn-01":
                pem = challenge_certificate(each.name, each.authorization)
                files[each.name] = str(store.keep_challenge(each.name, pem))
        self._challenges = (tokens, files)
        await self._tell()
        if not challenges:
            store.clear_challenges()

    async def _tell(self) -> None:
        """Have every worker load certificates and answer challenges. Raises TimeoutError where one does not."""
        request = self._answers.number()
        wanted = m.CertificatesWanted(request, *self._challenges)
        await self._answers.ask(request, lambda: self.send(wanted), _PATIENCE)

    def answered(self, request: int) -> None:
        """Take the supervisor's answer."""
        self._answers.take(request, None)

    async def close(self) -> None:
        """Stop keeping."""
        await self._keeper.close()
        if self._cluster is not None:
            await self._cluster.close()


def _given(config: Config) -> list[Kept]:
    """Return the certificates of the configuration, which somebody else renews."""
    found = []
    for entry in config.tls.certificates:
        certificate = read_certificate(entry.cert)
        names = tuple(entry.hosts or host_names(certificate))
        found.append(Kept(entry.cert, names, certificate.not_valid_after_utc.timestamp(), None, 0, ""))
    return found


async def _open(state: State) -> StateEngine:
    return await open_engine(state.url, replace(Options.of(state, state_directory()), local_copy=None))
