"""The door between the engine and the HTTP cache."""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum
from io import FileIO
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

if TYPE_CHECKING:
    from edgewise.http.head import Field, RequestHead, ResponseHead


DEVICE = b"X-UA-Device"
"""Request field that tells servers the kind of device, where a cache tells kinds apart."""


class Use(IntEnum):
    """What is to be done with a request."""

    PASS = 0
    """It goes to a server as if there were no cache."""
    HIT = 1
    """It is answered from what is stored."""
    STALE = 2
    """The same, and what is stored is renewed behind it (RFC 5861 section 3)."""
    FETCH = 3
    """A server is asked, once for all that ask for the same at the same time."""
    UNSATISFIED = 4
    """The client wants nothing but what is stored, and nothing fits (RFC 9111 section 5.2.1.7)."""


class Result(IntEnum):
    """What the cache did for a request, as logs and metrics tell it by the name in lower case."""

    NONE = 0
    """Nothing: the route has no cache, or the request did not come to it."""
    HIT = 1
    STALE = 2
    """Answered from what is stored and stale, while it is renewed or because servers fail."""
    MISS = 3
    REVALIDATED = 4
    """A server was asked, and said that what is stored is still good."""
    COLLAPSED = 5
    """Waited for what another request had asked for."""
    BYPASS = 6
    """Sent on by itself."""
    UNSATISFIED = 7


class Body(Protocol):
    """A file in which content is kept while it comes."""

    length: int
    """Bytes written."""

    def write(self, data: bytes) -> bool:
        """Add content; False where the disk does not take it: then it takes no more of it."""

    def read(self, start: int, end: int) -> bytes:
        """Return what was written from `start` to `end`, less where it is not written yet. Raises OSError."""

    def drop(self) -> None:
        """Remove what was written; whoever reads it goes on."""


class Stored(Protocol):
    """A response that is stored, or on its way into the store."""

    key: bytes
    """Tells it apart from all others, variants of the same included."""
    body: bytes
    """Whole content; b"" while it is being fetched, and where it is kept elsewhere."""
    length: int
    """Bytes of content, once it is whole."""
    file: str
    """Name of the file that holds the content, "" where none does."""
    slice: int
    """Bytes of each slice of an object whose content is kept in slices; 0: it is kept whole."""
    digest: Any
    """Takes the content while it comes (`update`) where a tag is made of it; else None."""


class Part(NamedTuple):
    """A slice that a server is asked for."""

    number: int
    """From 0 on."""
    size: int
    """Bytes of each slice but the last one."""
    of: Stored | None = None
    """The object; None: its fields are asked for with it, what is stored of them may be out of date."""


class Found(NamedTuple):
    """How a request is answered, and why."""

    use: Use
    key: bytes
    """Requests that are answered by one fetch have the same."""
    stored: Stored | None
    """What answers; of a fetch, what the server is asked about."""
    status: bytes
    """Cache-Status line (RFC 9211); of a fetch, for the request that goes out."""
    part: Part | None = None
    """Of a fetch: the server is asked for no more than this slice; None: for the whole."""


class Whole(NamedTuple):
    """A whole answer that is good for a second."""

    second: int
    """Of the epoch."""
    status: int
    head: bytes
    """Through the empty line."""
    content: bytes


class Asked(NamedTuple):
    """What a server is asked for."""

    fields: tuple[Field, ...]
    """All fields of the request: of a whole response, or conditional."""
    query: bytes | None
    """What of the query the answer may depend on."""


class Delivery(NamedTuple):
    """What one client gets of a response."""

    status: int
    head: bytes
    """Status line and field lines, Content-Length included where it is known, without the empty line."""
    start: int
    end: int
    """The part of the content that is sent; -1: to its end, which is not known yet."""


class Fate(IntEnum):
    """What becomes of a server's answer to a fetch."""

    SHARED = 0
    """It may be stored, and may answer others that wait."""
    RENEWED = 1
    """What was stored is good again: it answers all that wait, and the answer's own content is of no use."""
    STOOD_IN = 2
    """The server failed: what is stored, though stale, answers all that wait (RFC 5861 section 4)."""
    OTHER = 3
    """It speaks of something else than what is stored, which is gone now, or cannot answer what was asked: all ask
    anew (RFC 9111 section 4.3.4)."""
    PRIVATE = 4
    """It is for the one whose request went out; all others ask for themselves, at once."""
    SLICE = 5
    """It is a slice: what is stored of its object answers all that wait, by slices, of which this is one."""


