"""The receiving half of an HTTP/2 connection: heads, content and trailers of each stream (RFC 9113 section 8.1)."""

from __future__ import annotations

from collections.abc import Callable

from edgewise.protocols.hpack import Decoder, HpackError, TooManyFields
from edgewise.protocols.http2_abuse import DOUBTFUL, GLITCH, OVERSIZED, SMALL_CHANGE
from edgewise.protocols.http2_events import DATA, HEAD, RESET, TRAILERS, Event, Http2Limits
from edgewise.protocols.http2_frames import (
    COMPRESSION_ERROR,
    END_STREAM,
    ENHANCE_YOUR_CALM,
    FLOW_CONTROL_ERROR,
    MOST,
    NO_ERROR,
    PADDED,
    PROTOCOL_ERROR,
    REFUSED_STREAM,
    STREAM_CLOSED,
    ConnectionFault,
    StreamFault,
    reset_frame,
    without_padding,
)
from edgewise.protocols.http2_heads import (
    Fields,
    Malformed,
    ReceivedHead,
    request_head,
    response_block,
    response_head,
    trailers,
)
from edgewise.protocols.http2_sending import Sending
from edgewise.protocols.http2_streams import HEAD_REQUEST, RECEIVED_END, RECEIVED_HEAD, SENT_END, UNHEARD, Stream
from edgewise.protocols.memo import RepeatMemo

_SHARED_REQUESTS: RepeatMemo[ReceivedHead] = RepeatMemo(entries=1024, longest=4096)
_SHARED_RESPONSES: RepeatMemo[ReceivedHead] = RepeatMemo(entries=1024, longest=4096)
_SHARED_TRAILERS: RepeatMemo[ReceivedHead] = RepeatMemo(entries=256, longest=1024)
"""Blocks that read no dynamic table and hold no secret, of all connections of the process."""
_TOO_LARGE = b"HTTP/1.1 431 Request Header Fields Too Large\r\nContent-Length: 0\r\n\r\n"


