"""Certificate revocation lists (RFC 5280 section 5) in files, read again when they change."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from pathlib import Path

from cryptography import x509

_log = logging.getLogger("edgewise.gateway")
_PAUSE = 30.0
"""Seconds between two looks at the files."""
_MOST_BYTES = 64 << 20
_PEM = b"-----BEGIN X509 CRL-----"

Stamp = tuple[int, int, int]
"""Inode, size and time of change."""


class RevocationLists:
    """Who was revoked. A service: it looks at its files now and then; one that cannot be read holds as it was."""

    def __init__(self, files: Sequence[str]) -> None:
        """Read the files. Raises OSError or ValueError, with the file's name."""
        self._files = tuple(files)
        self._stamps = [_stamp(file) for file in self._files]
        self._lists = [_read(file) for file in self._files]
        self.found: frozenset[tuple[bytes, int]] = frozenset().union(*self._lists)
        """(issuer's distinguished name in DER, serial number) of each certificate that was revoked."""

    async def run(self) -> None:
        """Follow the files."""
        while True:
            await asyncio.sleep(_PAUSE)
            await asyncio.to_thread(self.refresh)

    def refresh(self) -> None:
        """Read the files that changed."""
        for index, file in enumerate(self._files):
            try:
                stamp = _stamp(file)
                if stamp != self._stamps[index]:
                    self._lists[index] = _read(file)
                    self._stamps[index] = stamp
            except (OSError, ValueError) as error:
                _log.error("revocation list %s is not renewed: %s", file, error)
        self.found = frozenset().union(*self._lists)


def _stamp(file: str) -> Stamp:
    found = Path(file).stat()
    return found.st_ino, found.st_size, found.st_mtime_ns


def _read(file: str) -> frozenset[tuple[bytes, int]]:
    data = Path(file).read_bytes()
    if len(data) > _MOST_BYTES:
        raise ValueError(f"{file}: more than {_MOST_BYTES >> 20} MiB")
    try:
        load = x509.load_pem_x509_crl if _PEM in data else x509.load_der_x509_crl
        revoked = load(data)
        issuer = revoked.issuer.public_bytes()
        return frozenset((issuer, entry.serial_number) for entry in revoked)
    except ValueError as error:
        raise ValueError(f"{file}: no revocation list: {error}") from None
