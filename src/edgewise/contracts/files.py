"""The door between the engine, which sends files, and what finds them."""

from __future__ import annotations

from io import FileIO
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from edgewise.contracts.plan import Answer, Route
    from edgewise.http.head import RequestHead
    from edgewise.http.preconditions import Conditions


class Representation:
    """One form of one file: what is said of it, and its bytes, held in memory or in an open file. Immutable."""

    __slots__ = ("content", "etag", "fields", "file", "kind", "modified", "rendered", "size", "stamp", "status")

    def __init__(
        self,
        fields: tuple[tuple[bytes, bytes], ...],
        size: int,
        *,
        etag: bytes,
        modified: int,
        content: bytes | None = None,
        file: FileIO | None = None,
        stamp: int = 0,
        status: int = 200,
    ) -> None:
        self.fields = fields
        """(name, value) of the fields that go with it, ETag and Last-Modified among them."""
        self.kind = next((value for name, value in fields if name.lower() == b"content-type"), b"")
        """Its Content-Type."""
        self.size = size
        """Bytes."""
        self.etag = etag
        """Entity tag, weak where the file was changed so lately that another change might not show."""
        self.modified = modified
        """Last change, seconds since the epoch."""
        self.content = content
        """All of it; None where it is read from `file` while it is sent."""
        self.file = file
        """Closes itself once nothing refers to it."""
        self.stamp = stamp
        """Last change of `file` in nanoseconds, so that a change while it is sent is noticed."""
        self.status = status
        """200; else a page that goes with this status, to which no condition applies."""
        self.rendered: dict[Route, bytes] = {}
        """What stands in heads of whole answers, by route; filled on first use."""


class Wanted(Protocol):
    """What a request asks for: a pure function of its head."""

    @property
    def conditions(self) -> Conditions | None:
        """The request's conditions and range, None where it has none."""


class Files(Protocol):
    """Finds files; the engine knows GET and HEAD, conditions and ranges, and sends."""

    def wanted(self, head: RequestHead, path: bytes) -> Wanted:
        """Return what `head` asks for. `path` is its normalised path, or what became of that by a rewrite."""

    def find(self, wanted: Any, now: float) -> Representation | Answer | int:
        """Return what is asked for at `now` (monotonic seconds), another answer (a redirect), or a status >= 400."""
