"""Frame boundaries are known however the stream is cut, and a close frame is what RFC 6455 says it is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.frames import Close, Frame, Opcode
from websockets.streams import StreamReader

from edgewise.protocols.websocket import FrameBoundaries, close_frame

SIZES = (0, 1, 125, 126, 127, 65535, 65536, 70000)


def frame(size: int = 5, *, masked: bool = True, opcode: Opcode = Opcode.BINARY, final: bool = True) -> bytes:
    return Frame(opcode, b"\x88" * size, fin=final).serialize(mask=masked)


def fed(*pieces: bytes) -> FrameBoundaries:
    boundaries = FrameBoundaries()
    for piece in pieces:
        boundaries.feed(piece)
    return boundaries


def test_a_frame_fits_in_where_nothing_was_sent() -> None:
    assert FrameBoundaries().between()


@pytest.mark.parametrize("masked", [True, False], ids=["masked", "unmasked"])
@pytest.mark.parametrize("size", SIZES)
def test_a_frame_fits_in_behind_a_whole_frame_and_not_within_it(size: int, masked: bool) -> None:
    data = frame(size, masked=masked)
    assert fed(data).between()
    assert not fed(data + data[:1]).between()
    for cut in {1, 2, 3, len(data) // 2, len(data) - 1} & set(range(1, len(data))):
        assert not fed(data[:cut]).between(), cut
        assert fed(data[:cut], data[cut:]).between(), cut


def test_a_frame_fits_in_within_a_fragmented_message() -> None:
    assert fed(frame(final=False), frame(opcode=Opcode.CONT, final=False)).between()


@pytest.mark.parametrize("before", [b"", frame(300), frame()], ids=["alone", "behind a long one", "behind a short one"])
def test_nothing_follows_a_close_frame(before: bytes) -> None:
    boundaries = fed(before + frame(2, opcode=Opcode.CLOSE))
    assert boundaries.closed
    assert not boundaries.between()


def test_a_payload_that_looks_like_a_close_frame_is_payload() -> None:
    assert not fed(frame(200)[:50], frame(200)[50:]).closed


@given(
    sizes=st.lists(st.tuples(st.sampled_from(SIZES) | st.integers(0, 300), st.booleans()), max_size=8),
    cuts=st.lists(st.integers(1, 200_000), max_size=12),
)
def test_boundaries_do_not_depend_on_how_the_stream_is_cut(sizes: list[tuple[int, bool]], cuts: list[int]) -> None:
    frames = [frame(size, masked=masked) for size, masked in sizes]
    data = b"".join(frames)
    ends = {0}
    for one in frames:
        ends.add(max(ends) + len(one))
    boundaries, at = FrameBoundaries(), 0
    for cut in [*cuts, len(data)]:
        boundaries.feed(data[at : at + cut])
        at = min(len(data), at + cut)
        assert boundaries.between() == (at in ends)


@given(st.lists(st.binary(max_size=30)))
def test_any_bytes_can_be_followed(pieces: list[bytes]) -> None:
    fed(*pieces).between()


@pytest.mark.parametrize("masked", [True, False], ids=["to a server", "to a client"])
def test_a_close_frame_carries_its_code(masked: bool) -> None:
    reader = StreamReader()
    data = close_frame(1001, masked=masked)
    reader.feed_data(data)
    parsed = Frame.parse(reader.read_exact, mask=masked)
    with pytest.raises(StopIteration) as done:
        next(parsed)
    assert (done.value.value.opcode, done.value.value.data) == (Opcode.CLOSE, Close(1001, "").serialize())
    assert fed(data).closed
