"""Conversations with PyPI `h2` in both roles, cut at any byte; and nothing that arrives may raise."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import cycle
from typing import NamedTuple

import h2.config
import h2.connection
import h2.events
import h2.settings
from hypothesis import given, settings
from hypothesis import strategies as st

from edgewise.protocols import http2_frames as frames
from edgewise.protocols.http2 import DATA, HEAD, RESET, TRAILERS, Event, Http2Connection, Http2Limits
from support.http2_peer import GET, OK, Fields, headers

TRAILER: Fields = [(b"grpc-status", b"0")]


class Message(NamedTuple):
    """One direction of an exchange."""

    content: list[int]
    """Sizes of the pieces."""
    told: bool
    """Is there a content-length?"""
    trailers: bool
    interim: bool

    @property
    def bytes(self) -> bytes:
        return b"".join(bytes([65 + at % 26]) * size for at, size in enumerate(self.content))

    @property
    def fields(self) -> Fields:
        return [(b"content-length", b"%d" % sum(self.content))] if self.told else []


class Exchange(NamedTuple):
    request: Message
    response: Message
    cancelled: bool


MESSAGES = st.builds(
    Message,
    st.lists(st.sampled_from([0, 1, 96, 16384, 16385, 40000]), max_size=2),
    st.booleans(),
    st.booleans(),
    st.booleans(),
)
EXCHANGES = st.lists(st.builds(Exchange, MESSAGES, MESSAGES, st.sampled_from([False, False, True])), max_size=4)
CUTS = st.lists(st.one_of(st.integers(1, 30), st.integers(1, 20000)), max_size=5).map(lambda sizes: [*sizes, 5000])
WINDOWS = st.sampled_from([1000, 16384, 65535, 262144])


class Received:
    """What one side got on one stream."""

    def __init__(self) -> None:
        self.heads: list[bytes] = []
        self.content = b""
        self.trailers = b""
        self.ended = False
        self.reset = False


class H2Side:
    """`h2` with an owner that sends as windows allow and gives back what it reads."""

    def __init__(self, *, client: bool, window: int) -> None:
        self.connection = h2.connection.H2Connection(
            h2.config.H2Configuration(client_side=client, header_encoding=None)
        )
        initial = {h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: window}
        self.connection.local_settings = h2.settings.Settings(client=client, initial_values=initial)
        self.connection.initiate_connection()
        self.received: dict[int, Received] = {}
        self.pending: dict[int, tuple[bytearray, bool]] = {}

    def start(self, stream_id: int, fields: Fields, message: Message) -> None:
        whole = not message.bytes and not message.trailers
        self.connection.send_headers(stream_id, [*fields, *message.fields], end_stream=whole)
        if not whole:
            self.pending[stream_id] = bytearray(message.bytes), message.trailers

    def take(self) -> bytes:
        for stream_id, (content, trailers) in list(self.pending.items()):
            room = min(
                len(content),
                self.connection.local_flow_control_window(stream_id),
                self.connection.max_outbound_frame_size,
            )
            last = room == len(content)
            if room > 0 or last:
                self.connection.send_data(stream_id, bytes(content[:room]), end_stream=last and not trailers)
                del content[:room]
            if last:
                if trailers:
                    self.connection.send_headers(stream_id, TRAILER, end_stream=True)
                del self.pending[stream_id]
        data: bytes = self.connection.data_to_send()
        return data

    def receive(self, data: bytes) -> list[int]:
        """Return the streams that ended."""
        ended = []
        for event in self.connection.receive_data(data):
            stream_id = getattr(event, "stream_id", 0) or 0
            got = self.received.setdefault(stream_id, Received())
            if isinstance(
                event, h2.events.RequestReceived | h2.events.ResponseReceived | h2.events.InformationalResponseReceived
            ):
                got.heads.append(dict(event.headers).get(b":status", b""))
            elif isinstance(event, h2.events.DataReceived):
                got.content += event.data
                self.connection.acknowledge_received_data(event.flow_controlled_length, stream_id)
            elif isinstance(event, h2.events.TrailersReceived):
                got.trailers = b"".join(b"%b: %b\r\n" % field for field in event.headers)
            elif isinstance(event, h2.events.StreamEnded):
                got.ended = True
                ended.append(stream_id)
            elif isinstance(event, h2.events.StreamReset):
                got.reset = True
                self.pending.pop(stream_id, None)
        return ended


class OurSide:
    """edgewise's codec with an owner that gives back what it reads."""

    def __init__(self, *, server: bool, window: int) -> None:
        self.connection = Http2Connection(server=server, limits=Http2Limits(initial_window=window))
        self.received: dict[int, Received] = {}

    def receive(self, data: bytes) -> list[int]:
        """Return the streams that ended."""
        ended = []
        for kind, stream_id, value, flag in self.connection.receive(data):
            got = self.received.setdefault(stream_id, Received())
            if kind == HEAD:
                got.heads.append(value)
            elif kind == DATA:
                got.content += value
                self.connection.consumed(stream_id, len(value))
            elif kind == TRAILERS:
                got.trailers = value
            elif kind == RESET:
                got.reset = True
            if flag and kind in (HEAD, DATA, TRAILERS):
                got.ended = True
                ended.append(stream_id)
        return ended

    def send(self, stream_id: int, message: Message) -> None:
        """Send content and trailers."""
        for at, size in enumerate(message.content):
            self.connection.send_data(stream_id, bytes([65 + at % 26]) * size, end=False)
        if message.trailers:
            self.connection.send_trailers(stream_id, b"grpc-status: 0\r\n")
        else:
            self.connection.send_data(stream_id, b"", end=True)

    def take(self) -> bytes:
        data = self.connection.take()
        while self.connection.blocked:
            self.connection.unblock()
            data += self.connection.take()
        return data


