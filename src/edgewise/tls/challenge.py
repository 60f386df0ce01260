"""The certificate that answers a tls-alpn-01 challenge (RFC 8737), and the context that presents it."""

from __future__ import annotations

import hashlib
import ssl

from cryptography import x509

from edgewise.tls.files import load_pair
from edgewise.tls.pem import new_key, private_pem, self_signed

PROTOCOL = "acme-tls/1"
"""The one protocol that an authority offers in its ClientHello (RFC 8737 section 3)."""
_IDENTIFIER = x509.ObjectIdentifier("1.3.6.1.5.5.7.1.31")
_DIGEST_HEADER = bytes((4, 32))
"""DER of an OCTET STRING of 32 bytes."""


def challenge_certificate(name: str, authorization: str) -> bytes:
    """Return key and self-signed certificate (PEM) whose critical extension holds the key authorization's digest."""
    key = new_key("ec256")
    digest = hashlib.sha256(authorization.encode()).digest()
    extensions: list[tuple[x509.ExtensionType, bool]] = [
        (x509.SubjectAlternativeName([x509.DNSName(name)]), False),
        (x509.UnrecognizedExtension(_IDENTIFIER, _DIGEST_HEADER + digest), True),
    ]
    return private_pem(key) + self_signed("ACME challenge", key, extensions, days=7)


def challenge_context(file: str) -> ssl.SSLContext:
    """Return the context that presents the challenge certificate in `file`. Raises TlsError."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.num_tickets = 0
    context.set_alpn_protocols([PROTOCOL])
    load_pair(context, file, file)
    return context
