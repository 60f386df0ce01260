"""The TLS context of connections to an upstream."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

from edgewise.tls.errors import TlsError
from edgewise.tls.files import load_authorities, load_pair

if TYPE_CHECKING:
    from edgewise.config.schema import UpstreamTls

ALPN = ("http/1.1",)
"""Protocols offered to servers (RFC 7301)."""
ALPN_HTTP2 = ("h2", "http/1.1")
"""The same where servers are wanted to speak HTTP/2."""


def upstream_context(settings: UpstreamTls, *, http2: bool = False) -> ssl.SSLContext:
    """Return a client context that verifies servers as `settings` say: certificate chain and host name by default.

    Raises TlsError naming the file that cannot be used.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(list(ALPN_HTTP2 if http2 else ALPN))
    # Python would take an end without closure alert for a regular one, and a cut answer for a whole one.
    context.options &= ~getattr(ssl, "OP_IGNORE_UNEXPECTED_EOF", 0)
    if not settings.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif settings.ca:
        load_authorities(context, settings.ca)
    else:
        context.load_default_certs(ssl.Purpose.SERVER_AUTH)
    if settings.cert and settings.key:
        load_pair(context, settings.cert, settings.key)
    elif settings.cert or settings.key:
        raise TlsError(f"{settings.cert or settings.key}: a client certificate needs both cert and key")
    return context
