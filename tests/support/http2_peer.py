"""The other end of an HTTP/2 connection in unit tests: frames by hand, answers taken apart."""

from __future__ import annotations

from typing import NamedTuple

from edgewise.protocols import http2_frames as frames
from edgewise.protocols.hpack import Decoder, encode
from edgewise.protocols.http2 import Event, Http2Connection, Http2Limits

GET = [(b":method", b"GET"), (b":scheme", b"https"), (b":authority", b"a.example"), (b":path", b"/")]
POST = [(b":method", b"POST"), *GET[1:]]
OK = b"HTTP/1.1 200 OK\r\nServer: test\r\n\r\n"

Fields = list[tuple[bytes, bytes]]


class Frame(NamedTuple):
    """One frame that edgewise sent."""

    kind: int
    flags: int
    stream_id: int
    payload: bytes


def split(data: bytes) -> list[Frame]:
    """Take whole frames apart; a client's preface is skipped."""
    found = []
    at = len(frames.PREFACE) if data.startswith(frames.PREFACE) else 0
    while at < len(data):
        kind, flags, stream_id = frames.unpack_header(data, at)
        at += frames.HEADER_SIZE + (kind >> 8)
        found.append(Frame(kind & 0xFF, flags, stream_id, data[at - (kind >> 8) : at]))
    assert at == len(data)
    return found


def headers(stream_id: int, fields: Fields, *, end: bool = True) -> bytes:
    """Return HEADERS with a whole block."""
    return frames.frame(frames.HEADERS, frames.END_HEADERS | end, stream_id, encode(fields))


def data(stream_id: int, content: bytes, *, end: bool = False) -> bytes:
    """Return DATA."""
    return frames.frame(frames.DATA, end, stream_id, content)


class Peer:
    """A connection of edgewise's whose other end the test speaks by hand; greetings are exchanged."""

    def __init__(self, *, server: bool = True, settings: dict[int, int] | None = None, **limits: int) -> None:
        self.connection = Http2Connection(server=server, limits=Http2Limits()._replace(**limits))
        self.greeting = split(self.connection.take())
        self._decoder = Decoder()
        preface = frames.PREFACE if server else b""
        self.connection.receive(preface + frames.settings_frame(settings or {}) + frames.SETTINGS_ACK)
        assert split(self.connection.take()) == [Frame(frames.SETTINGS, frames.ACK, 0, b"")]

    def send(self, *pieces: bytes) -> list[Event]:
        """Send frames in one piece; return the events they bring about."""
        return self.connection.receive(b"".join(pieces))

    def read(self) -> list[Frame]:
        """Return the frames that edgewise has sent since."""
        return split(self.connection.take())

    def fields(self, frame: Frame) -> Fields:
        """Decode the block of a HEADERS frame; blocks come in their order."""
        return self._decoder.decode(frame.payload)

    def goaway(self) -> int | None:
        """Return the error code of the GOAWAY that edgewise sent last, None where it sent none."""
        codes = [int.from_bytes(sent.payload[4:8], "big") for sent in self.read() if sent.kind == frames.GOAWAY]
        return codes[-1] if codes else None

    def resets(self) -> list[tuple[int, int]]:
        """Return (stream, error code) of each RST_STREAM that edgewise sent."""
        return [
            (sent.stream_id, int.from_bytes(sent.payload, "big"))
            for sent in self.read()
            if sent.kind == frames.RST_STREAM
        ]
