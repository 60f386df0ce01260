"""A request that never waits and one that waits at every step go through the same steps: same bytes, same answer."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from support.in_process import InProcessEngine
from support.origin import Origin
from support.raw_http import RawResponse
from support.smuggling import without_own_fields

LINES = {
    "straight": "",
    "at-once": 'filters = ["support.idle_filters:at_once"]',
    "later": 'filters = ["support.idle_filters:later"]',
    "both-ways": 'filters = ["support.idle_filters:later", "support.idle_filters:BothWays"]',
    "buffered": "buffer_request = true",
}
VARYING = (b"date:", b"x-request-id:")


@dataclass(frozen=True)
class Sent:
    """A request without its Host, and where its bytes are cut in two."""

    head: bytes
    body: bytes
    cut: int

    def pieces(self, line: str) -> tuple[bytes, bytes]:
        """Return the request for a line in two pieces."""
        first, rest = self.head.split(b"\r\n", 1)
        data = first + b"\r\nHost: " + line.encode() + b".test\r\n" + rest + b"\r\n" + self.body
        cut = self.cut % len(data)
        return data[:cut], data[cut:]


@st.composite
def requests(draw: st.DrawFn) -> Sent:
    """Generate requests of every framing."""
    method = draw(st.sampled_from([b"GET", b"POST", b"PUT", b"HEAD", b"DELETE"]))
    target = draw(st.from_regex(rb"/[a-z0-9~%41./]{0,12}(\?[a-z=&]{0,8})?", fullmatch=True))
    target = target.replace(b"%", b"%41")
    lines = draw(st.lists(st.sampled_from([b"A: b", b"Cookie: c=d", b"Connection: x-a", b"X-A: 1", b"TE: trailers"])))
    body = draw(st.binary(max_size=200))
    framing = draw(st.sampled_from(["none", "length", "chunked"]))
    if framing == "length":
        lines = [*lines, b"Content-Length: %d" % len(body)]
    elif framing == "chunked":
        lines = [*lines, b"Transfer-Encoding: chunked"]
        body = (b"%x;x\r\n%b\r\n" % (len(body), body) if body else b"") + b"0\r\n\r\n"
    else:
        body = b""
    head = method + b" " + target + b" HTTP/1.1\r\n" + b"".join(line + b"\r\n" for line in lines)
    return Sent(head, body, draw(st.integers(0, 1000)))


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[InProcessEngine, Origin]]:
    origin = Origin()
    toml = f'[upstreams.app]\nservers = ["{origin.address}"]\n'
    for line, options in LINES.items():
        toml += f'[[routes]]\nhost = "{line}.test"\nupstream = "app"\n{options}\n'
    engine = InProcessEngine(toml, tmp_path_factory.mktemp("twins") / "access.log")
    yield engine, origin
    engine.stop()
    origin.stop()


def exchange(engine: InProcessEngine, origin: Origin, sent: Sent, line: str) -> tuple[bytes, list[bytes], bytes]:
    """Send a request down a line; return what the origin received and what the client got, names of hosts removed."""
    before = len(origin.requests)
    with engine.client() as client:
        for piece in sent.pieces(line):
            client.send(piece)
        reply = client.read(head_request=sent.head.startswith(b"HEAD"))
    received = [without_own_fields(request).replace(line.encode() + b".test", b"HOST") for request in origin.requests]
    return lasting(reply), [joined_chunks(request) for request in received[before:]], reply.body


def lasting(reply: RawResponse) -> bytes:
    """Return an answer's head without what differs from one to the next."""
    return b"\r\n".join(line for line in reply.head.split(b"\r\n") if not line.lower().startswith(VARYING))


def joined_chunks(request: bytes) -> bytes:
    """Return a request with its chunks joined: where content is cut into chunks is no part of the message."""
    head, mark, body = request.partition(b"\r\n\r\n")
    if b"transfer-encoding: chunked" not in head.lower():
        return request
    content = b""
    while not body.startswith(b"0\r\n"):
        size, _, rest = body.partition(b"\r\n")
        content += rest[: int(size, 16)]
        body = rest[int(size, 16) + 2 :]
    return head + mark + content + b"|" + body


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(sent=requests())
def test_every_line_forwards_the_same_bytes_and_gives_the_same_answer(
    site: tuple[InProcessEngine, Origin], sent: Sent
) -> None:
    straight = exchange(*site, sent, "straight")
    assert len(straight[1]) == 1
    for line in LINES:
        assert exchange(*site, sent, line) == straight, line
