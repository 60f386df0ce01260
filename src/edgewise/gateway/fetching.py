"""Requests that edgewise makes in its own name: verified TLS, everything bounded, no redirect followed by itself."""

from __future__ import annotations

import asyncio
import http.client
import ssl
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

from edgewise import __version__
from edgewise.contracts.policies import Fetched, FetchError, Fields

_threads = ThreadPoolExecutor(4, "fetch")
"""Identity providers are asked now and then; whoever waits for one holds up nobody else."""


class Fetcher:
    """A `contracts.policies.Fetch` by the standard library, one request a connection."""

    def __init__(self, ca_file: str | None = None) -> None:
        """Verify servers by the authorities in `ca_file`, None for the system's. Raises OSError."""
        self._context = ssl.create_default_context(cafile=ca_file)
        self._context.minimum_version = ssl.TLSVersion.TLSv1_2

    async def __call__(
        self,
        method: str,
        url: str,
        *,
        fields: Fields = (),
        content: bytes = b"",
        timeout: float = 5.0,
        most: int = 1 << 20,
    ) -> Fetched:
        """Return the answer. Raises FetchError."""
        loop = asyncio.get_running_loop()
        asking = loop.run_in_executor(_threads, self._ask, method, url, fields, content, timeout, most)
        try:
            return await asyncio.wait_for(asking, timeout)
        except TimeoutError:
            raise FetchError(f"{_origin(url)} did not answer within {timeout:g} s") from None

    def _ask(self, method: str, url: str, fields: Fields, content: bytes, timeout: float, most: int) -> Fetched:
        parts = urlsplit(url)
        connection: http.client.HTTPConnection
        if parts.scheme == "https":
            connection = http.client.HTTPSConnection(
                parts.hostname or "", parts.port, timeout=timeout, context=self._context
            )
        else:
            connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=timeout)
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        headers = {"User-Agent": f"edgewise/{__version__}"}
        headers |= {name.decode("latin-1"): value.decode("latin-1") for name, value in fields}
        try:
            connection.request(method, target, content or None, headers)
            response = connection.getresponse()
            body = response.read(most + 1)
        except ssl.SSLCertVerificationError as error:
            raise FetchError(f"{_origin(url)} is not trusted: {error.verify_message}") from None
        except (OSError, ValueError, http.client.HTTPException) as error:
            words = getattr(error, "strerror", None) or str(error) or type(error).__name__
            raise FetchError(f"{_origin(url)} cannot be reached: {words}") from None
        finally:
            connection.close()
        if len(body) > most:
            raise FetchError(f"{_origin(url)} answers with more than {most} bytes")
        found = tuple(
            (name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in response.getheaders()
        )
        return Fetched(response.status, found, body)


def _origin(url: str) -> str:
    """Return who is asked, without what may be secret in a URL."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.hostname}{f':{parts.port}' if parts.port else ''}"
