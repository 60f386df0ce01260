from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgewise.http.head import Field
from edgewise.protocols.trace_context import (
    TRACESTATE_LIMIT,
    parse_traceparent,
    parse_tracestate,
    trace_context,
)

TRACE = b"4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = b"00f067aa0ba902b7"
GOOD = b"00-" + TRACE + b"-" + PARENT + b"-01"


def field(name: bytes, value: bytes) -> Field:
    return Field(name, value, name + b": " + value + b"\r\n")


def test_a_sound_traceparent_gives_its_trace_id_and_flags() -> None:
    assert parse_traceparent(GOOD) == (TRACE.decode(), "01")


@pytest.mark.parametrize(
    "value",
    [
        b"",
        GOOD[:-1],
        GOOD + b"-",
        GOOD + b"0",
        GOOD + b"\n",
        b" " + GOOD,
        GOOD.upper(),
        b"ff" + GOOD[2:],
        b"00-" + b"0" * 32 + b"-" + PARENT + b"-01",
        b"00-" + TRACE + b"-" + b"0" * 16 + b"-01",
        GOOD.replace(b"-", b"_"),
        b"00-" + TRACE[:-1] + b"-0" + PARENT + b"-01",
        b"0x-" + TRACE + b"-" + PARENT + b"-01",
        b"01-" + TRACE + b"-" + PARENT + b"-01x",
    ],
)
def test_anything_else_is_ignored(value: bytes) -> None:
    assert parse_traceparent(value) is None


def test_of_a_later_version_what_is_known_is_kept() -> None:
    assert parse_traceparent(b"cc-" + TRACE + b"-" + PARENT + b"-ff-what the future brings") == (TRACE.decode(), "01")
    assert parse_traceparent(b"cc-" + TRACE + b"-" + PARENT + b"-02") == (TRACE.decode(), "00")


@given(st.binary(max_size=60))
def test_parsing_never_fails(value: bytes) -> None:
    parsed = parse_traceparent(value)
    assert parsed is None or (len(parsed[0]), len(parsed[1])) == (32, 2)


def test_several_tracestate_fields_are_one_list() -> None:
    assert parse_tracestate([b"rojo=00f067aa , congo=t61rcWkgMzE", b"", b"a@b=1"]) == (
        b"rojo=00f067aa,congo=t61rcWkgMzE,a@b=1"
    )


@pytest.mark.parametrize(
    "value",
    [
        b"rojo",
        b"rojo=",
        b"=1",
        b"Rojo=1",
        b"a=1,a=2",
        b"a=b=c",
        b"a=\x00",
        b"a=\xff",
        b"a=1\r\nx: y",
        b"a" * 257 + b"=1",
        b"a=" + b"x" * 257,
        b",".join(b"k%d=1" % number for number in range(33)),
    ],
)
def test_a_malformed_tracestate_is_dropped_as_a_whole(value: bytes) -> None:
    assert parse_tracestate([value]) == b""


def test_a_long_tracestate_loses_long_members_first_and_then_the_last() -> None:
    long = b"long=" + b"x" * 200
    short = [b"k%02d=" % number + b"y" * 40 for number in range(15)]
    kept = parse_tracestate([b",".join([long, *short])])
    assert len(kept) <= TRACESTATE_LIMIT
    assert kept == b",".join(short[: kept.count(b",") + 1])
    assert len(kept) + len(short[0]) + 1 > TRACESTATE_LIMIT


def test_tracestate_goes_where_traceparent_is_bad_missing_or_doubled() -> None:
    state, parent = field(b"tracestate", b"a=1"), field(b"traceparent", GOOD)
    assert trace_context([state, parent]) == ((TRACE.decode(), "01"), b"a=1")
    assert trace_context([state]) == (None, b"")
    assert trace_context([parent, state, parent]) == (None, b"")
    assert trace_context([state, field(b"traceparent", b"00-bad")]) == (None, b"")
    assert trace_context([parent]) == ((TRACE.decode(), "01"), b"")
