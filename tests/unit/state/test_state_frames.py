"""Frames between the embedded engine's clients and its writer."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgewise.state.sqlite import wire

REQUESTS = [
    wire.Set(1, "keys", "k", b"v", None, None),
    wire.Touch(2, "k", 5),
    wire.Delete(3, "blobs", "k", 7),
    wire.Add(4, "n", -1, 1000),
    wire.Publish(5, "t", b""),
    wire.Acquire(6, "l", "me", 1000),
    wire.Renew(7, "l", 3, 1000),
    wire.Release(8, "l", 3),
]


@given(st.lists(st.integers(1, 400), max_size=20))
def test_frames_cut_anywhere_are_put_together(cuts: list[int]) -> None:
    data = wire.frame(REQUESTS[:3]) + wire.frame(REQUESTS[3:]) + wire.frame([])
    frames, found = wire.Frames(), []
    for cut in cuts:
        found += frames.feed(data[:cut])
        data = data[cut:]
    found += frames.feed(data)
    assert [request for body in found for request in wire.requests(body)] == REQUESTS


def test_a_frame_that_is_too_long_is_refused_by_its_length_alone() -> None:
    with pytest.raises(wire.FrameError):
        wire.Frames().feed(wire.LENGTH.pack(wire.MOST_FRAME + 1))


@given(st.binary(max_size=60))
def test_what_is_no_request_is_an_error_and_nothing_else(body: bytes) -> None:
    try:
        requests = wire.requests(body)
    except msgspec.MsgspecError:
        return
    assert all(isinstance(request, wire.Request) for request in requests)
