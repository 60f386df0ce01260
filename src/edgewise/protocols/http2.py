"""HTTP/2 without a socket, for both roles: bytes in, events out, bytes back (RFC 9113).

Heads are in HTTP/1 form on the owner's side, so what is behind needs no second way. Input that breaks the protocol
never raises: a stream fault resets the stream, a connection fault says GOAWAY and leaves `error`. Each frame type has
its function in a table; which table is in use tells what may come now: the first SETTINGS, any frame, or only the rest
of a header block.
"""

from __future__ import annotations

from collections.abc import Callable

from edgewise.protocols.http2_abuse import DOUBTFUL, GLITCH, OVERSIZED, SMALL_CHANGE
from edgewise.protocols.http2_events import (
    DATA,
    GOAWAY,
    HEAD,
    PONG,
    RESET,
    SETTLED,
    TRAILERS,
    WRITABLE,
    Event,
    Http2Error,
    Http2Limits,
)
from edgewise.protocols.http2_frames import (
    ACK,
    CONTINUATION,
    ENABLE_PUSH,
    END_HEADERS,
    END_STREAM,
    ENHANCE_YOUR_CALM,
    FIRST_WINDOW,
    FLOW_CONTROL_ERROR,
    FRAME_SIZE_ERROR,
    HEADER_SIZE,
    INITIAL_WINDOW_SIZE,
    MAX_CONCURRENT_STREAMS,
    MAX_FRAME_SIZE,
    MAX_HEADER_LIST_SIZE,
    MOST,
    NO_RFC7540_PRIORITIES,
    PADDED,
    PING,
    PREFACE,
    PRIORITISED,
    PROTOCOL_ERROR,
    REFUSED_STREAM,
    SETTINGS,
    SETTINGS_ACK,
    ConnectionFault,
    StreamFault,
    check_priority_frame,
    frame,
    goaway_frame,
    header_block,
    parse_settings,
    parse_uint32,
    settings_frame,
    unpack_header,
    window_frame,
)
from edgewise.protocols.http2_heads import HTTP, HTTPS, REQUEST_BLOCKS, UNKNOWN, lines_block, request_block
from edgewise.protocols.http2_messages import Messages
from edgewise.protocols.http2_sending import Buffer
from edgewise.protocols.http2_streams import HEAD_REQUEST, SENT_END, SENT_HEAD, UNHEARD, Stream

__all__ = (
    "DATA", "GOAWAY", "HEAD", "PONG", "RESET", "SETTLED", "TRAILERS", "WRITABLE",
    "Buffer", "Event", "Http2Connection", "Http2Error", "Http2Limits",
)  # fmt: skip

_MOST_CONTINUATIONS = 16
"""Frames of one header block, which need not be large (CVE-2024-27316 and its kin)."""
_MOST_PARTS = 2048
"""Pieces of output that wait for a client that does not read, before its new streams are refused."""
_NOT_PLAIN = PADDED | PRIORITISED
_COSTS = bytes((2, 2, *[1] * 254))
"""What each type of frame counts in a turn: DATA and HEADERS double."""
_TINY_UPDATE = 64
"""Bytes of window that are hardly worth a frame."""
_DEFAULTS = Http2Limits()


