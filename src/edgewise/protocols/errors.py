"""What a codec raises when a peer breaks the protocol."""

from __future__ import annotations


class ProtocolError(Exception):
    """A peer sent bytes that must not be understood.

    `status` is the answer a client gets (RFC 9110 section 15); for an upstream's bytes it is always 502.
    """

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
