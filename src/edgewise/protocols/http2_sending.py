"""The sending half of an HTTP/2 connection: heads, content within the windows, fair turns, window updates."""

from __future__ import annotations

from collections import deque

from edgewise.protocols.hpack import NO_TABLE
from edgewise.protocols.http2_abuse import CONTENT_SENT, STREAM_DONE, Glitches
from edgewise.protocols.http2_events import WRITABLE, Event, Http2Limits
from edgewise.protocols.http2_frames import (
    CONTINUATION,
    DATA,
    END_HEADERS,
    ENHANCE_YOUR_CALM,
    FIRST_WINDOW,
    HEADERS,
    MOST,
    NO_ERROR,
    PING,
    SMALLEST_FRAME,
    ConnectionFault,
    frame,
    goaway_frame,
    pack_header,
    reset_frame,
    window_frame,
)
from edgewise.protocols.http2_heads import RESPONSE_BLOCKS, lines_block, response_block
from edgewise.protocols.http2_streams import RECEIVED_END, SENT_END, SENT_HEAD, UNHEARD, Kept, Stream

Buffer = bytes | bytearray | memoryview

_TURN = 262144
"""Bytes of kept content put out at once, so that a head does not wait behind all of it."""
_MOST_REPLIES = 1000
"""Acknowledgements and resets that may wait for a peer that does not read."""
_REMEMBERED_RESETS = 256
_PING_DATA = b"edgewise"


