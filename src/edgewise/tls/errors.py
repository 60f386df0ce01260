"""What loading of certificates raises."""

from __future__ import annotations


class TlsError(Exception):
    """Certificates or TLS settings that cannot be used; the message names the file and what is wrong with it."""
