"""Asks the system's name servers, over UDP and where an answer is too long over TCP."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from ipaddress import ip_address
from pathlib import Path
from secrets import randbelow

from edgewise.protocols import dns
from edgewise.protocols.errors import ProtocolError

RESOLV_CONF = Path("/etc/resolv.conf")

_SERVER_LINE = re.compile(r"nameserver[ \t]+(\S+)[ \t]*(?:[#;].*)?")

Server = tuple[str, int]


class LookupFailedError(OSError):
    """No name server gave a usable answer."""


def parse_nameservers(text: str) -> tuple[Server, ...]:
    """Return the servers a resolv.conf(5) names, this machine's own where it names none."""
    servers: list[Server] = []
    for line in text.split("\n"):
        found = _SERVER_LINE.fullmatch(line.strip())
        if found and _is_address(found[1]):
            servers.append((found[1], 53))
    return tuple(servers) or (("127.0.0.1", 53),)


def system_nameservers(path: Path = RESOLV_CONF) -> tuple[Server, ...]:
    """Return the name servers of this machine."""
    try:
        return parse_nameservers(path.read_text(encoding="utf-8", errors="replace"))
    except OSError:
        return parse_nameservers("")


class DnsClient:
    """A stub resolver: one question at a time to each server in turn, nothing kept."""

    def __init__(self, servers: Sequence[Server] | None = None, *, timeout: float = 2.0, attempts: int = 2) -> None:
        """`servers` default to the system's, read anew for each question; `timeout` is in seconds a try."""
        self._servers = servers
        self._timeout = timeout
        self._attempts = attempts

    async def query(self, name: str, kind: int) -> dns.Answer:
        """Return the first answer that says whether the name exists.

        Raises LookupFailedError when no server gives one, ValueError for a name that is not one.
        """
        reason = "no name server"
        servers = tuple(self._servers or system_nameservers())
        for server in servers * self._attempts:
            try:
                async with asyncio.timeout(self._timeout):
                    answer = await _ask(server, name, kind)
            except TimeoutError:
                reason = f"no answer from {server[0]}"
            except (OSError, EOFError, ProtocolError) as error:
                reason = f"{server[0]}: {error}"
            else:
                if answer.code in (dns.NO_ERROR, dns.NO_SUCH_NAME):
                    return answer
                reason = f"{server[0]} answered with code {answer.code}"
        raise LookupFailedError(f"{name}: {reason}")


async def _ask(server: Server, name: str, kind: int) -> dns.Answer:
    identity = randbelow(1 << 16)
    query = dns.encode_query(identity, name, kind)
    answer = dns.parse_answer(await _over_udp(server, query, identity, name, kind), name, kind)
    if answer.truncated:
        answer = dns.parse_answer(await _over_tcp(server, query, identity, name, kind), name, kind)
    return answer


class _Waiter(asyncio.DatagramProtocol):
    """Takes the first datagram that answers the query and drops every other."""

    def __init__(self, identity: int, name: str, kind: int) -> None:
        self._query = (identity, name, kind)
        self.message: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    def datagram_received(self, data: bytes, addr: tuple[str | object, int]) -> None:
        if not self.message.done() and dns.answers(data, *self._query):
            self.message.set_result(data)

    def error_received(self, exc: Exception) -> None:
        if not self.message.done():
            self.message.set_exception(exc)


async def _over_udp(server: Server, query: bytes, identity: int, name: str, kind: int) -> bytes:
    # A socket for each query, connected: the kernel picks a random port and drops what other hosts send.
    transport, waiter = await asyncio.get_running_loop().create_datagram_endpoint(
        lambda: _Waiter(identity, name, kind), remote_addr=server
    )
    try:
        transport.sendto(query)
        return await waiter.message
    finally:
        transport.close()


async def _over_tcp(server: Server, query: bytes, identity: int, name: str, kind: int) -> bytes:
    reader, writer = await asyncio.open_connection(*server)
    try:
        writer.write(len(query).to_bytes(2, "big") + query)
        message = await reader.readexactly(int.from_bytes(await reader.readexactly(2), "big"))
    finally:
        writer.close()
    if not dns.answers(message, identity, name, kind):
        raise ProtocolError(502, "the answer is to another question")
    return message


def _is_address(text: str) -> bool:
    try:
        ip_address(text.partition("%")[0])
    except ValueError:
        return False
    return True
