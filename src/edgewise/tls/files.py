"""Loads certificates, keys and authorities from PEM files, with errors that name the file."""

from __future__ import annotations

import os
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import NoReturn

from cryptography import x509
from cryptography.x509.oid import NameOID

from edgewise.tls.errors import TlsError

Stamp = tuple[str, int, int, int]
"""File name, modification time in nanoseconds, size, inode: equal for an unchanged file."""


def stamp(file: str) -> Stamp:
    """Identify the present content of a file. Raises TlsError where it cannot be read."""
    with _named(file):
        status = os.stat(file)
    return file, status.st_mtime_ns, status.st_size, status.st_ino


def load_pair(context: ssl.SSLContext, certificate: str, key: str) -> None:
    """Load a certificate chain and its key into `context`. Raises TlsError."""
    for file in (certificate, key):
        with _named(file), open(file, "rb"):
            pass  # OpenSSL's own error for a file that cannot be read does not say which of the two it is.

    def refuse() -> NoReturn:
        raise TlsError(f"{key}: the key is encrypted; store it without a passphrase, readable by edgewise only")

    try:
        context.load_cert_chain(certificate, key, password=refuse)
    except ssl.SSLError as error:
        if error.reason in ("KEY_VALUES_MISMATCH", "KEY_TYPE_MISMATCH"):
            raise TlsError(f"{key}: the key does not belong to the certificate in {certificate}") from error
        if error.reason in ("EE_KEY_TOO_SMALL", "CA_KEY_TOO_SMALL", "CA_MD_TOO_WEAK"):
            raise TlsError(f"{certificate}: key or signature too weak for OpenSSL ({error.reason})") from error
        raise TlsError(f"{_broken(certificate, key)} ({error.reason or error})") from error


def load_authorities(context: ssl.SSLContext, file: str) -> None:
    """Trust the certificates in `file`. Raises TlsError."""
    with _named(file), open(file, "rb"):
        pass
    try:
        context.load_verify_locations(cafile=file)
    except ssl.SSLError as error:
        raise TlsError(f"{file}: no PEM certificates in it ({error.reason or error})") from error


def read_certificate(file: str) -> x509.Certificate:
    """Read the first certificate of a chain. Raises TlsError."""
    with _named(file):
        content = Path(file).read_bytes()
    try:
        return x509.load_pem_x509_certificate(content)
    except ValueError as error:
        raise TlsError(f"{file}: no PEM certificate in it") from error


def host_names(certificate: x509.Certificate) -> list[str]:
    """Return the lower-case DNS names of a certificate; its common name where it has none (RFC 6125 section 6.4.4)."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        found = names.get_values_for_type(x509.DNSName)
    except x509.ExtensionNotFound:
        found = [str(name.value) for name in certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
    return [name.lower().removesuffix(".") for name in found]


def validity_warning(file: str, certificate: x509.Certificate) -> str | None:
    """Return a sentence where the certificate is expired or not yet valid."""
    now = datetime.now(UTC)
    if certificate.not_valid_after_utc < now:
        return f"{file}: the certificate expired on {certificate.not_valid_after_utc:%Y-%m-%d %H:%M} UTC"
    if certificate.not_valid_before_utc > now:
        return f"{file}: the certificate is not valid before {certificate.not_valid_before_utc:%Y-%m-%d %H:%M} UTC"
    return None


@contextmanager
def _named(file: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise TlsError(f"{file}: {error.strerror or error}") from error


def _broken(certificate: str, key: str) -> str:
    """Tell which of the two files cannot be parsed."""
    try:
        read_certificate(certificate)
    except TlsError:
        return f"{certificate}: no PEM certificate in it"
    return f"{key}: no PEM key in it"
