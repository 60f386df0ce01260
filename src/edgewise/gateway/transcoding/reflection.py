"""Descriptors that the servers themselves tell (the gRPC project's server-reflection document)."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from typing import TYPE_CHECKING

from edgewise.gateway.transcoding.asking import ask
from edgewise.gateway.transcoding.sources import TOOLS, make_transcoder
from edgewise.protocols.errors import ProtocolError
from edgewise.protocols.grpc import Status, status_name
from edgewise.protocols.protobuf.descriptors import DescriptorError, bundled
from edgewise.protocols.protobuf.errors import MalformedMessage
from edgewise.protocols.protobuf.wire import DELIMITED, encode_delimited, encode_tag, fields_of

if TYPE_CHECKING:
    from google.protobuf.descriptor_pb2 import FileDescriptorProto

    from edgewise.contracts.endpoint import Endpoint, Upstream
    from edgewise.gateway.transcoding.transcoder import PoolTranscoder, Settings

_METHODS = tuple(b"/grpc.reflection.%b.ServerReflection/ServerReflectionInfo" % name for name in (b"v1", b"v1alpha"))
_BY_NAME, _BY_SYMBOL, _LIST = (encode_tag(number, DELIMITED) for number in (3, 4, 7))
"""Of ServerReflectionRequest."""
_FILES, _SERVICES, _ERROR = (number << 3 | DELIMITED for number in (4, 6, 7))
"""Of ServerReflectionResponse."""
_FIRST = 1 << 3 | DELIMITED
"""What its parts have in their first field: files, services, a service's name."""
_MOST_FILES = 2000
_ROUNDS = 20
"""Times that a server is asked for files that others import."""
_TIMEOUT = 10.0
_TRIES = 3
"""Servers that are asked, one after the other."""
_SOONEST = 5.0
"""Seconds between two times, whatever requests ask for."""
_log = logging.getLogger("edgewise.gateway")


class Reflected:
    """A `contracts.transcoding.Transcoders` that asks an upstream's servers, and keeps the last that was good."""

    def __init__(self, upstream: Upstream, services: tuple[str, ...], settings: Settings, refresh: float) -> None:
        """`refresh`: seconds between two times."""
        self._upstream = upstream
        self._services = services
        self._settings = settings
        self._refresh = refresh
        self._current: PoolTranscoder | None = None
        self._known = b""
        self._wanted: asyncio.Event | None = None
        self._failed = ""

    @property
    def current(self) -> PoolTranscoder | None:
        """The one of the last answer that was good."""
        return self._current

    def missed(self) -> None:
        """Ask again soon."""
        if self._wanted is not None:
            self._wanted.set()

    async def run(self) -> None:
        """Ask until cancelled."""
        self._wanted = asyncio.Event()
        while True:
            pause = _SOONEST / 5 if self._current is None else _SOONEST
            await self._look()
            await asyncio.sleep(pause)
            if self._current is not None:
                self._wanted.clear()
                try:
                    await asyncio.wait_for(self._wanted.wait(), max(0.0, self._refresh - pause))
                except TimeoutError:
                    continue

    async def _look(self) -> None:
        """Ask once; what fails is logged when it begins to."""
        try:
            files = await self._ask()
            content = b"".join(sorted(one.SerializeToString(deterministic=True) for one in files))
            mark = hashlib.sha256(content).digest()
            if mark != self._known:
                self._current = make_transcoder(files, self._services, self._settings)
                self._known = mark
                _log.info("the services of upstream %s are known", self._upstream.name)
            self._failed = ""
        except (OSError, EOFError, ProtocolError, DescriptorError, MalformedMessage, IndexError) as error:
            told = str(error) or type(error).__name__
            if told != self._failed:
                _log.warning("servers of upstream %s do not tell their services: %s", self._upstream.name, told)
            self._failed = told

    async def _ask(self) -> list[FileDescriptorProto]:
        ready = [one for one in self._upstream.endpoints if one.available][:_TRIES]
        if not ready:
            raise OSError("no server available")
        for one in ready[:-1]:
            try:
                return await self._ask_one(one)
            except (OSError, EOFError, ProtocolError, DescriptorError, MalformedMessage, IndexError):
                continue
        return await self._ask_one(ready[-1])

    async def _ask_one(self, endpoint: Endpoint) -> list[FileDescriptorProto]:
        """Return the files of a server's services, and those that they import."""
        async with asyncio.timeout(_TIMEOUT):
            names = await self._list(endpoint) if not self._services else list(self._services)
            asked = [_BY_SYMBOL + encode_delimited(name.encode()) for name in names]
            found: dict[str, FileDescriptorProto] = {}
            for _ in range(_ROUNDS):
                for response in await self._call(endpoint, asked):
                    _take_files(response, found)
                missing = {name for one in found.values() for name in one.dependency} - found.keys()
                asked = [_BY_NAME + encode_delimited(name.encode()) for name in missing if bundled(name) is None]
                if not asked:
                    return list(found.values())
        raise DescriptorError("files import others without end")

    async def _list(self, endpoint: Endpoint) -> list[str]:
        [response] = await self._call(endpoint, [_LIST + encode_delimited(b"*")])
        names = [
            response[begin:end].decode("utf-8", "replace")
            for service in _parts(response, _SERVICES)
            for tag, begin, end in fields_of(response, *service)
            if tag == _FIRST
        ]
        return [name for name in names if not name.startswith(TOOLS)]

    async def _call(self, endpoint: Endpoint, requests: list[bytes]) -> list[bytes]:
        """Return the answers to some requests of one call. Raises ProtocolError where there is not one for each."""
        upstream = self._upstream
        status = 0
        for method in _METHODS:
            status, messages = await ask(endpoint, upstream.tls, upstream.server_name, method, requests)
            if status == Status.OK and len(messages) == len(requests):
                return messages
            if status != Status.UNIMPLEMENTED:
                break
        raise ProtocolError(502, f"gRPC status {status_name(status)}")


def _parts(response: bytes, kind: int) -> list[tuple[int, int]]:
    """Return where the first fields of a response's part begin and end. Raises DescriptorError for an error."""
    found: list[tuple[int, int]] = []
    for tag, begin, end in fields_of(response, 0, len(response)):
        if tag == _ERROR:
            raise DescriptorError(f"the server answers with an error: {response[begin:end][-200:]!r}")
        if tag == kind:
            found += [(start, stop) for inner, start, stop in fields_of(response, begin, end) if inner == _FIRST]
    return found


def _take_files(response: bytes, found: dict[str, FileDescriptorProto]) -> None:
    from google.protobuf.descriptor_pb2 import FileDescriptorProto
    from google.protobuf.message import DecodeError

    for begin, end in _parts(response, _FILES):
        try:
            one = FileDescriptorProto.FromString(response[begin:end])
        except DecodeError:
            raise DescriptorError("a file that cannot be read") from None
        found.setdefault(one.name, one)
        if len(found) > _MOST_FILES:
            raise DescriptorError(f"more than {_MOST_FILES} files")
