"""One health check: connects, and for HTTP and gRPC asks and judges the answer."""

from __future__ import annotations

import asyncio
import re
import ssl
from dataclasses import dataclass

from edgewise.balancer.grpc_probe import check_service
from edgewise.balancer.http2_probe import ask
from edgewise.contracts.endpoint import Address
from edgewise.http.head import CHUNKED
from edgewise.protocols.errors import ProtocolError
from edgewise.protocols.http1 import ChunkedDecoder, parse_response_head

HEAD_LIMIT = 65536
"""Bytes of response head read at most."""
BODY_LIMIT = 65536
"""Bytes of response content searched for the expected text."""

_STATUSES = re.compile(r"([1-5][0-9]{2})(?:-([1-5][0-9]{2}))?")


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthCheck:
    """How an endpoint is checked."""

    path: str | None = None
    """Target of the GET request."""
    type: str = ""
    """`http`, `tcp` or `grpc`; "" for http where there is a path, else tcp."""
    grpc: str | None = None
    """Service asked for by the gRPC health protocol in place of both, "" for the server as a whole."""
    http2: bool = False
    """HTTP is spoken in version 2: at once, or where the server agrees to it in the TLS handshake."""
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
        if self.type not in ("", "http", "tcp", "grpc"):
            raise ValueError(f"a health check is http, tcp or grpc, not {self.type!r}")

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

    Raises OSError where no connection can be made, EOFError or ProtocolError for an answer that is not HTTP.
    The caller sets the deadline.
    """
    reader, writer = await _connect(address, tls, server_name)
    try:
        if settings.grpc is not None:
            host = _host(address, settings)
            return await check_service(reader, writer, settings.grpc, host, settings.timeout, tls=tls is not None)
        if not settings.is_http:
            return True, "connected"
        request = _request(address, settings)
        if settings.http2 and (tls is None or _agreed(writer) == "h2"):
            most = 0 if settings.body is None else BODY_LIMIT
            answer = await ask(reader, writer, request, b"", tls=tls is not None, most=most)
            return _judge(settings, parse_response_head(answer.head).status, answer.content)
        writer.write(request + b"Connection: close\r\n\r\n")
        await writer.drain()
        return await _read(reader, settings)
    finally:
        writer.close()


def _agreed(writer: asyncio.StreamWriter) -> str | None:
    """Return the protocol chosen in the TLS handshake (RFC 7301)."""
    chosen: str | None = writer.get_extra_info("ssl_object").selected_alpn_protocol()
    return chosen


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


def _host(address: Address, settings: HealthCheck) -> str:
    if settings.host:
        return settings.host
    if isinstance(address, str):
        return "localhost"
    return f"[{address[0]}]:{address[1]}" if ":" in address[0] else f"{address[0]}:{address[1]}"


def _request(address: Address, settings: HealthCheck) -> bytes:
    return (
        f"GET {settings.path or '/'} HTTP/1.1\r\nHost: {_host(address, settings)}\r\nUser-Agent: edgewise-health\r\n"
        "Accept: */*\r\n"
    ).encode("latin-1")


async def _read(reader: asyncio.StreamReader, settings: HealthCheck) -> tuple[bool, str]:
    try:
        head = parse_response_head(await reader.readuntil(b"\r\n\r\n"))
    except asyncio.LimitOverrunError:
        raise ProtocolError(502, "response head too long") from None
    wanted = settings.body is not None and settings.expects(head.status)
    return _judge(settings, head.status, await _content(reader, head.body) if wanted else b"")


def _judge(settings: HealthCheck, status: int, content: bytes) -> tuple[bool, str]:
    if not settings.expects(status):
        return False, f"status {status}"
    if settings.body is not None and settings.body.encode() not in content:
        return False, f"status {status}, content without {settings.body!r}"
    return True, f"status {status}"


async def _content(reader: asyncio.StreamReader, framing: int) -> bytes:
    """Return the first BODY_LIMIT bytes of content, framed as `http.head` says."""
    chunks = ChunkedDecoder(502) if framing == CHUNKED else None
    wanted = min(framing, BODY_LIMIT) if framing >= 0 else BODY_LIMIT
    content = b""
    while len(content) < wanted and not (chunks and chunks.done) and (data := await reader.read(16384)):
        content += b"".join(chunks.feed(data)) if chunks else data
    return content[:wanted]