def lines(fields: Fields) -> bytes:
    return b"".join(b"%b: %b\r\n" % field for field in fields)


def cut(data: bytes, sizes: Iterator[int]) -> Iterator[bytes]:
    at = 0
    while at < len(data):
        size = next(sizes)
        yield data[at : at + size]
        at += size


def greet(ours: OurSide, theirs: H2Side, sizes: Iterator[int]) -> None:
    """Exchange SETTINGS, so that both know the other's windows."""
    while (there := ours.take()) + (back := theirs.take()):
        for piece in cut(there, sizes):
            theirs.receive(piece)
        for piece in cut(back, sizes):
            ours.receive(piece)


def check(got: Received, message: Message) -> None:
    assert got.content == message.bytes
    assert got.trailers == (b"grpc-status: 0\r\n" if message.trailers else b"")
    assert got.ended


@settings(deadline=None, max_examples=60)
@given(EXCHANGES, CUTS, WINDOWS, WINDOWS)
def test_a_client_of_h2_understands_our_server(
    exchanges: list[Exchange], cuts: list[int], ours: int, theirs: int
) -> None:
    server, client = OurSide(server=True, window=ours), H2Side(client=True, window=theirs)
    sizes = cycle(cuts)
    greet(server, client, sizes)
    asked: dict[int, Exchange] = {}
    for exchange in exchanges:
        stream_id = client.connection.get_next_available_stream_id()
        asked[stream_id] = exchange
        client.start(stream_id, GET, exchange.request)
        if exchange.cancelled:
            client.connection.reset_stream(stream_id, 8)
            client.pending.pop(stream_id, None)
    while (there := client.take()) + (back := server.take()):
        for piece in cut(there, sizes):
            for stream_id in server.receive(piece):
                exchange = asked[stream_id]
                if exchange.response.interim and not exchange.cancelled:  # h2 takes none on a stream it reset
                    server.connection.send_head(stream_id, b"HTTP/1.1 103 Early Hints\r\n\r\n", end=False)
                server.connection.send_head(
                    stream_id, b"HTTP/1.1 200 OK\r\n%b\r\n" % lines(exchange.response.fields), end=False
                )
                server.send(stream_id, exchange.response)
        for piece in cut(back, sizes):
            client.receive(piece)
    assert server.connection.error is None
    assert server.connection.open_streams == server.connection.kept_bytes == 0
    for stream_id, exchange in asked.items():
        assert len(server.received[stream_id].heads) == 1
        if not exchange.cancelled:
            check(server.received[stream_id], exchange.request)
            check(client.received[stream_id], exchange.response)
            assert client.received[stream_id].heads == [b"103"] * exchange.response.interim + [b"200"]


