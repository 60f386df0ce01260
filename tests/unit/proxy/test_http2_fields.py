"""A request's own fields are the same in a header block as in the lines that servers of HTTP/1 get."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from edgewise.config import parse
from edgewise.contracts.exchange import Exchange
from edgewise.protocols.hpack import Decoder
from edgewise.protocols.http2_heads import lines_block
from edgewise.proxy import grpc, lifecycle
from edgewise.proxy.http2_fields import own_block
from edgewise.proxy.plans import Plans
from edgewise.router import build

TABLE = build(parse('[upstreams.a]\nservers = ["127.0.0.1:1"]\nprotocol = "h2c"\n[[routes]]\nupstream = "a"\n'))
CLIENT = SimpleNamespace(
    suffix="X-Forwarded-For: ::1\r\nX-Forwarded-Proto: https\r\n\r\n",
    peer=("::1", 5),
    tls=True,
    engine=SimpleNamespace(span_id=lambda: "0123456789abcdef"),
)
TRACE = "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n"


@pytest.mark.parametrize("attempt", [1, 2])
@pytest.mark.parametrize("trusted", [False, True])
@pytest.mark.parametrize("lines", ["", TRACE, "x-forwarded-for: 1.2.3.4\r\n", "x-forwarded-proto: http\r\n"])
def test_the_block_says_what_the_lines_say(lines: str, trusted: bool, attempt: int) -> None:
    plans = Plans(TABLE, scheme=b"https", trusted=trusted, http2=True)
    plan = plans.find(f"GET / HTTP/2.0\r\nHost: a\r\n{lines}\r\n".encode())
    exchange = Exchange(CLIENT, plan, 0.0, "c075db9ef8fefb88b835773784fc782e")
    exchange.attempts = attempt
    expected = Decoder().decode(lines_block(lifecycle.own_lines(exchange)[:-2]))
    assert Decoder().decode(own_block(exchange)) == expected
    assert [name for name, _ in expected[:2]] == [b"x-request-id", b"traceparent"]


def test_a_call_s_deadline_goes_along(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grpc, "monotonic", lambda: 2.0)
    plans = Plans(TABLE, scheme=b"https", trusted=False, http2=True)
    plan = plans.find(b"POST / HTTP/2.0\r\nHost: a\r\ncontent-type: application/grpc\r\n\r\n")
    exchange = Exchange(CLIENT, plan, 1.0, "c075db9ef8fefb88b835773784fc782e")
    assert plan.grpc is not None
    exchange.attempts = 1
    exchange.grpc = grpc.Call(exchange, plan.grpc)
    assert b"grpc-timeout" not in dict(Decoder().decode(own_block(exchange)))
    exchange.client = SimpleNamespace(**vars(CLIENT))
    exchange.client.engine = SimpleNamespace(loop=SimpleNamespace(call_later=lambda *_: None))
    exchange.grpc.expire_in(5.0)
    expected = Decoder().decode(lines_block(lifecycle.own_lines(exchange)[:-2]))
    assert Decoder().decode(own_block(exchange)) == expected
    assert expected[0] == (b"grpc-timeout", b"4000000u")
