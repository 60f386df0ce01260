"""What the engine needs of whoever translates JSON over HTTP to gRPC, and back."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from edgewise.contracts.plan import Answer
    from edgewise.contracts.policies import Denial
    from edgewise.http.head import RequestHead
    from edgewise.protocols.grpc import Kind


class Untranslatable(Exception):
    """A server's message is none of the type that its method returns."""


class Told(NamedTuple):
    """A message as the client gets it."""

    content_type: bytes
    content: bytes
    raw: bool = False
    """It is what the message holds, and no JSON made of it."""


class Failure(NamedTuple):
    """A call's status as the client gets it."""

    status: int
    """HTTP's."""
    retry_after: int | None
    """Seconds, where the server told how long to wait."""
    content: bytes
    """A google.rpc.Status in JSON."""


class Call(Protocol):
    """What a request calls: a pure function of its head, and of the descriptors."""

    target: bytes
    """`/package.Service/Method`."""
    form: Kind
    """How answers go to the client: JSON, or as a stream of LINES or EVENTS."""
    takes_content: bool

    def messages(self, content: bytes) -> bytes:
        """Return the framed messages for a request with this content. Raises Refused."""

    def told(self, message: bytes) -> Told:
        """Return a server's message in JSON, or what is in it where it is a google.api.HttpBody.

        Raises Untranslatable.
        """


class Transcoder(Protocol):
    """The methods that requests call."""

    most_request: int
    """Bytes of request content."""
    most_answer: int
    """Bytes of a server's message."""

    def find(self, request: RequestHead) -> Call | Answer | Denial:
        """Return what a request calls; what answers it where it calls nothing."""

    def failure(self, status: int, text: str, details: bytes | None) -> Failure:
        """Return a grpc-status other than OK, with its grpc-message, as the client gets it; `details` as bytes of a
        google.rpc.Status."""


class Transcoders(Protocol):
    """Has the transcoder of a route, which may change while it serves."""

    @property
    def current(self) -> Transcoder | None:
        """The one in force; None while none is known."""

    def missed(self) -> None:
        """A request calls nothing that is known: there may be more by now."""
