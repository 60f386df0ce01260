"""A private authority and its certificates: for tests and demonstrations, and behind `tls.internal`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID


class Pair(NamedTuple):
    """A certificate and its key, both PEM."""

    certificate: bytes
    key: bytes

    def write(self, directory: Path, name: str) -> tuple[str, str]:
        """Write `name.pem` and `name.key` (readable by the owner only) and return their paths."""
        certificate, key = directory / f"{name}.pem", directory / f"{name}.key"
        certificate.write_bytes(self.certificate)
        with open(os.open(key, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(self.key)
        return str(certificate), str(key)


class DevelopmentAuthority:
    """Signs certificates with an ECDSA P-256 key: a fresh one that is never stored, unless it is given."""

    def __init__(self, name: str = "edgewise development", *, days: float = 365) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        starts = datetime.now(UTC) - timedelta(hours=1)
        builder = _builder(self._name, self._name, self._key.public_key(), starts, timedelta(days=days))
        self._certificate = (
            builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_usage(signs_certificates=True), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(self._key.public_key()), critical=False)
            .sign(self._key, hashes.SHA256())
        )

    @classmethod
    def load(cls, certificate: bytes, key: bytes) -> DevelopmentAuthority:
        """Take the authority that `certificate` and `key` (PEM) are. Raises ValueError."""
        authority = cls.__new__(cls)
        loaded = load_pem_private_key(key, None)
        authority._certificate = x509.load_pem_x509_certificate(certificate)
        if (
            not isinstance(loaded, ec.EllipticCurvePrivateKey)
            or loaded.public_key() != authority._certificate.public_key()
        ):
            raise ValueError("the key does not belong to the authority's certificate")
        authority._key = loaded
        authority._name = authority._certificate.subject
        return authority

    @property
    def key(self) -> bytes:
        """The authority's private key (PEM), to be shown to nobody."""
        return self._key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())

    @property
    def expires(self) -> datetime:
        """When the authority's certificate ends."""
        return self._certificate.not_valid_after_utc

    @property
    def certificate(self) -> bytes:
        """The authority's own certificate (PEM), to be trusted by the other side."""
        return self._certificate.public_bytes(Encoding.PEM)

    def write(self, directory: Path, name: str = "authority") -> str:
        """Write the authority's certificate to `name.pem` and return its path."""
        path = directory / f"{name}.pem"
        path.write_bytes(self.certificate)
        return str(path)

    def issue(
        self, names: Sequence[str], *, client: bool = False, starts: datetime | None = None, days: float = 90
    ) -> Pair:
        """Issue a certificate for host names and IP addresses, or for a client; valid from an hour ago by default."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0][:64])])
        starts = starts or datetime.now(UTC) - timedelta(hours=1)
        purpose = ExtendedKeyUsageOID.CLIENT_AUTH if client else ExtendedKeyUsageOID.SERVER_AUTH
        certificate = (
            _builder(subject, self._name, key.public_key(), starts, timedelta(days=days))
            .add_extension(x509.SubjectAlternativeName([_general_name(name) for name in names]), critical=False)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(signs_certificates=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        return Pair(certificate.public_bytes(Encoding.PEM), pem)


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, starts: datetime, lasts: timedelta
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(starts)
        .not_valid_after(starts + lasts)
    )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        return x509.DNSName(name)
