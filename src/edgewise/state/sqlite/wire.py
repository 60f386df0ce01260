"""What clients and the writer say to each other: frames of 4 bytes length and a msgpack array of messages."""

from __future__ import annotations

import struct
from typing import Any, Literal

import msgspec

Space = Literal["keys", "blobs"]

LENGTH = struct.Struct("!I")
MOST_FRAME = 8 << 20
"""Bytes of a frame at most; a client that sends a longer one is disconnected."""
FULL_FRAME = 256 << 10
"""Bytes after which a sender begins another frame."""


class Request(msgspec.Struct, array_like=True):
    """Asks for one change. `id` comes back in the reply; times are whole milliseconds."""

    id: int


class Set(Request, tag="s"):
    """Write an entry; the result is its revision, None where `revision` is given and another is there."""

    space: Space
    key: str
    value: bytes
    ttl: int | None
    revision: int | None


class Touch(Request, tag="t"):
    """Change an entry's time to live."""

    key: str
    ttl: int


class Delete(Request, tag="d"):
    """Delete an entry."""

    space: Space
    key: str
    revision: int | None


class Add(Request, tag="a"):
    """Add to a counter; the result is its value and the milliseconds until its window ends."""

    name: str
    amount: int
    window: int | None


class Publish(Request, tag="p"):
    """Append to a topic; the result is the cursor."""

    topic: str
    payload: bytes


class Acquire(Request, tag="l"):
    """Take a lease; the result is its token, None where it is held."""

    name: str
    owner: str
    ttl: int


class Renew(Request, tag="r"):
    """Prolong a lease."""

    name: str
    token: int
    ttl: int


class Release(Request, tag="f"):
    """Give a lease back."""

    name: str
    token: int


class Raise(Request, tag="m"):
    """Have revisions and tokens go on above these (after a move from another engine)."""

    revision: int
    token: int


class Restore(Request, tag="c"):
    """Set a counter to what it was in another engine, unless it is more already."""

    name: str
    value: int
    window: int | None


AnyRequest = Set | Touch | Delete | Add | Publish | Acquire | Renew | Release | Raise | Restore
"""Requests that may be sent again when their reply was lost, since twice is as good as once, are in `REPEATABLE`."""
REPEATABLE = (Touch, Release, Raise, Restore)

Reply = tuple[int, str, Any]
"""(id, why it failed or "", result). Id 0: the result is the topics that grew since the last such reply."""

_encoder = msgspec.msgpack.Encoder()
_requests: msgspec.msgpack.Decoder[list[AnyRequest]] = msgspec.msgpack.Decoder(list[AnyRequest])
_replies: msgspec.msgpack.Decoder[list[Reply]] = msgspec.msgpack.Decoder(list[Reply])


def frame(messages: list[Any]) -> bytes:
    """Return a frame of requests or of replies."""
    body = _encoder.encode(messages)
    return LENGTH.pack(len(body)) + body


def requests(body: bytes) -> list[AnyRequest]:
    """Return what a client asks. Raises msgspec.DecodeError."""
    return _requests.decode(body)


def replies(body: bytes) -> list[Reply]:
    """Return what the writer answers. Raises msgspec.DecodeError."""
    return _replies.decode(body)


class FrameError(Exception):
    """The other side sent what is no frame."""


class Frames:
    """Cuts received bytes into the bodies of frames."""

    def __init__(self) -> None:
        self._data = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        """Return the bodies that are whole now. Raises FrameError."""
        held = self._data
        held += data
        bodies = []
        start = 0
        while len(held) - start >= LENGTH.size:
            (length,) = LENGTH.unpack_from(held, start)
            if length > MOST_FRAME:
                raise FrameError(f"a frame of {length} bytes")
            end = start + LENGTH.size + length
            if len(held) < end:
                break
            bodies.append(bytes(held[start + LENGTH.size : end]))
            start = end
        del held[:start]
        return bodies
