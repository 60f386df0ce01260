"""The authority of this machine's own, for development: its root, and one certificate for all names."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.exceptions import InvalidSignature

from edgewise.tls.development import DevelopmentAuthority
from edgewise.tls.errors import TlsError
from edgewise.tls.pem import read_bundle
from edgewise.tls.renewal import renew_at

if TYPE_CHECKING:
    from pathlib import Path

    from edgewise.tls.store import Store

SOURCE = "internal"
"""What the authority's certificates are marked with, and the name under which the one in use is kept."""
_ROOT_DAYS = 3650.0


def root_file(directory: Path) -> Path:
    """Return where the root certificate is, within the directory of keys and certificates."""
    return directory / "internal" / "root.pem"


def root(store: Store) -> DevelopmentAuthority:
    """Return the authority, made on first use and when it has ended. Raises TlsError and OSError.

    It has no name constraints: they would have to list today's names, and each new route would ask for a new root to be
    trusted. What keeps it harmless is that its key never leaves the directory (mode 0600).
    """
    certificate = root_file(store.directory)
    key = certificate.with_suffix(".key")
    if certificate.exists() and key.exists():
        try:
            authority = DevelopmentAuthority.load(certificate.read_bytes(), key.read_bytes())
        except ValueError as error:
            raise TlsError(f"{certificate}: {error}; remove it and root.key to have new ones made") from None
        if authority.expires > datetime.now(UTC) + timedelta(days=1):
            return authority
    authority = DevelopmentAuthority(f"edgewise development ({socket.gethostname()[:32]})", days=_ROOT_DAYS)
    store.keep_root(certificate, authority.certificate, authority.key)
    return authority


def issue(store: Store, names: Sequence[str]) -> bytes:
    """Return key and chain (PEM) of a certificate for `names`. Raises TlsError and OSError."""
    authority = root(store)
    pair = authority.issue(names)
    return pair.key + pair.certificate + authority.certificate


def fits(store: Store, pem: bytes, names: Sequence[str]) -> bool:
    """Is this a certificate of today's root for exactly `names`, and not yet due for renewal?"""
    issuer = x509.load_pem_x509_certificate(root(store).certificate)
    try:
        certificate = read_bundle(pem)[0]
        certificate.verify_directly_issued_by(issuer)
    except (TlsError, ValueError, TypeError, InvalidSignature):
        return False
    return certified_names(certificate) == set(names) and renew_at(certificate, 0.0) > datetime.now(UTC).timestamp()


def certified_names(certificate: x509.Certificate) -> set[str]:
    """Return the DNS names and IP addresses of a certificate."""
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    addresses = [str(address) for address in names.get_values_for_type(x509.IPAddress)]
    return {*names.get_values_for_type(x509.DNSName), *addresses}


class InternalIssuer:
    """Renews the certificate of the internal authority, in the place of an ACME authority."""

    source = SOURCE
    key_type = "ec256"
    retry = 60.0

    def __init__(self, store: Store) -> None:
        self._store = store

    async def issue(self, names: tuple[str, ...], previous: bytes | None) -> bytes:
        """Return key and chain (PEM). Raises TlsError and OSError."""
        return issue(self._store, names)

    async def window(self, pem: bytes) -> None:
        """Nobody wishes for another time of renewal."""
        return None

    async def revoke(self, pem: bytes) -> None:
        """Do nothing: nobody asks this authority about revocation."""

    def close(self) -> None:
        """Nothing to let go of."""
