"""An upstream server that speaks HTTP/2 (PyPI `h2`) by script: each request runs in a thread of its own."""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.exceptions
import h2.settings

from support.http2_raw import GOAWAY, frame
from support.raw_http import PATIENCE

Fields = list[tuple[str, str]]


class Gone(Exception):
    """The stream or its connection is no more."""


class Stream:
    """One request, and what the script answers."""

    def __init__(self, connection: Http2OriginConnection, number: int, fields: Fields) -> None:
        self.connection = connection
        self.number = number
        self.fields = fields
        self.content = bytearray()
        """What has arrived of the content."""
        self.trailers: Fields = []
        self.ended = False
        """The request is whole."""
        self.reset: int | None = None
        """The code of the client's RST_STREAM."""

    def get(self, name: str) -> str | None:
        """Return the first value of a field or pseudo-field."""
        return next((value for key, value in self.fields if key == name), None)

    @property
    def path(self) -> str:
        """The request's :path."""
        return self.get(":path") or ""

    def read(self) -> bytes:
        """Wait for the whole request and return its content."""
        self.wait(lambda: self.ended)
        return bytes(self.content)

    def wait(self, condition: Callable[[], object]) -> None:
        """Wait until something arrived that makes the condition hold; raises Gone where it never will."""
        with self.connection.changed:
            if not self.connection.changed.wait_for(lambda: condition() or self._gone, PATIENCE):
                raise AssertionError(f"waited in vain for more of stream {self.number}")
            if not condition():
                raise Gone

    @property
    def _gone(self) -> bool:
        return self.connection.closed or self.reset is not None

    def head(self, status: int, *fields: tuple[str, str], end: bool = False) -> None:
        """Send a head."""
        with self.connection.speaking() as h2c:
            h2c.send_headers(self.number, [(":status", str(status)), *fields], end_stream=end)

    def send(self, content: bytes, *, end: bool = False) -> None:
        """Send content as the windows allow; an empty one with `end` ends the stream."""
        at = 0
        while at < len(content):
            self.wait(lambda: self._window() > 0)
            with self.connection.speaking() as h2c:
                room = max(0, min(len(content) - at, self._window(), h2c.max_outbound_frame_size))
                h2c.send_data(self.number, content[at : at + room], end_stream=end and at + room == len(content))
                at += room
        if end and not content:
            with self.connection.speaking() as h2c:
                h2c.send_data(self.number, b"", end_stream=True)

    def _window(self) -> int:
        try:
            return self.connection.h2.local_flow_control_window(self.number)
        except h2.exceptions.ProtocolError:
            raise Gone from None

    def end(self, *trailers: tuple[str, str]) -> None:
        """End the answer, with trailers where there are any."""
        if not trailers:
            self.send(b"", end=True)
            return
        with self.connection.speaking() as h2c:
            h2c.send_headers(self.number, list(trailers), end_stream=True)

    def answer(self, status: int = 200, content: bytes = b"ok", *fields: tuple[str, str]) -> None:
        """Send a whole answer with its length."""
        self.head(status, ("content-length", str(len(content))), *fields, end=not content)
        if content:
            self.send(content, end=True)

    def cancel(self, code: int) -> None:
        """Send RST_STREAM."""
        with self.connection.speaking() as h2c:
            h2c.reset_stream(self.number, code)


