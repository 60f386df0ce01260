"""A real gRPC server (grpcio) with one method of each kind; messages are raw bytes, so nothing is generated."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from support.raw_http import PATIENCE

SERVICE = "edgewise.test.Echo"
UNLIMITED = (("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1))
Metadata = tuple[tuple[str, str | bytes], ...]


@dataclass
class Call:
    """One call as the server saw it begin."""

    method: str
    metadata: Metadata
    remaining: float
    """Seconds until its deadline; huge where it has none."""


class GrpcServer:
    """Listens on loopback. Methods: Unary and Chat echo, Expand streams, Collect counts, Fail, Late and Hang do so.

    With `refuse` set every call ends with that status before anything is answered.
    """

    def __init__(self, *, name: bytes = b"", port: int = 0, key_and_chain: tuple[bytes, bytes] | None = None) -> None:
        self.name = name
        """Answered by Name: tells servers apart."""
        self.refuse: grpc.StatusCode | None = None
        self.refuse_after = 0.0
        """Seconds that a refusal takes."""
        self.calls: list[Call] = []
        self.cancelled = threading.Event()
        """A call of Hang ended before its time."""
        self.health = health.HealthServicer()
        self._server = grpc.server(ThreadPoolExecutor(32), options=(*UNLIMITED, ("grpc.so_reuseport", 0)))
        handler = grpc.method_handlers_generic_handler(
            SERVICE,
            {
                "Unary": grpc.unary_unary_rpc_method_handler(self._watched(self._unary)),
                "Name": grpc.unary_unary_rpc_method_handler(self._watched(self._tell_name)),
                "Expand": grpc.unary_stream_rpc_method_handler(self._watched_stream(self._expand)),
                "Collect": grpc.stream_unary_rpc_method_handler(self._watched(self._collect)),
                "Chat": grpc.stream_stream_rpc_method_handler(self._watched_stream(self._chat)),
                "Fail": grpc.unary_unary_rpc_method_handler(self._watched(self._fail)),
                "Late": grpc.unary_stream_rpc_method_handler(self._watched_stream(self._late)),
                "Hang": grpc.unary_stream_rpc_method_handler(self._watched_stream(self._hang)),
            },
        )
        self._server.add_generic_rpc_handlers((handler,))
        health_pb2_grpc.add_HealthServicer_to_server(self.health, self._server)
        address = f"127.0.0.1:{port}"
        if key_and_chain is None:
            self.port = self._server.add_insecure_port(address)
        else:
            self.port = self._server.add_secure_port(address, grpc.ssl_server_credentials([key_and_chain]))
        self.address = f"127.0.0.1:{self.port}"
        """As written in the configuration."""
        self._server.start()

    def serving(self, serving: bool, service: str = "") -> None:
        """Say what the health service answers for `service`."""
        states = health_pb2.HealthCheckResponse
        self.health.set(service, states.SERVING if serving else states.NOT_SERVING)

    def drain(self) -> None:
        """Stop listening and let the calls under way end."""
        self._server.stop(PATIENCE).wait(PATIENCE)

    def stop(self) -> None:
        """Stop listening and end every call."""
        self._server.stop(None).wait(PATIENCE)

    # ---- watching ----------------------------------------------------------------------------------------------------

    def _begin(self, behaviour: Any, context: grpc.ServicerContext) -> None:
        metadata = tuple((key, value) for key, value in context.invocation_metadata())
        self.calls.append(Call(behaviour.__name__.lstrip("_"), metadata, context.time_remaining()))
        if self.refuse is not None:
            time.sleep(self.refuse_after)
            context.abort(self.refuse, "refused by the test")

    def _watched(self, behaviour: Callable[[Any, grpc.ServicerContext], bytes]) -> Any:
        def call(request: Any, context: grpc.ServicerContext) -> bytes:
            self._begin(behaviour, context)
            return behaviour(request, context)

        return call

    def _watched_stream(self, behaviour: Callable[[Any, grpc.ServicerContext], Iterator[bytes]]) -> Any:
        def call(request: Any, context: grpc.ServicerContext) -> Iterator[bytes]:
            self._begin(behaviour, context)
            yield from behaviour(request, context)

        return call

    # ---- methods -----------------------------------------------------------------------------------------------------

    def _unary(self, request: bytes, context: grpc.ServicerContext) -> bytes:
        """Echo the message, and metadata whose names begin with `echo`: initial, and trailing where so named."""
        echoed = [(key, value) for key, value in context.invocation_metadata() if key.startswith("echo")]
        context.send_initial_metadata(tuple(item for item in echoed if "trailing" not in item[0]))
        context.set_trailing_metadata(tuple(item for item in echoed if "trailing" in item[0]))
        return request

    def _tell_name(self, request: bytes, context: grpc.ServicerContext) -> bytes:
        return self.name

    def _expand(self, request: bytes, context: grpc.ServicerContext) -> Iterator[bytes]:
        """`count size`: answer `count` messages of `size` bytes."""
        count, size = map(int, request.split())
        for index in range(count):
            yield b"%d" % index + b"x" * (size - len(b"%d" % index))

    def _collect(self, requests: Iterator[bytes], context: grpc.ServicerContext) -> bytes:
        sizes = [len(request) for request in requests]
        return b"%d messages, %d bytes" % (len(sizes), sum(sizes))

    def _chat(self, requests: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
        yield from requests

    def _fail(self, request: bytes, context: grpc.ServicerContext) -> bytes:
        """`CODE details`: end with that status."""
        code, _, details = request.decode().partition(" ")
        context.set_trailing_metadata((("why-bin", b"\0\xff"),))
        context.abort(grpc.StatusCode[code], details)

    def _late(self, request: bytes, context: grpc.ServicerContext) -> Iterator[bytes]:
        """Answer one message, then UNAVAILABLE."""
        yield b"first"
        context.abort(grpc.StatusCode.UNAVAILABLE, "after a message")

    def _hang(self, request: bytes, context: grpc.ServicerContext) -> Iterator[bytes]:
        """Answer the request's message where it has one, then nothing more until the call is cancelled."""
        over = threading.Event()
        if not context.add_callback(over.set):
            over.set()
        try:
            if request:
                yield request
            over.wait(PATIENCE)
        finally:  # grpcio drops the generator where the call is over before it asks for more
            if not context.is_active():
                self.cancelled.set()
