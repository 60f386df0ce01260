"""A real gRPC client (grpcio) for calls of each kind; messages are raw bytes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import Any

import grpc

from support.grpc_server import SERVICE, UNLIMITED
from support.raw_http import PATIENCE

OPTIONS = (
    *UNLIMITED,
    ("grpc.enable_retries", 0),  # what is repeated must be the edge's doing
    ("grpc.enable_http_proxy", 0),
    ("grpc.use_local_subchannel_pool", 1),
)


class GrpcClient:
    """A channel to `address`, over TLS where `roots` (PEM) are given. A context manager."""

    def __init__(self, address: str, *, roots: bytes | None = None, authority: str = "") -> None:
        """`authority` is the host asked for, and over TLS the name in the server's certificate."""
        if roots is None:
            options = (*OPTIONS, ("grpc.default_authority", authority or address))
            self._channel: Any = grpc.insecure_channel(address, options=options)
        else:
            options = (*OPTIONS, ("grpc.ssl_target_name_override", authority or address))
            self._channel = grpc.secure_channel(address, grpc.ssl_channel_credentials(roots), options=options)

    def unary(self, request: bytes, method: str = "Unary", *, metadata: Any = None, timeout: float = PATIENCE) -> bytes:
        """Call a unary method; raises grpc.RpcError."""
        return self.unary_call(request, method, metadata=metadata, timeout=timeout)[0]

    def unary_call(
        self, request: bytes, method: str = "Unary", *, metadata: Any = None, timeout: float = PATIENCE
    ) -> tuple[bytes, Any]:
        """Call a unary method; return the answer and the call, which knows status and metadata."""
        call = self._channel.unary_unary(f"/{SERVICE}/{method}")
        return call.with_call(request, timeout=timeout, metadata=metadata)  # type: ignore[no-any-return]

    def stream(self, request: bytes, method: str = "Expand", *, timeout: float = PATIENCE, metadata: Any = None) -> Any:
        """Call a server-streaming method; the result is the iterator of answers, and the call."""
        return self._channel.unary_stream(f"/{SERVICE}/{method}")(request, timeout=timeout, metadata=metadata)

    def collect(self, requests: Iterator[bytes] | Sequence[bytes], *, timeout: float = PATIENCE) -> bytes:
        """Call the client-streaming method."""
        answer: bytes = self._channel.stream_unary(f"/{SERVICE}/Collect")(iter(requests), timeout=timeout)
        return answer

    def chat(self, requests: Iterator[bytes], *, timeout: float = PATIENCE) -> Any:
        """Call the bidirectional method; the result is the iterator of answers, and the call."""
        return self._channel.stream_stream(f"/{SERVICE}/Chat")(requests, timeout=timeout)

    def close(self) -> None:
        """Close the channel."""
        self._channel.close()

    def __enter__(self) -> GrpcClient:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