class Http2OriginConnection:
    """One connection edgewise made."""

    def __init__(self, origin: Http2Origin, sock: socket.socket, index: int) -> None:
        self.origin = origin
        self.sock = sock
        self.index = index
        self.changed = threading.Condition(threading.RLock())
        self.streams: dict[int, Stream] = {}
        self.closed = False
        self.goaway: int | None = None
        """The code of edgewise's GOAWAY."""
        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False, header_encoding="utf-8"))
        codes = h2.settings.SettingCodes
        initial = {codes.MAX_CONCURRENT_STREAMS: origin.max_streams, codes.INITIAL_WINDOW_SIZE: origin.window}
        self.h2.local_settings = h2.settings.Settings(client=False, initial_values=initial)

    @contextlib.contextmanager
    def speaking(self) -> Iterator[h2.connection.H2Connection]:
        """Give the codec to say something; raises Gone where it cannot be said any more."""
        with self.changed:
            try:
                yield self.h2
                self.sock.sendall(self.h2.data_to_send())
            except (h2.exceptions.ProtocolError, OSError):
                raise Gone from None

    def send(self, data: bytes) -> None:
        """Send exactly these bytes."""
        with self.changed, contextlib.suppress(OSError):
            self.sock.sendall(data)

    def leave(self, last: int, code: int = 0) -> None:
        """Send GOAWAY that names the last stream which is looked at."""
        self.send(frame(GOAWAY, payload=struct.pack(">LL", last, code)))

    def close(self) -> None:
        """Close the connection, so that the peer sees its end."""
        with contextlib.suppress(OSError):
            self.sock.shutdown(socket.SHUT_RDWR)
        self.sock.close()

    def serve(self) -> None:
        """Read until the peer leaves."""
        with contextlib.suppress(Gone), self.speaking() as h2c:
            h2c.initiate_connection()
        try:
            while data := self.sock.recv(65536):
                with contextlib.suppress(Gone), self.speaking() as h2c:
                    for event in h2c.receive_data(data):
                        self._take(event)
                    self.changed.notify_all()
        except OSError:
            pass
        with self.changed:
            self.closed = True
            self.changed.notify_all()
        self.close()

    def _take(self, event: h2.events.Event) -> None:
        if isinstance(event, h2.events.RequestReceived):
            assert event.headers is not None
            assert event.stream_id is not None
            stream = Stream(self, event.stream_id, [(str(name), str(value)) for name, value in event.headers])
            self.streams[event.stream_id] = stream
            self.origin.begin(stream)
        elif isinstance(event, h2.events.ConnectionTerminated):
            self.goaway = int(event.error_code or 0)
        elif getattr(event, "stream_id", None) in self.streams:
            self._take_on_stream(self.streams[event.stream_id], event)  # type: ignore[attr-defined]

    def _take_on_stream(self, stream: Stream, event: h2.events.Event) -> None:
        if isinstance(event, h2.events.DataReceived):
            stream.content += event.data or b""
            if self.origin.gives_window:
                self.h2.acknowledge_received_data(event.flow_controlled_length or 0, stream.number)
        elif isinstance(event, h2.events.TrailersReceived):
            stream.trailers = [(str(name), str(value)) for name, value in event.headers or []]
        elif isinstance(event, h2.events.StreamEnded):
            stream.ended = True
        elif isinstance(event, h2.events.StreamReset):
            stream.reset = int(event.error_code or 0)


def hello(stream: Stream) -> None:
    """Read the request and answer with a word."""
    stream.read()
    stream.answer()


Script = Callable[[Stream], None]


class Http2Origin:
    """A listening origin; with TLS it agrees to what `tls` offers by ALPN, h2 by default."""

    def __init__(
        self,
        script: Script = hello,
        *,
        tls: ssl.SSLContext | None = None,
        max_streams: int = 100,
        window: int = 65535,
        port: int = 0,
    ) -> None:
        self.script = script
        self.max_streams = max_streams
        self.window = window
        self.gives_window = True
        """Content that arrived is taken off the window again."""
        self.tls = tls
        self.listener = socket.create_server(("127.0.0.1", port))
        self.port: int = self.listener.getsockname()[1]
        self.address = f"127.0.0.1:{self.port}"
        self.connections: list[Http2OriginConnection] = []
        self.streams: list[Stream] = []
        """Every request, in order."""
        self.errors: list[BaseException] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock: socket.socket) -> None:
        try:
            if self.tls:
                sock = self.tls.wrap_socket(sock, server_side=True)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except OSError:
            sock.close()
            return
        connection = Http2OriginConnection(self, sock, len(self.connections))
        self.connections.append(connection)
        connection.serve()

    def begin(self, stream: Stream) -> None:
        """Run the script for a request that arrived."""
        self.streams.append(stream)
        threading.Thread(target=self._run, args=(stream,), daemon=True).start()

    def _run(self, stream: Stream) -> None:
        try:
            self.script(stream)
        except Gone:
            pass
        except BaseException as error:
            self.errors.append(error)

    def stop(self) -> None:
        """Stop listening and close every connection."""
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        for connection in list(self.connections):
            connection.close()