class Http2Connection(Messages):
    """One connection, as the server or the client of it."""

    __slots__ = (
        "_block", "_block_flags", "_block_frames", "_block_id", "_held", "_preface", "_table", "_widest",
        "error", "peer_max_streams", "unfinished",
    )  # fmt: skip

    def __init__(self, *, server: bool, limits: Http2Limits = _DEFAULTS) -> None:
        super().__init__(limits, server=server)
        self.error: tuple[int, str] | None = None
        """What ended the connection: the code that was sent in GOAWAY, and why."""
        self.peer_max_streams = MOST
        """How many streams the peer lets us have open."""
        self.unfinished = False
        """Are there frames left that the next `receive` handles, without further bytes too?"""
        self._widest = FIRST_WINDOW
        """The largest window that the peer ever gave us on the connection."""
        self._preface = PREFACE if server else b""
        """What is still to come of the client's preface."""
        self._table = _FIRST
        """What is done with each type of frame now."""
        self._held = b""
        """The beginning of a frame."""
        self._block = bytearray()
        """A header block that its CONTINUATION frames have not ended yet; the next three are of it and its HEADERS."""
        self._block_id = 0
        self._block_flags = 0
        self._block_frames = 0
        self._greet()

    def _greet(self) -> None:
        limits = self._limits
        settings = {
            INITIAL_WINDOW_SIZE: limits.initial_window,
            MAX_FRAME_SIZE: limits.max_frame,
            MAX_HEADER_LIST_SIZE: limits.head_bytes,
            NO_RFC7540_PRIORITIES: 1,
        }
        if self._server:
            settings[MAX_CONCURRENT_STREAMS] = limits.max_streams
        else:
            settings[ENABLE_PUSH] = 0
            self._out.append(PREFACE)
        self._out.append(settings_frame(settings))
        if self._credit > FIRST_WINDOW:
            self._out.append(window_frame(0, self._credit - FIRST_WINDOW))

    # ---- input -------------------------------------------------------------------------------------------------------

    def receive(self, data: bytes) -> list[Event]:
        """Take bytes as they come and return what they bring about. After an error input is ignored."""
        if self.error is not None:
            return []
        events = self._events = []
        if self._server:
            self._last_before = self._last_id
            if self.given_up:
                self.given_up = set()
        self._most_streams = 0 if self._full else self._limits.max_streams
        if self._held:
            data = self._held + data
        try:
            at = self._skip_preface(data) if self._preface else 0
            at = self._frames(data, at)
        except ConnectionFault as fault:
            self._fail(fault)
            return events
        self._held = data[at:]
        if self._waiting and not self.blocked:
            self._send_kept(events)
        return events

    @property
    def _full(self) -> bool:
        """Are new streams refused: after the last GOAWAY, and while the peer does not read?"""
        return self._final < MOST or self.kept_bytes > self._limits.kept_bytes or len(self._out) > _MOST_PARTS

    def _skip_preface(self, data: bytes) -> int:
        part = data[: len(self._preface)]
        if not self._preface.startswith(part):
            raise ConnectionFault(PROTOCOL_ERROR, "no connection preface")
        self._preface = self._preface[len(part) :]
        return len(part)

    def _frames(self, data: bytes, at: int) -> int:
        """Handle the whole frames in `data` from `at`; return where the rest begins."""
        size = len(data)
        longest = self._limits.max_frame
        left = self._limits.turn
        self.unfinished = False
        while size - at >= HEADER_SIZE:
            kind, flags, stream_id = unpack_header(data, at)
            length = kind >> 8
            if length > longest:
                raise ConnectionFault(FRAME_SIZE_ERROR, "frame too large")
            start = at + HEADER_SIZE
            at = start + length
            if at > size:
                return start - HEADER_SIZE
            stream_id &= MOST
            try:
                self._table[kind & 0xFF](self, flags, stream_id, data[start:at])
            except StreamFault as fault:
                self._fail_stream(stream_id, fault.code)
            left -= _COSTS[kind & 0xFF]
            if left <= 0:
                self.unfinished = size - at >= HEADER_SIZE
                break
        return at

    def _fail(self, fault: ConnectionFault) -> None:
        """Say why the connection ends, and let go of everything."""
        if fault.code == ENHANCE_YOUR_CALM:
            self.glitches.score += OVERSIZED
        self.error = fault.code, fault.detail
        self.closing = True
        self._out.append(goaway_frame(min(self._last_id, self._final), fault.code, fault.detail.encode()))
        self._held = b""
        self.unfinished = False
        self._block.clear()
        self._streams.clear()
        self._waiting.clear()
        self.kept_bytes = 0

    # ---- header blocks -----------------------------------------------------------------------------------------------

    def _on_headers(self, flags: int, stream_id: int, payload: bytes) -> None:
        if flags & _NOT_PLAIN:
            payload = header_block(flags, stream_id, payload)
        if flags & END_HEADERS:
            self._on_block(stream_id, payload, flags & END_STREAM)
            return
        self._block += payload
        self._block_id = stream_id
        self._block_flags = flags
        self._block_frames = 0
        self._table = _CONTINUING

    def _on_continuation(self, flags: int, stream_id: int, payload: bytes) -> None:
        if stream_id != self._block_id:
            raise ConnectionFault(PROTOCOL_ERROR, "CONTINUATION on another stream")
        self._block += payload
        self._block_frames += 1
        if len(self._block) > self._limits.head_bytes or self._block_frames > _MOST_CONTINUATIONS:
            raise ConnectionFault(ENHANCE_YOUR_CALM, "header block too long")
        if flags & END_HEADERS:
            block = bytes(self._block)
            self._block.clear()
            self._table = _FRAMES
            self._on_block(stream_id, block, self._block_flags & END_STREAM)

    # ---- control -----------------------------------------------------------------------------------------------------

    def _on_priority(self, flags: int, stream_id: int, payload: bytes) -> None:
        try:
            check_priority_frame(stream_id, payload)
        except StreamFault as fault:
            if self._is_idle(stream_id):
                raise ConnectionFault(fault.code, str(fault)) from None
            raise
        self.glitches.add(SMALL_CHANGE)

    def _on_reset(self, flags: int, stream_id: int, payload: bytes) -> None:
        code = parse_uint32(payload, "RST_STREAM")
        stream = self._streams.get(stream_id)
        if stream is None:
            self._check_not_idle(stream_id)
            self.glitches.add(SMALL_CHANGE)
            return
        if self._server:
            self.glitches.add(DOUBTFUL if stream.state & SENT_HEAD else GLITCH)
        self._forget(stream_id, stream)
        if not stream.state & UNHEARD:
            self._give_up(stream_id, code, by_us=False)

    def _on_settings(self, flags: int, stream_id: int, payload: bytes) -> None:
        if stream_id:
            raise ConnectionFault(PROTOCOL_ERROR, "SETTINGS on a stream")
        if flags & ACK:
            if payload:
                raise ConnectionFault(FRAME_SIZE_ERROR, "SETTINGS ACK with settings")
            self._on_settings_ack()
            return
        settings = parse_settings(payload)
        if not self._server and settings.get(ENABLE_PUSH):
            raise ConnectionFault(PROTOCOL_ERROR, "a server cannot enable push")
        self.peer_max_streams = settings.get(MAX_CONCURRENT_STREAMS, self.peer_max_streams)
        if MAX_FRAME_SIZE in settings:
            self._frame = min(settings[MAX_FRAME_SIZE], self._limits.max_frame)
            if self._head_room:
                self._head_room = self._frame
        if INITIAL_WINDOW_SIZE in settings:
            self._shift_windows(settings[INITIAL_WINDOW_SIZE])
        self.glitches.add(DOUBTFUL)
        self._reply(SETTINGS_ACK)

    def _on_first_settings(self, flags: int, stream_id: int, payload: bytes) -> None:
        if flags & ACK:
            raise ConnectionFault(PROTOCOL_ERROR, "the first frame is no SETTINGS of the peer's own")
        self._on_settings(flags, stream_id, payload)
        self._table = _FRAMES
        self._events.append((SETTLED, 0, None, False))

    def _shift_windows(self, size: int) -> None:
        """A new INITIAL_WINDOW_SIZE moves the windows of open streams too, below zero if need be (section 6.9.2)."""
        delta = size - self._stream_window
        self._stream_window = size
        for stream in self._streams.values():
            stream.window += delta
            if stream.window > MOST:
                raise ConnectionFault(FLOW_CONTROL_ERROR, "INITIAL_WINDOW_SIZE overflows a stream's window")

    def _on_settings_ack(self) -> None:
        """From here on the peer keeps to our window, if it is smaller than the one it began with."""
        self.glitches.add(SMALL_CHANGE)
        delta = self._limits.initial_window - self._stream_credit
        if delta:
            self._stream_credit += delta
            for stream in self._streams.values():
                stream.credit += delta

    def _on_push_promise(self, flags: int, stream_id: int, payload: bytes) -> None:
        raise ConnectionFault(PROTOCOL_ERROR, "PUSH_PROMISE although push is off")

    def _on_ping(self, flags: int, stream_id: int, payload: bytes) -> None:
        if stream_id:
            raise ConnectionFault(PROTOCOL_ERROR, "PING on a stream")
        if len(payload) != 8:
            raise ConnectionFault(FRAME_SIZE_ERROR, "PING is not 8 bytes long")
        self.glitches.add(SMALL_CHANGE)
        if flags & ACK:
            self._events.append((PONG, 0, payload, False))
        else:
            self._reply(frame(PING, ACK, 0, payload))

    def _on_goaway(self, flags: int, stream_id: int, payload: bytes) -> None:
        if stream_id:
            raise ConnectionFault(PROTOCOL_ERROR, "GOAWAY on a stream")
        if len(payload) < 8:
            raise ConnectionFault(FRAME_SIZE_ERROR, "GOAWAY is shorter than 8 bytes")
        self.glitches.add(DOUBTFUL)
        self.closing = True
        last = int.from_bytes(payload[:4], "big") & MOST
        self._events.append((GOAWAY, 0, (last, int.from_bytes(payload[4:8], "big")), False))
        if not self._server:
            for unseen in [ours for ours in self._streams if ours > last]:
                self._forget_reset(unseen, self._streams[unseen])  # a server that answers nonetheless is not heard
                self._events.append((RESET, unseen, REFUSED_STREAM, False))

    def _on_window_update(self, flags: int, stream_id: int, payload: bytes) -> None:
        increment = parse_uint32(payload, "WINDOW_UPDATE") & MOST
        if not stream_id:
            self._window += increment
            self._weigh_update(increment, self._window, self._widest)
            self._widest = max(self._widest, self._window)
            if not increment:
                raise ConnectionFault(PROTOCOL_ERROR, "WINDOW_UPDATE by nothing")
            if self._window > MOST:
                raise ConnectionFault(FLOW_CONTROL_ERROR, "connection window overflows")
            return
        stream = self._streams.get(stream_id)
        if stream is None:
            self.glitches.add(SMALL_CHANGE if increment >= _TINY_UPDATE else DOUBTFUL)
            self._check_not_idle(stream_id)
            return
        stream.window += increment
        self._weigh_update(increment, stream.window, self._stream_window)
        if not increment:
            raise StreamFault(PROTOCOL_ERROR, "WINDOW_UPDATE by nothing")
        if stream.window > MOST:
            raise StreamFault(FLOW_CONTROL_ERROR, "stream window overflows")

    def _weigh_update(self, increment: int, window: int, usual: int) -> None:
        """Count an update that leaves `window`; one that only gives back what we sent costs nothing, however small.

        gRPC's C core gives back each message by itself, in both windows, and a message may have five bytes.
        """
        if increment >= _TINY_UPDATE:
            self.glitches.add(SMALL_CHANGE)
        elif not increment or window > usual:
            self.glitches.add(DOUBTFUL)

    def _on_lone_continuation(self, flags: int, stream_id: int, payload: bytes) -> None:
        raise ConnectionFault(PROTOCOL_ERROR, "CONTINUATION without HEADERS")

    def _on_unknown(self, flags: int, stream_id: int, payload: bytes) -> None:
        self.glitches.add(SMALL_CHANGE)  # section 5.5: and otherwise ignored

    def _on_unexpected(self, flags: int, stream_id: int, payload: bytes) -> None:
        detail = "frame within a header block" if self._block_id else "the first frame is not SETTINGS"
        raise ConnectionFault(PROTOCOL_ERROR, detail)

    # ---- what the owner asks for -------------------------------------------------------------------------------------

    def refuse(self, detail: str) -> None:
        """End the connection for what the owner knows of the peer: GOAWAY with ENHANCE_YOUR_CALM."""
        self._fail(ConnectionFault(ENHANCE_YOUR_CALM, detail))

    def open(self, head: bytes, own: bytes, *, end: bool, scheme: bytes) -> int:
        """Send a request, as a client, and return its stream.

        `head` is in HTTP/1 form without the empty line and is best the same for many requests; the field lines `own`,
        with the empty line at their end, are this request's. Raises Http2Error where no stream can be opened.
        """
        return self.open_with(head, lines_block(own[:-2]), end=end, scheme=scheme)

    def open_with(self, head: bytes, own: bytes, *, end: bool, scheme: bytes) -> int:
        """The same where the request's own fields are at hand as a header block."""
        stream_id = self._next_id
        if self.closing or len(self._streams) >= self.peer_max_streams:
            raise Http2Error("no stream can be opened on this connection")
        block = (HTTPS if scheme == b"https" else HTTP) + (REQUEST_BLOCKS.young.get(head) or request_block(head)) + own
        self._next_id = stream_id + 2
        self.closing = self.closing or stream_id + 2 > MOST
        state = HEAD_REQUEST if head.startswith(b"HEAD ") else 0
        if end:
            state |= SENT_END
        self._streams[stream_id] = Stream(self._stream_window, self._stream_credit, UNKNOWN, state)
        self._put_head(stream_id, block, end)
        return stream_id


_Handler = Callable[[Http2Connection, int, int, bytes], None]


def _table(handlers: dict[int, _Handler], other: _Handler) -> tuple[_Handler, ...]:
    """Return the function for each of the 256 frame types."""
    return tuple(handlers.get(kind, other) for kind in range(256))


_KNOWN = (
    Http2Connection._on_data,
    Http2Connection._on_headers,
    Http2Connection._on_priority,
    Http2Connection._on_reset,
    Http2Connection._on_settings,
    Http2Connection._on_push_promise,
    Http2Connection._on_ping,
    Http2Connection._on_goaway,
    Http2Connection._on_window_update,
    Http2Connection._on_lone_continuation,
)
_FRAMES = _table(dict(enumerate(_KNOWN)), Http2Connection._on_unknown)
_FIRST = _table({SETTINGS: Http2Connection._on_first_settings}, Http2Connection._on_unexpected)
_CONTINUING = _table({CONTINUATION: Http2Connection._on_continuation}, Http2Connection._on_unexpected)
