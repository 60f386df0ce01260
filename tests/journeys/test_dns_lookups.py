"""Look-ups over real sockets: name servers on loopback that lose, forge, cut and refuse."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import pytest

from edgewise.balancer.discovery import Discovered, HostName, Resolver, ServiceName
from edgewise.balancer.dns_client import DnsClient, LookupFailedError
from edgewise.protocols import dns

Reply = Callable[[bytes], list[bytes]]
"""Query -> datagrams to send back."""


def _answer(query: bytes, *records: bytes, flags: int = 0x8180) -> bytes:
    question = query[12 : query.index(b"\0", 12) + 5]
    return query[:2] + struct.pack(">HHHHH", flags, 1, len(records), 0, 0) + question + b"".join(records)


def _record(kind: int, data: bytes, ttl: int = 60) -> bytes:
    return b"\xc0\x0c" + struct.pack(">HHIH", kind, 1, ttl, len(data)) + data


def _address(last: int) -> bytes:
    return _record(dns.A, bytes([127, 0, 0, last]))


class _NameServer(asyncio.DatagramProtocol):
    def __init__(self, reply: Reply) -> None:
        self.reply = reply
        self.transport: Any = None

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        for datagram in self.reply(data):
            self.transport.sendto(datagram, addr)


@asynccontextmanager
async def _serve(udp: Reply, tcp: Reply | None = None) -> AsyncIterator[tuple[str, int]]:
    """Answer on one port of loopback over UDP, and over TCP where `tcp` is given."""

    async def stream(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert tcp is not None
        query = await reader.readexactly(int.from_bytes(await reader.readexactly(2), "big"))
        for message in tcp(query):
            writer.write(len(message).to_bytes(2, "big") + message)
        writer.close()

    server = await asyncio.start_server(stream, "127.0.0.1", 0)
    address: tuple[str, int] = server.sockets[0].getsockname()
    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
        lambda: _NameServer(udp), local_addr=address
    )
    if tcp is None:
        server.close()
    try:
        yield address
    finally:
        transport.close()
        server.close()


def _run(coroutine: Coroutine[Any, Any, None]) -> None:
    asyncio.run(coroutine)


async def _addresses(client: DnsClient) -> list[str]:
    return [str(record.data) for record in (await client.query("shop.internal", dns.A)).records]


def test_an_answer_over_udp_is_taken() -> None:
    async def scenario() -> None:
        async with _serve(lambda query: [_answer(query, _address(1), _address(2))]) as server:
            assert await _addresses(DnsClient([server])) == ["127.0.0.1", "127.0.0.2"]

    _run(scenario())


def test_a_truncated_answer_is_asked_for_again_over_tcp() -> None:
    async def scenario() -> None:
        async with _serve(
            lambda query: [_answer(query, flags=0x8380)],
            lambda query: [_answer(query, *(_address(n) for n in range(1, 201)))],
        ) as server:
            assert len(await _addresses(DnsClient([server]))) == 200

    _run(scenario())


def test_forged_and_broken_datagrams_before_the_answer_are_dropped() -> None:
    async def scenario() -> None:
        def reply(query: bytes) -> list[bytes]:
            forged = bytes([query[0] ^ 1]) + _answer(query, _address(66))[1:]
            return [b"", b"\xff" * 40, forged, _answer(query, _address(1))]

        async with _serve(reply) as server:
            assert await _addresses(DnsClient([server])) == ["127.0.0.1"]

    _run(scenario())


@pytest.mark.parametrize("trouble", ["silent", "refusing", "malformed"])
def test_the_next_server_is_asked_when_one_does_not_answer(trouble: str) -> None:
    replies: dict[str, Reply] = {
        "silent": lambda query: [],
        "refusing": lambda query: [_answer(query, flags=0x8185)],
        "malformed": lambda query: [_answer(query, b"\xc0\xff")],
    }

    async def scenario() -> None:
        async with _serve(replies[trouble]) as bad, _serve(lambda query: [_answer(query, _address(1))]) as good:
            assert await _addresses(DnsClient([bad, good], timeout=0.1)) == ["127.0.0.1"]

    _run(scenario())


def test_a_closed_port_is_a_failed_look_up() -> None:
    async def scenario() -> None:
        async with _serve(lambda query: []) as server:
            pass
        with pytest.raises(LookupFailedError, match=r"^shop\.internal: "):
            await _addresses(DnsClient([server], timeout=0.5, attempts=1))

    _run(scenario())


def test_each_query_has_another_id() -> None:
    seen: list[bytes] = []

    async def scenario() -> None:
        def reply(query: bytes) -> list[bytes]:
            seen.append(query[:2])
            return [_answer(query, _address(1))]

        async with _serve(reply) as server:
            client = DnsClient([server])
            for _ in range(20):
                await _addresses(client)

    _run(scenario())
    assert len(set(seen)) > 15


def test_a_service_is_watched_from_its_records_to_its_servers() -> None:
    def reply(query: bytes) -> list[bytes]:
        kind = int.from_bytes(query[query.index(b"\0", 12) + 1 :][:2], "big")
        if kind == dns.SRV:
            return [_answer(query, _record(dns.SRV, struct.pack(">HHH", 0, 3, 8080) + b"\x01a\x08internal\0"))]
        return [_answer(query, _address(7))] if kind == dns.A else [_answer(query)]

    async def scenario() -> None:
        async with _serve(reply) as server:
            resolver = Resolver(query=DnsClient([server]).query)
            told: asyncio.Queue[tuple[Discovered, ...]] = asyncio.Queue()
            resolver.watch(ServiceName("_http._tcp.shop.internal"), told.put_nowait)
            assert await told.get() == (Discovered("127.0.0.7", 8080, 3),)
            resolver.close()

    _run(scenario())


def test_a_host_name_is_looked_up_with_the_systems_resolver() -> None:
    async def scenario() -> None:
        servers, _ = await Resolver().look_up(HostName("localhost", 8080))
        assert servers == {Discovered("127.0.0.1", 8080)}

    _run(scenario())