class Messages(Sending):
    """What comes in on the streams of a connection."""

    __slots__ = (
        "_decoder", "_events", "_known", "_known_trailers", "_last_before", "_most_streams", "_next_id", "_server",
        "_shared", "_skipped", "_translate", "given_up",
    )  # fmt: skip

    def __init__(self, limits: Http2Limits, *, server: bool) -> None:
        super().__init__(limits)
        self._server = server
        self._events: list[Event] = []
        self._decoder = Decoder(max_list_bytes=limits.head_bytes, max_fields=limits.head_fields)
        self._known: RepeatMemo[ReceivedHead] = RepeatMemo(entries=16, longest=2048)
        self._known_trailers: RepeatMemo[ReceivedHead] = RepeatMemo(entries=4, longest=1024)
        """What blocks mean while the dynamic table stays as it is."""
        self._shared = _SHARED_REQUESTS if server else _SHARED_RESPONSES
        self._translate = request_head if server else response_head
        self._skipped = (0, 0)
        """Between these two streams the peer opened none: the last gap it left."""
        self._most_streams = 0
        """How many streams the peer may have open now."""
        self._next_id = 1
        """The next stream that we open, as a client."""
        self._last_before = MOST
        """As the server: the last stream that the client had opened before the present bytes."""
        self.given_up: set[int] = set()
        """Streams both opened and reset by the bytes received last: who has not begun them yet need not."""

    # ---- heads -------------------------------------------------------------------------------------------------------

    def _on_block(self, stream_id: int, block: bytes, end: int) -> None:
        """Take a whole header block: as the server mostly that of a new stream."""
        if stream_id <= self._last_id or not stream_id & 1 or not self._server:
            self._on_late_block(stream_id, block, end)
            return
        if stream_id - self._last_id > 2:
            self._skipped = self._last_id, stream_id
        self._last_id = stream_id
        known = self._known
        received = known.young.get(block) or self._find(block, self._translate, known, self._shared)
        if len(self._streams) >= self._most_streams:
            raise StreamFault(REFUSED_STREAM, "no room for another stream")
        if received is None:
            self._refuse_head(stream_id, end)
            return
        left = received[1]
        if end:
            if left > 0:
                raise StreamFault(PROTOCOL_ERROR, "content-length without content")
            self._streams[stream_id] = Stream(self._stream_window, self._stream_credit, left, RECEIVED_END)
            self._events.append((HEAD, stream_id, received[0], True))
        else:
            self._streams[stream_id] = Stream(self._stream_window, self._stream_credit, left, 0)
            self._events.append((HEAD, stream_id, received.framed(end=False), False))

    def _on_late_block(self, stream_id: int, block: bytes, end: int) -> None:
        """Take a block on a stream that is open or was; it is decoded whatever becomes of it (RFC 9113 section 4.3)."""
        stream = self._streams.get(stream_id)
        if stream is None:
            self._check_reset(stream_id)
            self._decode(block)
        elif stream.state & RECEIVED_END:
            self._decode(block)
            raise StreamFault(STREAM_CLOSED, "HEADERS after END_STREAM")
        elif stream.state & UNHEARD:
            self._decode(block)
            self._on_end(stream_id, stream, end)
        elif self._server or stream.state & RECEIVED_HEAD:
            self._on_trailers(stream_id, stream, block, end)
        else:
            self._on_response(stream_id, stream, block, end)

    def _refuse_head(self, stream_id: int, end: int) -> None:
        """Answer 431 to a head over the limits (RFC 6585 section 5)."""
        self.glitches.add(OVERSIZED)
        self._put_head(stream_id, response_block(_TOO_LARGE), True)
        if not end:
            self._reply(reset_frame(stream_id, NO_ERROR))
            self._tolerate(stream_id, self._stream_credit)

    def _on_response(self, stream_id: int, stream: Stream, block: bytes, end: int) -> None:
        known = self._known
        received = known.young.get(block) or self._find(block, self._translate, known, self._shared)
        if received is None:
            raise StreamFault(ENHANCE_YOUR_CALM, "response head over the limits")
        status = received.status
        if status < 200:
            if end:
                raise StreamFault(PROTOCOL_ERROR, "interim response ends the stream")
            self.glitches.add(SMALL_CHANGE)
            self._events.append((HEAD, stream_id, received.head, False))
            return
        stream.state |= RECEIVED_HEAD
        if stream.state & HEAD_REQUEST or status in (204, 304):
            head = received.head
            stream.left = 0
        else:
            head = received.framed(end=end == 1)
            stream.left = received.length
        if end and stream.left > 0:
            raise StreamFault(PROTOCOL_ERROR, "content-length without content")
        self._events.append((HEAD, stream_id, head, end == 1))
        self._on_end(stream_id, stream, end)

    def _on_trailers(self, stream_id: int, stream: Stream, block: bytes, end: int) -> None:
        known = self._known_trailers
        received = known.young.get(block) or self._find(block, trailers, known, _SHARED_TRAILERS)
        if received is None:
            raise StreamFault(ENHANCE_YOUR_CALM, "trailers over the limits")
        if not end:
            raise StreamFault(PROTOCOL_ERROR, "trailers that do not end the stream")
        if stream.left > 0:
            raise StreamFault(PROTOCOL_ERROR, "less content than content-length tells")
        self._events.append((TRAILERS, stream_id, received.head, True))
        self._on_end(stream_id, stream, end)

    def _find(
        self,
        block: bytes,
        translate: Callable[[Fields], ReceivedHead],
        known: RepeatMemo[ReceivedHead],
        shared: RepeatMemo[ReceivedHead],
    ) -> ReceivedHead | None:
        """Return what a block means, None where it is over the limits; raises StreamFault where it means nothing."""
        received = shared.young.get(block) or known.get(block) or shared.get(block)
        if received is not None:
            if received.inserted:
                self._decoder.insert_again(received.inserted)
                self._forget_known()
            return received
        fields = self._decode(block)
        if fields is None:
            return None
        try:
            received = translate(fields)
        except Malformed as error:
            raise StreamFault(PROTOCOL_ERROR, str(error)) from None
        decoder = self._decoder
        size = len(received.head)
        if decoder.independent and not received.secret and not decoder.never_indexed:
            if decoder.inserted:
                received = received._replace(inserted=tuple(decoder.inserted))
                size += size
            shared.offer(block, received, size)
        elif not decoder.changed:
            known.offer(block, received, size)
        return received

    def _decode(self, block: bytes) -> Fields | None:
        """Return the fields of a block, None where they are over the limits."""
        decoder = self._decoder
        try:
            return decoder.decode(block)
        except TooManyFields:
            return None
        except HpackError as error:
            raise ConnectionFault(COMPRESSION_ERROR, str(error)) from None
        finally:
            if decoder.changed:
                self._forget_known()

    def _forget_known(self) -> None:
        """The dynamic table changed."""
        self._known.clear()
        self._known_trailers.clear()

    # ---- content -----------------------------------------------------------------------------------------------------

    def _on_data(self, flags: int, stream_id: int, payload: bytes) -> None:
        size = len(payload)
        if size > self._credit:
            raise ConnectionFault(FLOW_CONTROL_ERROR, "more content than the connection's window")
        self._credit -= size
        stream = self._streams.get(stream_id)
        if stream is None or stream.state & (RECEIVED_END | UNHEARD):
            self._on_unwanted_data(flags, stream_id, stream, size)
            return
        if size > stream.credit:
            self._give_back(size)
            raise StreamFault(FLOW_CONTROL_ERROR, "more content than the stream's window")
        stream.credit -= size
        stream.unread += size
        if flags & PADDED:
            payload = without_padding(payload)
            self.consumed(stream_id, size - len(payload))
        end = flags & END_STREAM
        if not payload and not end:
            self.glitches.add(DOUBTFUL)
            return
        self._check_length(stream, len(payload), end)
        self._events.append((DATA, stream_id, payload, end == 1))
        self._on_end(stream_id, stream, end)

    def _check_length(self, stream: Stream, size: int, end: int) -> None:
        if not self._server and not stream.state & RECEIVED_HEAD:
            raise StreamFault(PROTOCOL_ERROR, "content before the response head")
        if stream.left < 0:
            return
        stream.left -= size
        if stream.left < 0 or (end and stream.left):
            raise StreamFault(PROTOCOL_ERROR, "content differs from content-length")

    def _on_unwanted_data(self, flags: int, stream_id: int, stream: Stream | None, size: int) -> None:
        """Discard content nobody waits for; the connection's window is not the stream's to keep (section 5.1)."""
        if stream is not None:
            if stream.state & RECEIVED_END:
                self._give_back(size)
                raise StreamFault(STREAM_CLOSED, "DATA after END_STREAM")
            if size > stream.credit:
                raise ConnectionFault(FLOW_CONTROL_ERROR, "more content than the stream's window")
            stream.credit -= size
            stream.unread += size
            self.consumed(stream_id, size)
            self._on_end(stream_id, stream, flags & END_STREAM)
            return
        self._check_reset(stream_id)
        self._reset[stream_id] -= size
        if self._reset[stream_id] < 0:
            raise ConnectionFault(STREAM_CLOSED, "content goes on after RST_STREAM")
        self._give_back(size)

    def _on_end(self, stream_id: int, stream: Stream, end: int) -> None:
        if end:
            stream.state |= RECEIVED_END
            if stream.state & SENT_END:
                self._completed(stream_id, stream)

    # ---- streams that are not open -----------------------------------------------------------------------------------

    def _is_idle(self, stream_id: int) -> bool:
        """Was the stream never opened (RFC 9113 section 5.1)?"""
        if not stream_id & 1:
            return True  # only servers open even ones, and only to push
        if self._server:
            return stream_id > self._last_id or self._skipped[0] < stream_id < self._skipped[1]
        return stream_id >= self._next_id

    def _check_not_idle(self, stream_id: int) -> None:
        if self._is_idle(stream_id):
            raise ConnectionFault(PROTOCOL_ERROR, "frame on a stream that was never opened")

    def _check_reset(self, stream_id: int) -> None:
        """Tolerate a frame on a stream that we reset lately: the peer may not have known (section 5.1)."""
        self._check_not_idle(stream_id)
        if stream_id not in self._reset:
            raise ConnectionFault(STREAM_CLOSED, "frame on a closed stream")
        self.glitches.add(SMALL_CHANGE)

    def _fail_stream(self, stream_id: int, code: int) -> None:
        """Reset a stream for what the peer did (RFC 9113 section 5.4.2)."""
        self.glitches.add(DOUBTFUL if code == REFUSED_STREAM else GLITCH)
        self._reply(reset_frame(stream_id, code))
        stream = self._streams.get(stream_id)
        if stream is None:
            self._tolerate(stream_id, self._stream_credit)
            return
        self._forget_reset(stream_id, stream)
        if not stream.state & UNHEARD:
            self._give_up(stream_id, code, by_us=True)

    def _give_up(self, stream_id: int, code: int, *, by_us: bool) -> None:
        self._events.append((RESET, stream_id, code, by_us))
        if stream_id > self._last_before:
            self.given_up.add(stream_id)
