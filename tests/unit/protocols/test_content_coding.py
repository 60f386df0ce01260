"""Content codings: whatever the pieces, what is decoded is what was encoded; what is flushed can be decoded at once."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Any

import brotli
import pytest
from backports import zstd
from hypothesis import given
from hypothesis import strategies as st

from edgewise.protocols.content_coding import LEVELS, make_encoder

CODINGS = (b"br", b"zstd", b"gzip")


def decoder(coding: bytes) -> Callable[[bytes], bytes]:
    """Return what decodes piece by piece."""
    if coding == b"gzip":
        return zlib.decompressobj(31).decompress
    made: Any = brotli.Decompressor().process if coding == b"br" else zstd.ZstdDecompressor().decompress
    return made  # type: ignore[no-any-return]


@given(
    st.sampled_from(CODINGS), st.lists(st.binary(max_size=200)), st.binary(max_size=50), st.booleans(), st.booleans()
)
def test_pieces_come_out_as_they_went_in(
    coding: bytes, pieces: list[bytes], last: bytes, flush: bool, known: bool
) -> None:
    length = sum(map(len, pieces)) + len(last) if known else -1
    encoder, decode = make_encoder(coding, LEVELS[coding][1], length), decoder(coding)
    got = b""
    for number, piece in enumerate(pieces, 1):
        coded = encoder.encode(piece, flush=flush)
        got += decode(coded) if coded else b""
        if flush:
            assert got == b"".join(pieces[:number])
    assert got + decode(encoder.finish(last)) == b"".join(pieces) + last


@pytest.mark.parametrize("coding", CODINGS)
def test_every_level_works(coding: bytes) -> None:
    lowest, default, highest = LEVELS[coding]
    content = b"some content, " * 1000
    for level in {lowest, default, highest}:
        encoder = make_encoder(coding, level, -1)
        coded = encoder.encode(content, flush=False) + encoder.finish(b"")
        assert decoder(coding)(coded) == content
        assert len(coded) < len(content) or not level


@pytest.mark.parametrize("coding", CODINGS)
def test_nothing_at_all_is_coded_too(coding: bytes) -> None:
    assert decoder(coding)(make_encoder(coding, LEVELS[coding][1], 0).finish(b"")) == b""
