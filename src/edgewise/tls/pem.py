"""Keys, signing requests and certificates as PEM; certificates that edgewise keeps are one file: key, then chain."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import NameOID

from edgewise.tls.errors import TlsError
from edgewise.tls.files import host_names

PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


def new_key(key_type: str) -> PrivateKey:
    """Make a key: ec256 or rsa2048."""
    if key_type == "rsa2048":
        return rsa.generate_private_key(65537, 2048)
    return ec.generate_private_key(ec.SECP256R1())


def key_type_of(certificate: x509.Certificate) -> str:
    """Return the kind of a certificate's key: ec256, rsa2048, or its class's name."""
    key = certificate.public_key()
    if isinstance(key, ec.EllipticCurvePublicKey):
        return f"ec{key.curve.key_size}"
    if isinstance(key, rsa.RSAPublicKey):
        return f"rsa{key.key_size}"
    return type(key).__name__


def private_pem(key: PrivateKey) -> bytes:
    """Return a private key (PKCS 8, PEM)."""
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def signing_request(key: PrivateKey, name: str) -> bytes:
    """Return a certificate signing request (DER) for one DNS name."""
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    names = x509.SubjectAlternativeName([x509.DNSName(name)])
    return builder.add_extension(names, critical=False).sign(key, hashes.SHA256()).public_bytes(Encoding.DER)


def self_signed(
    title: str, key: PrivateKey, extensions: Sequence[tuple[x509.ExtensionType, bool]] = (), *, days: float = 3650
) -> bytes:
    """Return a certificate (PEM) by which `key` vouches for itself; `extensions` come with whether each is critical."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, title)])
    starts = datetime.now(UTC) - timedelta(hours=1)
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(starts)
        .not_valid_after(starts + timedelta(days=days))
    )
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical=critical)
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM)


def read_bundle(pem: bytes, name: str | None = None) -> tuple[x509.Certificate, bytes]:
    """Return the certificate of a key with its chain, as object and as DER.

    Raises TlsError where the two do not belong together, or the certificate is not for `name`.
    """
    try:
        certificate = x509.load_pem_x509_certificates(pem)[0]
        key = load_pem_private_key(pem, None)
    except (ValueError, TypeError) as error:
        raise TlsError(f"no key and certificate in PEM: {error}") from None
    encoding = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    if certificate.public_key().public_bytes(*encoding) != key.public_key().public_bytes(*encoding):
        raise TlsError("the key does not belong to the certificate")
    if name is not None and name not in host_names(certificate):
        raise TlsError(f"the certificate is for {', '.join(host_names(certificate)) or 'nobody'}, not for {name}")
    if name is not None and certificate.not_valid_after_utc < datetime.now(UTC):
        raise TlsError(f"the certificate for {name} has expired")
    return certificate, certificate.public_bytes(Encoding.DER)
