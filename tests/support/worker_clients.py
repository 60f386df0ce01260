"""Clients on an event loop of which it is known what worker each talks to, and purges by the admin address."""

from __future__ import annotations

import asyncio
import json
import os
import re
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from support.edgewise_process import EdgewiseProcess

PATIENCE = 60.0
"""Seconds for any answer."""
_LENGTH = re.compile(rb"\r\ncontent-length: *([0-9]+)\r\n", re.I)
_TRIES = 500
"""Connections that are opened at most until every worker has enough of them."""


class Client:
    """One connection to an edgewise, for one request at a time."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    @classmethod
    async def open(cls, port: int) -> Client:
        """Connect to a port of this machine."""
        return cls(*await asyncio.open_connection("127.0.0.1", port))

    @property
    def port(self) -> int:
        """Of this end."""
        port: int = self._writer.get_extra_info("sockname")[1]
        return port

    async def ask(self, path: str) -> bytes:
        """Return the content of an answer, which has to be a 200 of known length."""
        self._writer.write(f"GET {path} HTTP/1.1\r\nHost: example.com\r\n\r\n".encode())
        async with asyncio.timeout(PATIENCE):
            head = await self._reader.readuntil(b"\r\n\r\n")
            length = _LENGTH.search(head)
            if not head.startswith(b"HTTP/1.1 200 ") or length is None:
                raise AssertionError(f"{path} was answered {head!r}")
            return await self._reader.readexactly(int(length[1]))

    async def exchange(self, requests: bytes, end: bytes, count: int) -> bytes:
        """Send several requests in one go; return what came until `count` answers have ended with `end`."""
        self._writer.write(requests)
        found = []
        async with asyncio.timeout(PATIENCE):
            while count > 0:
                found.append(await self._reader.read(65536))
                if not found[-1]:
                    raise AssertionError("the connection ended early")
                count -= found[-1].count(end)
        return b"".join(found)

    def close(self) -> None:
        """End the connection."""
        self._writer.close()


@asynccontextmanager
async def clients_of_workers(edgewise: EdgewiseProcess, each: int) -> AsyncIterator[dict[int, list[Client]]]:
    """Open connections until every worker has `each`; by the workers' process ids, in their order."""
    workers = int(re.search(r"workers = ([0-9]+)", edgewise.config.read_text())[1])  # type: ignore[index]
    found: dict[int, list[Client]] = {}
    opened = []
    try:
        for _ in range(_TRIES):
            client = await Client.open(edgewise.port)
            opened.append(client)
            await client.ask("/which-worker")
            found.setdefault(_process_behind(edgewise, client.port), []).append(client)
            if len(found) == workers and all(len(clients) >= each for clients in found.values()):
                break
        else:
            raise AssertionError(f"{_TRIES} connections went to {len(found)} workers")
        yield {pid: found[pid][:each] for pid in sorted(found)}
    finally:
        for client in opened:
            client.close()


def _process_behind(edgewise: EdgewiseProcess, port: int) -> int:
    """Return the process that has the other end of the connection of a client's port."""
    ends = f"0100007F:{edgewise.port:04X}", f"0100007F:{port:04X}"
    lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    (inode,) = [line[9] for line in lines if (line[1], line[2]) == ends]
    for pid in edgewise.tree():
        for descriptor in Path(f"/proc/{pid}/fd").iterdir():
            try:
                if os.readlink(descriptor) == f"socket:[{inode}]":
                    return pid
            except FileNotFoundError:
                continue
    raise AssertionError("nobody has the other end")


async def purge(edgewise: EdgewiseProcess, **wanted: Any) -> float:
    """Purge by the admin address; return the seconds until every worker had done it."""
    content = json.dumps(wanted)
    head = f"POST /api/v1/cache/purge HTTP/1.1\r\nHost: 127.0.0.1:{edgewise.admin_port}\r\nConnection: close\r\n"
    began = time.perf_counter()
    async with asyncio.timeout(PATIENCE):
        reader, writer = await asyncio.open_connection("127.0.0.1", edgewise.admin_port)
        writer.write(f"{head}Content-Length: {len(content)}\r\n\r\n{content}".encode())
        answer = await reader.read()
    writer.close()
    if not answer.startswith(b"HTTP/1.1 200 "):
        raise AssertionError(f"the purge was answered {answer!r}")
    return time.perf_counter() - began