class Sending:
    """Streams and their windows, and the bytes to write."""

    __slots__ = (
        "_credit", "_final", "_frame", "_head_room", "_last_id", "_limits", "_out", "_owed", "_replies", "_reset",
        "_stream_credit", "_stream_window", "_streams", "_waiting", "_window", "blocked", "closing", "glitches",
        "kept_bytes",
    )  # fmt: skip

    def __init__(self, limits: Http2Limits) -> None:
        self._limits = limits
        self._streams: dict[int, Stream] = {}
        self._waiting: dict[int, Stream] = {}
        """Streams with kept content, in the order of their turns."""
        self._reset: dict[int, int] = {}
        """Streams that we reset lately -> bytes of content the peer may have on the way."""
        self._last_id = 0
        """The last stream the peer opened."""
        self._final = MOST
        """The last of its streams that is served, once GOAWAY has named it."""
        self._out: list[Buffer] = []
        self._replies = 0
        self._window = FIRST_WINDOW
        """Bytes of content we may send on all streams together."""
        self._stream_window = FIRST_WINDOW
        """The same for a new stream."""
        self._frame = SMALLEST_FRAME
        """Bytes of payload in a frame of ours."""
        self._head_room = 0
        """Bytes of a header block that need no thought: none before the first one."""
        self._credit = max(limits.connection_window, FIRST_WINDOW)
        """Bytes of content the peer may send on all streams together."""
        self._owed = 0
        """Bytes dealt with, to be told the peer in a window update."""
        self._stream_credit = max(limits.initial_window, FIRST_WINDOW)
        """Bytes of content the peer may send on a new stream; it knows no smaller window before its SETTINGS ACK."""
        self.glitches = Glitches(limits.glitches)
        self.blocked = False
        """Is the socket full (set by the owner), or was one turn's worth put out (set here)? Content is kept until
        `unblock`, which the owner calls once everything is written."""
        self.closing = False
        """Was GOAWAY sent or received?"""
        self.kept_bytes = 0
        """Bytes of content kept for all streams together."""

    @property
    def open_streams(self) -> int:
        """Streams that are not closed on both sides."""
        return len(self._streams)

    @property
    def stalled(self) -> bool:
        """Does content wait for windows only, not for the socket?"""
        return bool(self._waiting) and not self.blocked

    def kept(self, stream_id: int) -> int:
        """Return the bytes of content kept for a stream."""
        stream = self._streams.get(stream_id)
        return 0 if stream is None or stream.kept is None else len(stream.kept.content)

    def waits(self, stream_id: int) -> bool:
        """Does something that was sent on a stream wait for a window or for the socket?"""
        stream = self._streams.get(stream_id)
        return stream is not None and stream.kept is not None

    def take(self) -> bytes:
        """Return the bytes to write, b"" where there are none."""
        out = self._out
        if not out:
            return b""
        data = b"".join(out)
        out.clear()
        self._replies = 0
        return data

    # ---- messages ----------------------------------------------------------------------------------------------------

    def send_head(self, stream_id: int, head: bytes, *, end: bool) -> None:
        """Send a response head in HTTP/1 form (an interim one too); nothing where the stream is gone."""
        stream = self._streams.get(stream_id)
        if stream is None:
            return
        stream.state |= SENT_HEAD
        block = RESPONSE_BLOCKS.young.get(head) or response_block(head)
        size = len(block)
        if size <= self._head_room:  # `_put_head` without its call
            self._out += (pack_header(size << 8 | HEADERS, END_HEADERS | end, stream_id), block)
        else:
            self._put_long_head(stream_id, block, end)
        if end:
            self._ended(stream_id, stream)

    def send_data(self, stream_id: int, data: Buffer, *, end: bool) -> bool:
        """Send content, or keep what cannot go yet; False: pause the source until WRITABLE."""
        stream = self._streams.get(stream_id)
        if stream is None:
            return True
        size = len(data)
        if (
            size > self._frame
            or size > self._window
            or size > stream.window
            or self.blocked
            or stream.kept is not None
            or type(data) is not bytes
        ):
            return self._send_or_keep(stream_id, stream, data, end)
        self._window -= size
        stream.window -= size
        self._out += (pack_header(size << 8 | DATA, end, stream_id), data)
        if end:
            stream.state |= SENT_END
            if stream.state & RECEIVED_END:
                self._completed(stream_id, stream)
        elif self.glitches.score:
            self.glitches.make_up(CONTENT_SENT)
        return True

    def send_trailers(self, stream_id: int, lines: bytes) -> None:
        """End the stream with trailers, after all content kept for it; `lines` end in CRLF each."""
        stream = self._streams.get(stream_id)
        if stream is None:
            return
        block = lines_block(lines)
        if not block:
            self.send_data(stream_id, b"", end=True)
        elif stream.kept is not None:
            stream.kept.trailers = block
            stream.kept.end = True
        else:
            self._put_head(stream_id, block, True)
            self._ended(stream_id, stream)

    def reset(self, stream_id: int, code: int) -> None:
        """End a stream at once: RST_STREAM (RFC 9113 section 6.4).

        With NO_ERROR after a whole answer, a client is asked to stop its upload; the answer still goes out first.
        """
        stream = self._streams.get(stream_id)
        if stream is None:
            return
        if code == NO_ERROR and stream.kept is not None and stream.kept.end:
            stream.kept.reset = True
            stream.state |= UNHEARD
            return
        self._out.append(reset_frame(stream_id, code))
        self._forget_reset(stream_id, stream)

    def unblock(self) -> list[Event]:
        """Put out kept content, a frame a stream in turn, now that the owner has written everything."""
        self.blocked = False
        events: list[Event] = []
        if self._waiting:
            self._send_kept(events)
        return events

    def goaway(self, code: int = NO_ERROR, *, last: bool) -> None:
        """Announce the end of the connection (RFC 9113 section 6.8).

        First without `last`, so that streams on their way are still served; a round trip later with it.
        """
        self.closing = True
        if last:
            self._final = min(self._final, self._last_id)
        self._out.append(goaway_frame(self._final, code))

    def ping(self) -> None:
        """Ask for a PONG."""
        self._out.append(frame(PING, 0, 0, _PING_DATA))

    def consumed(self, stream_id: int, size: int) -> None:
        """Give back the window that content took up, now that it is passed on; a closed stream's was given back."""
        stream = self._streams.get(stream_id)
        if stream is None:
            return
        stream.unread -= size
        owed = self._stream_credit - stream.credit - stream.unread
        if owed >= self._limits.initial_window >> 1 and not stream.state & RECEIVED_END:
            self._out.append(window_frame(stream_id, owed))
            stream.credit += owed
        self._give_back(size)

    # ---- frames ------------------------------------------------------------------------------------------------------

    def _put_head(self, stream_id: int, block: bytes, end: bool) -> None:
        size = len(block)
        if size <= self._head_room:
            self._out += (pack_header(size << 8 | HEADERS, END_HEADERS | end, stream_id), block)
        else:
            self._put_long_head(stream_id, block, end)

    def _put_long_head(self, stream_id: int, block: bytes, end: bool) -> None:
        """Put out the first block of the connection, or one that takes several frames (RFC 9113 section 6.10)."""
        if not self._head_room:
            block = NO_TABLE + block
            self._head_room = self._frame
        pieces = [block[at : at + self._frame] for at in range(0, len(block), self._frame)]
        kind, flags = HEADERS, int(end)
        for piece in pieces[:-1]:
            self._out.append(frame(kind, flags, stream_id, piece))
            kind, flags = CONTINUATION, 0
        self._out.append(frame(kind, flags | END_HEADERS, stream_id, pieces[-1]))

    def _reply(self, answer: bytes) -> None:
        """Queue what the peer made us send; raises ConnectionFault if it asks on and on and does not read."""
        self._replies += 1
        if self._replies > _MOST_REPLIES:
            raise ConnectionFault(ENHANCE_YOUR_CALM, "answers are not read")
        self._out.append(answer)

    def _give_back(self, size: int) -> None:
        self._owed += size
        if self._owed >= self._limits.connection_window >> 1:
            self._out.append(window_frame(0, self._owed))
            self._credit += self._owed
            self._owed = 0

    # ---- content that waits ------------------------------------------------------------------------------------------

    def _send_or_keep(self, stream_id: int, stream: Stream, data: Buffer, end: bool) -> bool:
        content = data if type(data) is bytes else bytes(data)  # the owner's buffer is filled again before `take`
        size = len(content)
        if not size and not end:
            return stream.kept is None
        sent = 0
        if stream.kept is None and (not self.blocked or not size):
            view = memoryview(content)
            while (room := self._room(stream, size - sent)) or sent == size:
                last = sent + room == size
                self._put_content(stream_id, stream, view[sent : sent + room], last and end)
                if last:
                    return True
                sent += room
            content = content[sent:]
        kept = stream.kept
        if kept is None:
            kept = stream.kept = Kept()
            self._waiting[stream_id] = stream
        kept.content += content
        kept.end = end
        self.kept_bytes += len(content)
        return False

    def _room(self, stream: Stream, size: int) -> int:
        """Return how many of `size` bytes may go in the next frame."""
        return max(0, min(size, stream.window, self._window, self._frame))

    def _put_content(self, stream_id: int, stream: Stream, content: Buffer, end: bool) -> None:
        size = len(content)
        self._window -= size
        stream.window -= size
        self._out += (pack_header(size << 8 | DATA, end, stream_id), content)
        self.glitches.make_up(CONTENT_SENT)
        if end:
            self._ended(stream_id, stream)

    def _send_kept(self, events: list[Event]) -> None:
        """Put out kept content while there is room, one frame a stream in turn."""
        waiting = self._waiting
        turns = deque(waiting)
        left = _TURN
        while turns and left > 0:
            stream_id = turns.popleft()
            stream = waiting[stream_id]
            assert stream.kept is not None
            size = self._room(stream, len(stream.kept.content))
            if not size and stream.kept.content:
                continue
            left -= size
            del waiting[stream_id]
            if self._put_kept(stream_id, stream, stream.kept, size):
                events.append((WRITABLE, stream_id, None, False))
            else:
                waiting[stream_id] = stream
                turns.append(stream_id)
        self.blocked = bool(turns)

    def _put_kept(self, stream_id: int, stream: Stream, kept: Kept, size: int) -> bool:
        """Put out `size` bytes, and with the last of them what ends the stream; was it the last?"""
        last = size == len(kept.content)
        content = bytes(kept.content[:size])
        del kept.content[:size]
        self.kept_bytes -= size
        if last:
            stream.kept = None
        end = last and kept.end
        if size or kept.trailers is None:
            self._put_content(stream_id, stream, content, end and kept.trailers is None)
        if end and kept.trailers is not None:
            self._put_head(stream_id, kept.trailers, True)
            self._ended(stream_id, stream)
        if end and kept.reset:
            self.reset(stream_id, NO_ERROR)
        return last

    # ---- ends of streams ---------------------------------------------------------------------------------------------

    def _ended(self, stream_id: int, stream: Stream) -> None:
        """END_STREAM went out."""
        state = stream.state = stream.state | SENT_END
        if state & RECEIVED_END:
            self._completed(stream_id, stream)

    def _completed(self, stream_id: int, stream: Stream) -> None:
        """Both sides ended the stream."""
        del self._streams[stream_id]
        if stream.unread:
            self._give_back(stream.unread)
        if self.glitches.score:
            self.glitches.make_up(STREAM_DONE)

    def _forget(self, stream_id: int, stream: Stream) -> None:
        """Drop a stream that was reset, with what is kept for it, and give back what its content took up."""
        del self._streams[stream_id]
        if stream.kept is not None:
            del self._waiting[stream_id]
            self.kept_bytes -= len(stream.kept.content)
        self._give_back(stream.unread)

    def _forget_reset(self, stream_id: int, stream: Stream) -> None:
        """Drop a stream that we reset; what the peer sent before it knew is tolerated."""
        self._forget(stream_id, stream)
        if not stream.state & RECEIVED_END:
            self._tolerate(stream_id, stream.credit)

    def _tolerate(self, stream_id: int, credit: int) -> None:
        self._reset[stream_id] = credit
        if len(self._reset) > _REMEMBERED_RESETS:
            del self._reset[next(iter(self._reset))]
