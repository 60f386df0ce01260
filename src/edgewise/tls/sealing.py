"""Seals what nodes share of certificates.

Challenges are sealed too, not for secrecy: nodes answer what they find there, so whoever could write one would get
certificates for these hosts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgewise.contracts import sealing
from edgewise.contracts.sealing import NoSecretError, read_secret
from edgewise.tls.errors import TlsError

if TYPE_CHECKING:
    from edgewise.config.schema import Acme


class Sealer(sealing.Sealer):
    """Seals certificates, accounts and challenges."""

    def __init__(self, secret: bytes) -> None:
        super().__init__(secret, "certificates")


def share_secret(settings: Acme) -> bytes | None:
    """Return the secret that this node has in common with others; None where it shares nothing. Raises TlsError."""
    if settings.share_key is None and settings.share_key_file is None:
        return None
    try:
        return read_secret(settings.share_key, settings.share_key_file)
    except NoSecretError as error:
        raise TlsError(str(error)) from error
