"""HTTP to the authority: blocking, verified TLS only, everything bounded."""

from __future__ import annotations

import http.client
import ssl
from urllib.parse import urlsplit

from edgewise import __version__
from edgewise.tls.acme.messages import JOSE, AcmeError, Request, Response
from edgewise.tls.files import load_authorities

_TIMEOUT = 30.0
_MOST_BYTES = 1 << 20


class Transport:
    """Asks one request a connection; authorities are asked a dozen times in two months."""

    def __init__(self, ca_file: str | None) -> None:
        """Verify servers by `ca_file` in place of the system's authorities. Raises TlsError."""
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self._context.minimum_version = ssl.TLSVersion.TLSv1_2
        if ca_file is not None:
            load_authorities(self._context, ca_file)
        else:
            self._context.load_default_certs(ssl.Purpose.SERVER_AUTH)

    def ask(self, request: Request) -> Response:
        """Return the authority's answer. Raises AcmeError where none comes; redirects are not followed."""
        parts = urlsplit(request.url)
        if parts.scheme != "https" or not parts.hostname:
            raise AcmeError(f"{request.url[:200]!r} is not an https:// URL")
        headers = {"User-Agent": f"edgewise/{__version__}", "Accept-Language": "en"}
        if request.method == "POST":
            headers["Content-Type"] = JOSE
        target = parts.path + (f"?{parts.query}" if parts.query else "")
        try:
            connection = http.client.HTTPSConnection(
                parts.hostname, parts.port, timeout=_TIMEOUT, context=self._context
            )
            try:
                connection.request(request.method, target or "/", request.body or None, headers)
                response = connection.getresponse()
                body = response.read(_MOST_BYTES + 1)
            finally:
                connection.close()
        except ssl.SSLCertVerificationError as error:
            raise AcmeError(f"{parts.netloc} is not trusted: {error.verify_message}") from None
        except (OSError, ValueError, http.client.HTTPException) as error:
            words = getattr(error, "strerror", None) or str(error) or type(error).__name__
            raise AcmeError(f"{parts.netloc} cannot be reached: {words}") from None
        if len(body) > _MOST_BYTES:
            raise AcmeError(f"{parts.netloc} answers with more than {_MOST_BYTES} bytes")
        return Response(response.status, {name.lower(): value for name, value in response.getheaders()}, body)
