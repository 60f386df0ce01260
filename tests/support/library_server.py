"""A real gRPC server (grpcio) of tests/support/protos/library.proto, made of the descriptors alone."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
from google.protobuf import any_pb2, duration_pb2
from google.rpc import error_details_pb2, status_pb2
from grpc_reflection.v1alpha import reflection

from support.compiled_protos import message_class, pool
from support.raw_http import PATIENCE

SERVICE = "edgewise.library.Library"


def message(name: str, /, **fields: Any) -> Any:
    """Return a message of the library's package."""
    return message_class(f"edgewise.library.{name}")(**fields)


class LibraryServer:
    """Listens on loopback. Books are made of their names; what came is kept."""

    def __init__(self, *, port: int = 0, reflects: bool = False) -> None:
        self.requests: list[Any] = []
        self.metadata: list[dict[str, Any]] = []
        self.hanging = threading.Event()
        self.cancelled = threading.Event()
        self._server = grpc.server(ThreadPoolExecutor(16), options=(("grpc.so_reuseport", 0),))
        handlers = {method.name: self._handler(method) for method in pool().FindServiceByName(SERVICE).methods}
        self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))
        if reflects:
            reflection.enable_server_reflection((SERVICE, reflection.SERVICE_NAME), self._server, pool=pool())
        self.port = self._server.add_insecure_port(f"127.0.0.1:{port}")
        self.address = f"127.0.0.1:{self.port}"
        self._server.start()

    def _handler(self, method: Any) -> Any:
        kinds = {
            (False, False): grpc.unary_unary_rpc_method_handler,
            (False, True): grpc.unary_stream_rpc_method_handler,
            (True, False): grpc.stream_unary_rpc_method_handler,
        }
        make = kinds[method.client_streaming, method.server_streaming]
        return make(
            self._noted(getattr(self, method.name)),
            request_deserializer=message_class(method.input_type.full_name).FromString,
            response_serializer=message_class(method.output_type.full_name).SerializeToString,
        )

    def _noted(self, work: Callable[[Any, grpc.ServicerContext], Any]) -> Callable[[Any, grpc.ServicerContext], Any]:
        def noting(request: Any, context: grpc.ServicerContext) -> Any:
            self.requests.append(request)
            self.metadata.append(dict(context.invocation_metadata()))
            return work(request, context)

        return noting

    def GetShelf(self, request: Any, context: grpc.ServicerContext) -> Any:
        context.send_initial_metadata((("x-first", "one"), ("x-bytes-bin", b"\0\1")))
        context.set_trailing_metadata((("x-last", "two"),))
        return message("Shelf", name=request.name, theme="history", capacity=2**53)

    def CreateShelf(self, request: Any, context: grpc.ServicerContext) -> Any:
        return message("Shelf", name=request.shelf_id, theme=request.shelf.theme)

    def ListBooks(self, request: Any, context: grpc.ServicerContext) -> Any:
        books = [message("Book", name=f"{request.parent}/books/{one}") for one in range(request.page_size)]
        return message("ListBooksResponse", books=books, next_page_token="next")

    def UpdateBook(self, request: Any, context: grpc.ServicerContext) -> Any:
        return request.book

    def DeleteBook(self, request: Any, context: grpc.ServicerContext) -> Any:
        return message_class("google.protobuf.Empty")()

    def MoveBook(self, request: Any, context: grpc.ServicerContext) -> Any:
        return message("Book", name=request.to)

    def WatchBooks(self, request: Any, context: grpc.ServicerContext) -> Iterator[Any]:
        for index in range(request.count):
            yield message("Book", name=f"{request.name}/books/{index}", title="x" * request.pad)
        if request.fail_after:
            context.abort(grpc.StatusCode.NOT_FOUND, "no more of them")

    def Fail(self, request: Any, context: grpc.ServicerContext) -> Any:
        if request.details:
            details = [any_pb2.Any(), any_pb2.Any(), any_pb2.Any()]
            details[0].Pack(error_details_pb2.RetryInfo(retry_delay=duration_pb2.Duration(seconds=6, nanos=1)))
            details[1].Pack(message("Shelf", name="the shelf"))
            details[2].type_url, details[2].value = "example.com/nobody.Knows", b"\1"
            status = status_pb2.Status(code=request.code, message=request.message, details=details)
            context.set_trailing_metadata((("grpc-status-details-bin", status.SerializeToString()),))
        code = next(one for one in grpc.StatusCode if one.value[0] == request.code)
        context.abort(code, request.message)

    def Download(self, request: Any, context: grpc.ServicerContext) -> Any:
        return message_class("google.api.HttpBody")(content_type="text/csv; charset=utf-8", data=b"a,b\n\xff")

    def Upload(self, request: Any, context: grpc.ServicerContext) -> Any:
        return request

    def Export(self, request: Any, context: grpc.ServicerContext) -> Iterator[Any]:
        for index in range(request.count):
            yield message_class("google.api.HttpBody")(content_type="text/csv", data=b"%d\n" % index)

    def AddBooks(self, requests: Iterator[Any], context: grpc.ServicerContext) -> Any:
        titles = [book.title for book in requests]
        return message("CountReply", books=len(titles), titles=titles)

    def Echo(self, request: Any, context: grpc.ServicerContext) -> Any:
        return request

    def See(self, request: Any, context: grpc.ServicerContext) -> Any:
        pairs = [{"name": name, "value": str(value)} for name, value in context.invocation_metadata()]
        return message("Seen", metadata=pairs, remaining=context.time_remaining())

    def Hang(self, request: Any, context: grpc.ServicerContext) -> Any:
        over = threading.Event()
        context.add_callback(over.set)
        context.add_callback(self.cancelled.set)
        self.hanging.set()
        over.wait(PATIENCE)
        return request

    def Unbound(self, request: Any, context: grpc.ServicerContext) -> Any:
        return message("Shelf", name=request.name)

    def stop(self) -> None:
        """Stop at once."""
        self._server.stop(None).wait(PATIENCE)
