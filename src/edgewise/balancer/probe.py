"""One health check: connects, and for HTTP asks and judges the answer."""

from __future__ import annotations

import asyncio
import re
import ssl
from dataclasses import dataclass

from edgewise.contracts.endpoint import Address

HEAD_LIMIT = 65536
"""Bytes of response head read at most."""
BODY_LIMIT = 65536
"""Bytes of response content searched for the expected text."""

_STATUS_LINE = re.compile(rb"HTTP/1\.[01] ([1-5][0-9]{2})(?: [^\r\n]*)?\r\n")
_CHUNK = re.compile(rb"([0-9A-Fa-f]{1,8})[ \t]*(?:;[^\r\n]*)?\r\n")
_CHUNKED = re.compile(rb"\r\ntransfer-encoding:[ \t]*chunked[ \t]*\r\n", re.IGNORECASE)
_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*([0-9]{1,18})[ \t]*\r\n", re.IGNORECASE)
_STATUSES = re.compile(r"([1-5][0-9]{2})(?:-([1-5][0-9]{2}))?")


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthCheck:
    """How an endpoint is checked."""

    path: str | None = None
    """Target of the GET request."""
    type: str = ""
    """`http` or `tcp`; "" for http where there is a path, else tcp."""
    interval: float = 5.0
    """Seconds from the end of one check to the start of the next."""
    timeout: float = 2.0
    """Seconds for the whole check."""
    status: tuple[int | str, ...] = ("200-399",)
    """Statuses that are well: numbers and ranges."""
    body: str | None = None
    """Text the first 64 KiB of content must hold."""
    healthy: int = 2
    """Successes in a row that make an unhealthy endpoint healthy."""
    unhealthy: int = 2
    """Failures in a row that make a healthy endpoint unhealthy."""
    host: str | None = None
    """Host field; None: the endpoint's address."""

    def __post_init__(self) -> None:
        for item in self.status:
            if not _STATUSES.fullmatch(str(item)):
                raise ValueError(f"not a status or range of statuses: {item!r}")
        if self.type not in ("", "http", "tcp"):
            raise ValueError(f"a health check is http or tcp, not {self.type!r}")

    @property
    def is_http(self) -> bool:
        """Is a request sent, or only a connection made?"""
        return self.type == "http" or (self.type == "" and self.path is not None)

    def expects(self, status: int) -> bool:
        """Is `status` one of the expected ones?"""
        for item in self.status:
            low, _, high = str(item).partition("-")
            if int(low) <= status <= int(high or low):
                return True
        return False


async def probe(
    address: Address, settings: HealthCheck, tls: ssl.SSLContext | None = None, server_name: str | None = None
) -> tuple[bool, str]:
    """Check once; return (well?, text for the status page).

    Raises OSError where no connection can be made, EOFError or ValueError for an answer that is not HTTP.
    The caller sets the deadline.
    """
    reader, writer = await _connect(address, tls, server_name)
    try:
        if not settings.is_http:
            return True, "connected"
        writer.write(_request(address, settings))
        await writer.drain()
        return await _judge(reader, settings)
    finally:
        writer.close()


async def _connect(
    address: Address, tls: ssl.SSLContext | None, server_name: str | None
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    if isinstance(address, str):
        name = (server_name or "localhost") if tls else None
        return await asyncio.open_unix_connection(address, ssl=tls, server_hostname=name, limit=HEAD_LIMIT)
    host, port = address
    return await asyncio.open_connection(
        host, port, ssl=tls, server_hostname=(server_name or host) if tls else None, limit=HEAD_LIMIT
    )


def _request(address: Address, settings: HealthCheck) -> bytes:
    if settings.host:
        host = settings.host
    elif isinstance(address, str):
        host = "localhost"
    else:
        host = f"[{address[0]}]:{address[1]}" if ":" in address[0] else f"{address[0]}:{address[1]}"
    return (
        f"GET {settings.path or '/'} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: edgewise-health\r\n"
        "Accept: */*\r\nConnection: close\r\n\r\n"
    ).encode("latin-1")


async def _judge(reader: asyncio.StreamReader, settings: HealthCheck) -> tuple[bool, str]:
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.LimitOverrunError as error:
        raise ValueError("the response head is too long") from error
    found = _STATUS_LINE.match(head)
    if not found:
        raise ValueError("the answer is not HTTP/1.1")
    status = int(found[1])
    if not settings.expects(status):
        return False, f"status {status}"
    if settings.body is not None and settings.body.encode() not in await _content(reader, head):
        return False, f"status {status}, content without {settings.body!r}"
    return True, f"status {status}"


async def _content(reader: asyncio.StreamReader, head: bytes) -> bytes:
    """Return up to BODY_LIMIT bytes of content."""
    if _CHUNKED.search(head):
        return await _chunks(reader)
    length = _LENGTH.search(head)
    wanted = min(BODY_LIMIT, int(length[1])) if length else BODY_LIMIT
    content = b""
    while len(content) < wanted and (more := await reader.read(wanted - len(content))):
        content += more
    return content


async def _chunks(reader: asyncio.StreamReader) -> bytes:
    """Return the content of chunks (RFC 9112 section 7.1) up to BODY_LIMIT bytes."""
    content = b""
    while len(content) < BODY_LIMIT:
        found = _CHUNK.fullmatch(await reader.readuntil(b"\r\n"))
        if not found:
            raise ValueError("the answer's chunks are malformed")
        size = int(found[1], 16)
        if size == 0:
            break
        content += await reader.readexactly(min(size, BODY_LIMIT))
        if size <= BODY_LIMIT:
            await reader.readexactly(2)
    return content[:BODY_LIMIT]
