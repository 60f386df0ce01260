"""Content in pieces reads the same whatever of it is in a file, and when it went there."""

from __future__ import annotations

import asyncio
import os
from io import FileIO
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgewise.proxy.engine import Engine
from edgewise.proxy.pieces import Content, FilePieces
from edgewise.telemetry.ids import IdSource


class Body:
    """A file that takes so many bytes."""

    def __init__(self, room: int) -> None:
        self.data = b""
        self.length = 0
        self._room = room

    def write(self, data: bytes) -> bool:
        """Take all of it or nothing, and nothing more after that."""
        if len(self.data) + len(data) > self._room:
            self._room = 0
            return False
        self.data += data
        self.length = len(self.data)
        return True

    def read(self, start: int, end: int) -> bytes:
        """Return what was written."""
        return self.data[start:end]

    def drop(self) -> None:
        """Take no more."""
        self._room = 0


def read(content: Content, start: int, end: int) -> bytes:
    """Return the bytes there are from `start` to `end`."""
    found = b""
    while start + len(found) < end:
        piece = bytes(content.piece(start + len(found), end))
        if not piece:
            break
        found += piece
    return found


@given(
    pieces=st.lists(st.binary(min_size=1, max_size=9), max_size=12),
    moves=st.integers(0, 12),
    room=st.integers(0, 80),
    start=st.integers(0, 60),
    size=st.integers(0, 60),
)
def test_what_came_is_read_whatever_a_file_took_of_it(
    pieces: list[bytes], moves: int, room: int, start: int, size: int
) -> None:
    content, body, whole = Content(), Body(room), b"".join(pieces)
    taken = True
    for number, piece in enumerate(pieces):
        if number == moves:
            taken = content.move(body)
        taken = content.add(piece) and taken
    assert content.size == len(whole)
    assert read(content, start, start + size) == whole[start : start + size]
    assert whole.startswith(body.data)
    if moves < len(pieces):
        assert taken == (body.data == whole)


def test_what_a_file_did_not_take_stays_in_memory_until_everybody_has_it() -> None:
    content = Content()
    content.add(b"01234")
    assert content.move(cast(Any, Body(7)))
    assert not content.add(b"56789")
    assert not content.add(b"abc"), "it does not begin anew"
    assert read(content, 0, 13) == b"0123456789abc"
    content.drop(10)
    assert read(content, 10, 13) == b"abc"
    assert read(content, 0, 5) == b"01234"


def pieces_of(path: Path, loop: asyncio.AbstractEventLoop, told: list[int]) -> FilePieces:
    """Return the content of a file as a client's engine reads it."""
    engine = Engine(loop, IdSource())
    return FilePieces(FileIO(path), path.stat().st_size, engine, lambda: told.append(1))


def test_what_the_page_cache_does_not_have_is_read_by_a_thread_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "content"
    path.write_bytes(b"0123456789" * 1000)
    real, cold = os.preadv, [True]

    def preadv(*arguments: Any) -> int:
        if cold and cold.pop():
            raise BlockingIOError
        return real(*arguments)

    monkeypatch.setattr(os, "preadv", preadv)

    async def run() -> None:
        told: list[int] = []
        pieces = pieces_of(path, asyncio.get_running_loop(), told)
        assert bytes(pieces.piece(10, 20)) == b""
        while not told:
            await asyncio.sleep(0.001)
        assert bytes(pieces.piece(10, 20)) == b"0123456789"

    asyncio.run(asyncio.wait_for(run(), 15))


def test_a_file_that_ends_before_its_content_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "content"
    path.write_bytes(b"0123456789")
    loop = asyncio.new_event_loop()
    pieces = pieces_of(path, loop, [])
    loop.close()
    path.write_bytes(b"01234")
    assert bytes(pieces.piece(0, 10)) == b"01234"
    with pytest.raises(OSError, match="ends before"):
        pieces.piece(5, 10)