@settings(deadline=None, max_examples=60)
@given(EXCHANGES, CUTS, WINDOWS, WINDOWS)
def test_a_server_of_h2_understands_our_client(
    exchanges: list[Exchange], cuts: list[int], ours: int, theirs: int
) -> None:
    client, server = OurSide(server=False, window=ours), H2Side(client=False, window=theirs)
    sizes = cycle(cuts)
    greet(client, server, sizes)
    asked: dict[int, Exchange] = {}
    for exchange in exchanges:
        stream_id = client.connection.open(
            b"POST / HTTP/1.1\r\nHost: a.example\r\n" + lines(exchange.request.fields),
            b"\r\n",
            end=False,
            scheme=b"https",
        )
        asked[stream_id] = exchange
        client.send(stream_id, exchange.request)
        if exchange.cancelled:
            client.connection.reset(stream_id, 8)
    while (there := client.take()) + (back := server.take()):
        for piece in cut(there, sizes):
            for stream_id in server.receive(piece):
                exchange = asked[stream_id]
                if exchange.cancelled:
                    continue
                if exchange.response.interim and not exchange.cancelled:  # h2 takes none on a stream it reset
                    server.connection.send_headers(stream_id, [(b":status", b"103")])
                server.start(stream_id, [(b":status", b"200")], exchange.response)
        for piece in cut(back, sizes):
            client.receive(piece)
    assert client.connection.error is None
    assert client.connection.open_streams == client.connection.kept_bytes == 0
    for stream_id, exchange in asked.items():
        if not exchange.cancelled:
            check(server.received[stream_id], exchange.request)
            check(client.received[stream_id], exchange.response)
            assert len(client.received[stream_id].heads) == 1 + exchange.response.interim


FRAMES = st.lists(
    st.one_of(
        st.builds(
            frames.frame,
            st.integers(0, 10),
            st.sampled_from([0, 1, 4, 5, 8, 0x20, 0x2D, 0xFF]),
            st.integers(0, 9),
            st.binary(max_size=20),
        ),
        st.builds(
            lambda stream_id, end: headers(stream_id, GET, end=end), st.sampled_from([1, 3, 5, 7]), st.booleans()
        ),
        st.builds(frames.window_frame, st.integers(0, 5), st.integers(0, 2**31 - 1)),
        st.builds(lambda size: frames.settings_frame({4: size}), st.integers(0, 2**31 - 1)),
        st.builds(
            lambda stream_id, size: frames.frame(0, 0, stream_id, bytes(size)), st.integers(1, 5), st.integers(0, 9)
        ),
        st.binary(max_size=30),
    ),
    max_size=20,
)
ACTIONS = st.lists(st.tuples(st.sampled_from("hdtrcgbu"), st.integers(0, 7)), max_size=20)


def act(connection: Http2Connection, what: str, stream_id: int) -> None:
    """Do what an owner may do at any time, be the stream there or not."""
    if what == "h":
        connection.send_head(stream_id, OK, end=stream_id == 5)
    elif what == "d":
        connection.send_data(stream_id, bytes(20000), end=stream_id == 3)
    elif what == "t":
        connection.send_trailers(stream_id, b"a: b\r\n")
    elif what == "r":
        connection.reset(stream_id, stream_id)
    elif what == "c":
        connection.consumed(stream_id, 1)
    elif what == "g":
        connection.goaway(last=bool(stream_id & 1))
    elif what == "b":
        connection.blocked = True
    else:
        connection.unblock()


@settings(deadline=None, max_examples=300)
@given(st.booleans(), FRAMES, ACTIONS)
def test_whatever_arrives_nothing_raises(server: bool, sent: list[bytes], actions: list[tuple[str, int]]) -> None:
    connection = Http2Connection(server=server)
    connection.receive((frames.PREFACE if server else b"") + frames.settings_frame({}))
    if not server:
        for _ in range(3):
            connection.open(b"POST / HTTP/1.1\r\nHost: a\r\n", b"\r\n", end=False, scheme=b"http")
    for at, piece in enumerate(sent):
        connection.receive(piece)
        for what, stream_id in actions[at : at + 1]:
            act(connection, what, stream_id)
        assert connection.kept_bytes == sum(map(connection.kept, range(10))) >= 0
        connection.take()


@settings(deadline=None, max_examples=200)
@given(FRAMES, CUTS)
def test_events_are_the_same_however_the_bytes_are_cut(sent: list[bytes], cuts: list[int]) -> None:
    data = frames.PREFACE + frames.settings_frame({}) + b"".join(sent)
    whole, pieces = Http2Connection(server=True), Http2Connection(server=True)
    events: list[Event] = []
    for piece in cut(data, cycle(cuts)):
        events += pieces.receive(piece)
    assert whole.receive(data) == events
    assert whole.error == pieces.error
    assert whole.take() == pieces.take()