class Receipt(NamedTuple):
    """What becomes of a server's answer."""

    fate: Fate
    stored: Stored | None
    """What answers requests that wait; None: the answer as it comes."""
    status: bytes
    """For the one whose request went out: the Cache-Status line, and lines of the answer that nobody else gets."""
    part: Stored | None = None
    """The slice that its content is."""


class RouteCache(Protocol):
    """The cache of one route, as one worker sees it. Times are seconds since the epoch."""

    most_bytes: int
    """Content of an object at most."""
    in_memory: int
    """The same of what is kept in memory: longer content goes to a file while it comes."""

    def request(self, head: RequestHead, scheme: bytes, coding: bytes = b"") -> Any:
        """Return what a request head says to the cache, None: nothing. A pure function, kept with the head's plan.

        `coding`: the content coding that its client gets where the route compresses.
        """

    def find(self, request: Any, now: float) -> Found:
        """Return how a request is answered; `request` may be None."""

    def at_once(self, request: Any, now: float) -> Whole | None:
        """Return the whole answer where it is stored, fresh and small, as most hits are; None: `find` knows more."""

    def asked(self, request: Any, found: Found) -> Asked:
        """Return what a server is asked for; where something is stored, whether that is still good."""

    def slice(self, request: Any, stored: Any, number: int) -> Found:
        """Return where a slice of a stored object comes from: HIT, what is stored; FETCH, a server."""

    def missing(self, request: Any, stored: Any, number: int) -> Found:
        """Return what a fetch of a slice goes by, whether it is stored or not."""

    def fits(self, stored: Any, number: int, part: Any) -> bool:
        """Is `part` the slice of this number of the object, as that is now?"""

    def epoch(self) -> Any:
        """Return a mark of the present: what is asked for from here on is not stored past a later purge."""

    def joins(self, request: Any, epoch: Any) -> bool:
        """May a request that comes now be answered by what was asked for at `epoch`: was it not purged since?"""

    def receive(
        self,
        request: Any,
        found: Found,
        response: ResponseHead,
        asked: float,
        now: float,
        epoch: Any,
        *,
        disconnected: bool,
    ) -> Receipt:
        """Decide about the answer to what was asked for at the time `asked`, at `epoch`.

        `disconnected`: no server answered; the answer is our own.
        """

    def shares(self, request: Any, stored: Any, now: float) -> Use:
        """May an answer that just came answer another request that waited: HIT; FETCH: that wants another variant;
        PASS: it has to ask for itself."""

    def whole(self, request: Any, stored: Any, content: bytes, epoch: Any) -> None:
        """The content of a SHARED answer or a SLICE came whole: keep it."""

    def begin_body(self, request: Any, stored: Any) -> Body | None:
        """Return a file for the content of a SHARED answer or a SLICE; None: it cannot be kept."""

    def written(self, request: Any, stored: Any, body: Any, epoch: Any) -> None:
        """As `whole`, of content that was written into a file; nothing is kept where the file did not take it all."""

    def open_body(self, stored: Any) -> FileIO | None:
        """Return the file that holds the content of a stored answer; None: it is gone, and so is the answer."""

    def outgrew(self, request: Any) -> None:
        """The content of a SHARED answer is longer than `most_bytes`: it is not kept."""

    def form(self, request: Any, stored: Any) -> Any:
        """Return what a client gets of a whole answer: itself, or its content in the client's coding."""

    def deliver(self, request: Any, stored: Any, length: int, status: bytes, now: float) -> Delivery:
        """Prepare an answer: all, a part, or that nothing changed (RFC 9110 section 13.2.2).

        `length` of the content, -1 where that is not known yet; `status`: a Cache-Status line.
        """

    def collapsed(self, request: Any) -> bytes:
        """Return the Cache-Status line for a request that waited for another one's answer."""

    def passed(self, head: RequestHead, scheme: bytes, response: ResponseHead) -> None:
        """A request went by the cache and had this answer: what it changed is invalid (RFC 9111 section 4.4)."""

    def purge(self, head: RequestHead, scheme: bytes, ip: str, done: Callable[[], None]) -> bool | None:
        """Do what a PURGE request of a client says; `done` is called once no worker of this node finds any of it.

        False: this client may not; None: the method means nothing here. Raises ValueError where it names too much.
        """
