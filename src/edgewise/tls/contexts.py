"""The TLS contexts of the listeners, chosen by the server name of a peeked ClientHello.

A context is chosen before the handshake begins, never changed by `sni_callback`: that switches the certificate but
keeps the first context's demand for client certificates, and so lets clients around it.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

from edgewise.tls.challenge import challenge_context
from edgewise.tls.errors import TlsError
from edgewise.tls.files import Stamp, host_names, load_authorities, load_pair, read_certificate, stamp, validity_warning
from edgewise.tls.own import OwnContext

if TYPE_CHECKING:
    from edgewise.config.schema import Certificate, Tls
    from edgewise.tls.managed import Managed

ALPN = ("http/1.1",)
"""Protocols offered to clients (RFC 7301)."""
ALPN_HTTP2 = ("h2", "http/1.1")
"""The same with HTTP/2, most wanted first."""
CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"
"""TLS 1.2 suites: forward secrecy and authenticated encryption only (RFC 9325 section 4.2)."""

_VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}
_DEMANDS = {"none": ssl.CERT_NONE, "optional": ssl.CERT_OPTIONAL, "required": ssl.CERT_REQUIRED}
_T = TypeVar("_T")


class ClientPolicy(NamedTuple):
    """What a host asks of its clients."""

    demand: str
    """none, optional or required."""
    authorities: str | None
    """File of accepted authorities."""


_SettingsKey = tuple[bool, str, str, Stamp | None]
"""Is HTTP/2 offered; minimum version, demand, authorities."""
_ContextKey = tuple[Stamp, Stamp, bool, str, str, Stamp | None]
"""Certificate, key and settings."""
_OwnKey = tuple["Managed", bool, str, str, Stamp | None]
"""A certificate that edgewise gets by itself, and settings."""


class _ByHost(Generic[_T]):
    """Values by host name: exact, else the longest wildcard, else the default."""

    def __init__(self, default: _T, *, any_depth: bool) -> None:
        self.default = default
        self._any_depth = any_depth
        self._names: dict[str, _T] = {}

    def add(self, name: str, value: _T) -> None:
        """Note the value of a name or `*.name`; the first one counts."""
        self._names.setdefault(name, value)

    def get(self, name: str) -> _T:
        found = self.find(name)
        return self.default if found is None else found

    def find(self, name: str) -> _T | None:
        """Return the value of a name that is listed, itself or by a wildcard."""
        found = self._names.get(name)
        if found is not None:
            return found
        at = name.find(".")
        while at >= 0:
            found = self._names.get("*" + name[at:])
            if found is not None:
                return found
            at = name.find(".", at + 1) if self._any_depth else -1
        return None

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)


class ContextSet:
    """Every context the TLS listeners need. Build it before workers fork: they share tickets.

    Once built, nothing changes but the certificates that edgewise gets by itself, and only by `refresh`.
    """

    def __init__(
        self,
        settings: Tls,
        previous: ContextSet | None = None,
        managed: Sequence[Managed] = (),
        *,
        http2: bool = True,
    ) -> None:
        """Load all files. Contexts of `previous` whose files and settings are unchanged are kept, so sessions resume.

        Raises TlsError naming the file.
        """
        self._entries: list[Certificate | Managed] = [*settings.certificates, *managed]
        if not self._entries:
            raise TlsError("tls.certificates: TLS listeners need at least one certificate")
        self._settings = settings
        self._http2 = http2
        self._loaded: dict[_ContextKey, ssl.SSLContext] = {}
        self._own: dict[_OwnKey, OwnContext] = {}
        self._own_at: dict[tuple[int, ClientPolicy], OwnContext] = {}
        self._given = len(settings.certificates)
        self._challenges: dict[str, ssl.SSLContext] = {}
        self.warnings: list[str] = []
        """What is wrong but no reason to stop, such as expired certificates."""
        self._policies = self._read_policies()
        self._certificates = self._read_certificates()
        self._contexts = self._build(previous)

    def choose(self, server_name: str | None) -> ssl.SSLContext:
        """Return the context for a connection whose ClientHello has this server name."""
        name = _normal(server_name)
        return self._contexts[self._certificates.get(name), self._policies.get(name)]

    def challenge(self, server_name: str | None) -> ssl.SSLContext | None:
        """Return the context that answers a tls-alpn-01 challenge for a name; None where none is under way."""
        return self._challenges.get(_normal(server_name))

    def certified(self, host: str) -> bool:
        """Is there a certificate for this very host, not a placeholder and not just the default?"""
        name = _normal(host)
        index = self._certificates.find(name)
        if index is None:
            return False
        return index < self._given or self._own_at[index, self._policies.get(name)].certified

    def refresh(self, challenges: Mapping[str, str]) -> None:
        """Load what edgewise got since; answer the challenges whose certificates are in these files, by name.

        Raises TlsError for a challenge's file; everything else is loaded by then.
        """
        for pair, own in self._own_at.items():
            own.refresh()
            self._contexts[pair] = own.context
        self._challenges = {_normal(name): challenge_context(file) for name, file in challenges.items()}

    def key(self, host: str | None) -> str:
        """Identify what `host` asks of its clients: "" for nothing, else demand and authorities.

        Where it is not empty, a request may only be served when it equals the key of its connection's server name; any
        other is answered 421 (RFC 9110 section 15.5.20), else a client without certificate could reach a host that
        demands one through a connection to a host that does not.
        """
        policy = self._policies.get(_normal(host))
        return "" if policy.demand == "none" else f"{policy.demand}:{policy.authorities}"

    def _read_policies(self) -> _ByHost[ClientPolicy]:
        settings = self._settings
        policies = _ByHost(_policy("tls", settings.client_auth, settings.client_ca), any_depth=True)
        for name, host in settings.hosts.items():
            where = f'tls.hosts."{name}"'
            policies.add(_normal(name), _policy(where, host.client_auth, host.client_ca or settings.client_ca))
        return policies

    def _read_certificates(self) -> _ByHost[int]:
        """Map host names to indexes of certificates; a wildcard covers one label (RFC 6125 section 6.4.3)."""
        certificates = _ByHost(0, any_depth=False)
        for index, entry in enumerate(self._entries):
            for name in self._names(entry):
                certificates.add(_normal(name), index)
        return certificates

    def _names(self, entry: Certificate | Managed) -> Sequence[str]:
        if isinstance(entry, tuple):
            return entry.names
        certificate = read_certificate(entry.cert)
        warning = validity_warning(entry.cert, certificate)
        if warning:
            self.warnings.append(warning)
        return entry.hosts or host_names(certificate)

    def _build(self, previous: ContextSet | None) -> dict[tuple[int, ClientPolicy], ssl.SSLContext]:
        """Build each combination that some server name leads to, so that no file is read once clients come.

        A name meets the same pair as a name listed here: itself, its wildcard, or one that falls to a default.
        """
        certificates, policies = self._certificates, self._policies
        pairs = {(certificates.get(name), policies.get(name)) for name in (*certificates, *policies)}
        pairs |= {(certificates.default, policies.get(name)) for name in policies}
        pairs |= {(certificates.default, policies.default)}
        pairs |= {(index, policies.default) for index in range(len(self._entries))}
        return {pair: self._context(*pair, previous) for pair in pairs}

    def _context(self, index: int, policy: ClientPolicy, previous: ContextSet | None) -> ssl.SSLContext:
        entry = self._entries[index]
        make = partial(_new_context, ALPN_HTTP2 if self._http2 else ALPN, self._settings.min_version, policy)
        if isinstance(entry, tuple):
            own_key = (entry, *self._settings_key(policy))
            own = (
                self._own.get(own_key) or (previous._own.get(own_key) if previous else None) or OwnContext(entry, make)
            )
            self._own[own_key] = self._own_at[index, policy] = own
            own.refresh()
            return own.context
        key = (stamp(entry.cert), stamp(entry.key), *self._settings_key(policy))
        context = self._loaded.get(key) or (previous._loaded.get(key) if previous else None)
        if context is None:
            context = make()
            load_pair(context, entry.cert, entry.key)
        self._loaded[key] = context
        return context

    def _settings_key(self, policy: ClientPolicy) -> _SettingsKey:
        authorities = stamp(policy.authorities) if policy.authorities else None
        return self._http2, self._settings.min_version, policy.demand, authorities


def _new_context(protocols: Sequence[str], min_version: str, policy: ClientPolicy) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = _VERSIONS[min_version]
    context.set_ciphers(CIPHERS)
    # Renegotiation lets a client make the server work for one request; compression leaks secrets (RFC 9325 section 3).
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    context.num_tickets = 1  # TLS 1.3: each costs a handshake some 3% of its CPU, and clients resume with the last
    context.set_alpn_protocols(list(protocols))
    if policy.authorities:
        load_authorities(context, policy.authorities)
        context.verify_mode = _DEMANDS[policy.demand]
    return context


def _policy(where: str, demand: str, authorities: str | None) -> ClientPolicy:
    if demand == "none":
        return ClientPolicy("none", None)
    if authorities is None:
        raise TlsError(f'{where}: client_auth = "{demand}" needs client_ca, the authorities of accepted certificates')
    return ClientPolicy(demand, authorities)


def _normal(name: str | None) -> str:
    return (name or "").lower().removesuffix(".")
