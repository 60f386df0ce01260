"""One certificate that a keeper keeps: what is stored of it, when it is due, what other nodes have of it."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from cryptography import x509

from edgewise.tls.errors import TlsError
from edgewise.tls.pem import key_type_of, read_bundle
from edgewise.tls.renewal import renew_at
from edgewise.tls.shared import SharedCertificate
from edgewise.tls.store import Record, Store

if TYPE_CHECKING:
    from edgewise.tls.managed import Managed
    from edgewise.tls.terms import Issuer

log = logging.getLogger("edgewise.certificates")


class Entry:
    """One certificate and what is known of it."""

    def __init__(self, managed: Managed, store: Store) -> None:
        self.managed = managed
        self.record = store.record(managed.name)
        self.asked = 0.0
        """Unix time at which the operator asked for a renewal; 0: nobody waits for one."""
        self.revoke: bytes | None = None
        """The certificate to be revoked once there is another."""
        self.unshared = False
        """The other nodes have none, or know less of it."""
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

    def keep(self, store: Store, pem: bytes, record: Record) -> None:
        """Store another certificate; it counts once it is `read`. Raises OSError."""
        store.keep_record(self.managed.name, Record())  # until both are written, the next start renews once more
        store.keep_certificate(self.managed.name, pem)
        self.keep_record(store, record)

    def keep_record(self, store: Store, record: Record) -> None:
        """Store what is known. Raises OSError."""
        store.keep_record(self.managed.name, record)
        self.record = record

    def due(self, issuer: Issuer) -> float:
        """Return the Unix time of the next attempt."""
        if self.asked:
            return 0.0
        if self.record.failures and self.record.tried == issuer.source:
            return self.record.retry_at
        own = self._own(issuer)
        return 0.0 if own is None else renew_at(own, self.record.issued, self.record.window)

    def has_work(self, issuer: Issuer, now: float) -> bool:
        """Is there anything to be done, or to be told to other nodes?"""
        return self.unshared or self.to_be_revoked or self.due(issuer) <= now or self.asks_window(now)

    def asks_window(self, now: float) -> bool:
        """Is it time to ask when the authority wants a renewal?"""
        return 0.0 < self.record.ask_at <= now

    @property
    def to_be_revoked(self) -> bool:
        """Is there another certificate than the one that the operator wants revoked?"""
        return self.revoke is not None and self.pem is not None and self.revoke != self.pem

    def _own(self, issuer: Issuer) -> x509.Certificate | None:
        """Return the certificate, if it is one that this issuer would make."""
        if self.certificate is None or self.record.source != issuer.source:
            return None
        return self.certificate if key_type_of(self.certificate) == issuer.key_type else None

    def compare(self, shared: SharedCertificate | None, issuer: Issuer, store: Store) -> bool:
        """Store what other nodes share where that is newer; note where it is older. Was a certificate stored?

        What counts is when a certificate begins, by the authority's clock. Raises OSError.
        """
        own, theirs = self._own(issuer), self._usable(shared, issuer)
        record = shared.record if shared is not None else Record()
        if theirs is not None and theirs != own and (own is None or _begins(theirs) >= _begins(own)):
            assert shared is not None
            self.keep(store, shared.pem, record)
            self.unshared = False
            if record.issued >= self.asked:
                self.asked = 0.0
            return True
        newer = own != theirs
        if not newer and record != self.record and record.retry_at >= self.record.retry_at and shared is not None:
            self.keep_record(store, record)
        self.unshared = newer or self.record.retry_at > record.retry_at
        return False

    def _usable(self, shared: SharedCertificate | None, issuer: Issuer) -> x509.Certificate | None:
        if shared is None or not shared.pem or shared.record.source != issuer.source:
            return None
        try:
            return read_bundle(shared.pem, self.managed.name)[0]
        except TlsError as error:
            log.error("%s: the certificate that another node shares cannot be used: %s", self.managed.name, error)
            return None


def _begins(certificate: x509.Certificate) -> float:
    return certificate.not_valid_before_utc.timestamp()
