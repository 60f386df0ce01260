"""An exchange by HTTP/1.1 and by HTTP/2, to servers of either: the origin is asked and the client told the same."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from support.http2_origin import Http2Origin, Stream
from support.http2_raw import END_HEADERS, END_STREAM, HEADERS, Http2Client, frame
from support.in_process import InProcessEngine
from support.origin import Origin, OriginConnection
from support.raw_http import RawResponse, field_value

Fields = list[tuple[str, str]]
HOP_BY_HOP = frozenset(("connection", "keep-alive", "transfer-encoding", "te", "x-hop"))
VARYING = frozenset(("date", "x-request-id", "traceparent", "via", "x-forwarded-host", "host"))


@dataclass(frozen=True)
class Message:
    """A request or a response but for its start."""

    fields: tuple[tuple[str, str], ...]
    body: bytes
    framing: str
    """none, length, or unknown: chunks, with which trailers may come."""
    trailers: tuple[tuple[str, str], ...]

    @property
    def http1(self) -> bytes:
        """Field lines, the empty line and the content."""
        lines = "".join(f"{name}: {value}\r\n" for name, value in self.fields).encode()
        if self.framing == "none":
            return lines + b"\r\n"
        if self.framing == "length":
            return lines + b"Content-Length: %d\r\n\r\n" % len(self.body) + self.body
        chunks = b"%x\r\n%b\r\n" % (len(self.body), self.body) if self.body else b""
        end = "".join(f"{name}: {value}\r\n" for name, value in self.trailers).encode()
        return lines + b"Transfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\n" + end + b"\r\n"

    @property
    def http2(self) -> Fields:
        """The fields that HTTP/2 has of them."""
        length = [("content-length", str(len(self.body)))] if self.framing == "length" else []
        return [(name.lower(), value) for name, value in self.fields if name.lower() not in HOP_BY_HOP] + length


@dataclass(frozen=True)
class Exchange:
    """What is asked and what is answered."""

    method: str
    target: str
    request: Message
    status: int
    response: Message

    @property
    def bodiless(self) -> bool:
        """Has the answer no content, whatever its fields say?"""
        return self.method == "HEAD" or self.status in (204, 304)


def messages(names: list[tuple[str, str]], framings: list[str]) -> st.SearchStrategy[Message]:
    """Generate messages with some of these fields."""

    def build(fields: list[tuple[str, str]], body: bytes, framing: str, trailers: bool) -> Message:
        content = b"" if framing == "none" else body
        return Message(tuple(fields), content, framing, (("x-sum", "1"),) if trailers and framing == "unknown" else ())

    sizes = st.one_of(st.binary(max_size=50), st.integers(0, 40000).map(bytes))
    return st.builds(
        build, st.lists(st.sampled_from(names), unique=True), sizes, st.sampled_from(framings), st.booleans()
    )


ASKED = [("A", "b"), ("Cookie", "c=d; e=f"), ("X-Forwarded-For", "6.6.6.6"), ("User-Agent", "x"), ("Accept", "*/*")]
TOLD = [("Server", "s"), ("Set-Cookie", "a=1"), ("Set-Cookie", "b=2"), ("Cache-Control", "no-store"), ("X-Hop", "1"),
        ("Connection", "X-Hop")]  # fmt: skip
EXCHANGES = st.builds(
    Exchange,
    st.sampled_from(["GET", "POST", "PUT", "HEAD", "DELETE", "PATCH"]),
    st.from_regex(r"/[a-z0-9~./]{0,12}(\?[a-z=&]{0,8})?", fullmatch=True),
    messages(ASKED, ["none", "length", "unknown"]),
    st.sampled_from([200, 201, 204, 301, 304, 404, 500]),
    messages(TOLD, ["length", "unknown"]),
)


@dataclass
class Seen:
    """A message as the other end understood it."""

    start: tuple[str, ...]
    fields: Fields
    body: bytes
    trailers: Fields

    @property
    def equivalent(self) -> tuple[object, ...]:
        """What must be the same however it came."""
        kept = [(name.lower(), value) for name, value in self.fields]
        dropped = HOP_BY_HOP | VARYING
        if not self.body:  # whether nothing is said to be nothing
            dropped |= {"content-length"}
        fields = sorted(field for field in kept if field[0] not in dropped and field[0][:1] != ":")
        return self.start, fields, self.body, [(name.lower(), value) for name, value in self.trailers]


class Site:
    """An engine before two origins, one of each version; both answer what `exchange` says."""

    def __init__(self, log: Path) -> None:
        self.exchange: Exchange | None = None
        self.received: list[Seen] = []
        self.http1, self.http2 = Origin(self.answer_http1), Http2Origin(self.answer_http2)
        self.engine = InProcessEngine(
            f'[upstreams.one]\nservers = ["{self.http1.address}"]\n'
            f'[upstreams.two]\nservers = ["{self.http2.address}"]\nprotocol = "h2c"\n'
            '[[routes]]\nhost = "one.test"\nupstream = "one"\n[[routes]]\nhost = "two.test"\nupstream = "two"\n',
            log,
        )

    def answer_http1(self, connection: OriginConnection) -> None:
        """Note a request and answer it."""
        while True:
            head = connection.read_head()
            chunked = field_value(head, b"transfer-encoding") == b"chunked"
            body, framed = connection.reader.chunked() if chunked else (connection.read_body(head), b"")
            method, target = head.decode().split(" ")[:2]
            trailers = lines(framed.rpartition(b"\r\n0\r\n")[2]) if body else lines(framed[3:])
            self.received.append(Seen((method, target), lines(head.partition(b"\r\n")[2]), body, trailers))
            assert self.exchange is not None
            answer = b"HTTP/1.1 %d X\r\n" % self.exchange.status + self.exchange.response.http1
            connection.send(answer.partition(b"\r\n\r\n")[0] + b"\r\n\r\n" if self.exchange.bodiless else answer)

    def answer_http2(self, stream: Stream) -> None:
        """Note a request and answer it."""
        body = stream.read()
        self.received.append(Seen((stream.get(":method") or "", stream.path), stream.fields, body, stream.trailers))
        assert self.exchange is not None
        response, bodiless = self.exchange.response, self.exchange.bodiless
        trailers = () if bodiless else response.trailers
        content = b"" if bodiless else response.body
        stream.head(self.exchange.status, *response.http2, end=not content and not trailers)
        if content:
            stream.send(content, end=not trailers)
        if trailers:
            stream.end(*trailers)

    def run(self, exchange: Exchange, host: str, *, http2: bool) -> tuple[object, object]:
        """Carry out an exchange; return the equivalents of what the origin and what the client got."""
        self.exchange, self.received[:] = exchange, []
        told = self.ask_http2(exchange, host) if http2 else self.ask_http1(exchange, host)
        (asked,) = self.received
        return asked.equivalent, told.equivalent

    def ask_http1(self, exchange: Exchange, host: str) -> Seen:
        """Ask by HTTP/1.1."""
        start = f"{exchange.method} {exchange.target} HTTP/1.1\r\nHost: {host}\r\n".encode()
        with self.engine.client() as client:
            reply: RawResponse = client.ask(start + exchange.request.http1, head_request=exchange.method == "HEAD")
        chunked = reply.get("transfer-encoding") == "chunked"
        end = reply.raw_body.rpartition(b"\r\n0\r\n")[2] if reply.body else reply.raw_body[3:]
        fields = lines(reply.head.partition(b"\r\n")[2])
        return Seen((str(reply.status),), fields, reply.body, lines(end) if chunked else [])

    def ask_http2(self, exchange: Exchange, host: str) -> Seen:
        """Ask by HTTP/2."""
        request = exchange.request
        pseudo = [(":method", exchange.method), (":scheme", "http"), (":authority", host), (":path", exchange.target)]
        with Http2Client(("127.0.0.1", self.engine.port)) as client:
            whole = not request.body and not request.trailers
            stream = client.request([*pseudo, *request.http2], end=whole)
            if request.body:
                client.send_content(stream, request.body, end=not request.trailers)
            if request.trailers:
                block = client.encoder.encode(list(request.trailers))
                client.send(frame(HEADERS, END_HEADERS | END_STREAM, stream, block))
            reply = client.answer(stream)
            assert reply.reset is None, client.story()
        return Seen((str(reply.status),), reply.fields, reply.body, reply.trailers)

    def stop(self) -> None:
        """Stop everything; no script may have failed."""
        self.engine.stop()
        self.http1.stop()
        self.http2.stop()
        assert not self.http1.errors + self.http2.errors


def lines(data: bytes) -> Fields:
    """Return the fields of lines that end with an empty one."""
    pairs = [line.partition(":") for line in data.decode().split("\r\n") if line]
    return [(name, value.strip(" ")) for name, _, value in pairs]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    site = Site(tmp_path_factory.mktemp("versions") / "access.log")
    yield site
    site.stop()


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(exchange=EXCHANGES)
def test_every_pair_of_versions_carries_the_same_exchange(site: Site, exchange: Exchange) -> None:
    first = site.run(exchange, "one.test", http2=False)
    for host, http2 in (("one.test", True), ("two.test", False), ("two.test", True)):
        assert site.run(exchange, host, http2=http2) == first, (host, http2)
