"""Content codings of RFC 9110 section 8.4.1, piece by piece: gzip (RFC 1952), br (RFC 7932), zstd (RFC 8878)."""

from __future__ import annotations

import zlib
from importlib import import_module
from typing import Any, Protocol

LEVELS = {b"br": (0, 3, 11), b"zstd": (1, 3, 19), b"gzip": (1, 4, 9)}
"""Lowest, default and highest level of each coding. Levels of zstd above need more memory than browsers give
(RFC 9659)."""
_LARGEST_WINDOW = 19
"""Binary logarithm of the window: 512 KiB. What an encoder takes of memory follows from it."""
_SMALLEST_WINDOW = 10


class Encoder(Protocol):
    """Encodes the content of one message."""

    def encode(self, data: bytes, *, flush: bool) -> bytes:
        """Return what is ready; with `flush`, all of `data` can be decoded from what was returned so far."""

    def finish(self, data: bytes) -> bytes:
        """Return what is left, the end of the coding with it."""


class Gzip:
    """RFC 1952."""

    def __init__(self, level: int) -> None:
        self._made = zlib.compressobj(level, zlib.DEFLATED, 31)

    def encode(self, data: bytes, *, flush: bool) -> bytes:
        """Return what is ready."""
        made = self._made.compress(data)
        return made + self._made.flush(zlib.Z_SYNC_FLUSH) if flush else made

    def finish(self, data: bytes) -> bytes:
        """Return what is left."""
        return self._made.compress(data) + self._made.flush()


class Brotli:
    """RFC 7932, by Google's library. Raises ImportError where it is not installed."""

    def __init__(self, level: int, window: int) -> None:
        self._made: Any = import_module("brotli").Compressor(quality=level, lgwin=window)

    def encode(self, data: bytes, *, flush: bool) -> bytes:
        """Return what is ready."""
        made: bytes = self._made.process(data)
        if flush:
            made += self._made.flush()
        return made

    def finish(self, data: bytes) -> bytes:
        """Return what is left."""
        made: bytes = self._made.process(data)
        made += self._made.finish()
        return made


class Zstandard:
    """RFC 8878, by Python's own library or its backport. Raises ImportError where neither is there."""

    def __init__(self, level: int, window: int) -> None:
        library = _zstd()
        options = {
            library.CompressionParameter.compression_level: level,
            library.CompressionParameter.window_log: window,
        }
        self._made: Any = library.ZstdCompressor(options=options)

    def encode(self, data: bytes, *, flush: bool) -> bytes:
        """Return what is ready."""
        made: bytes = self._made.compress(data, self._made.FLUSH_BLOCK if flush else self._made.CONTINUE)
        return made

    def finish(self, data: bytes) -> bytes:
        """Return what is left."""
        made: bytes = self._made.compress(data, self._made.FLUSH_FRAME)
        return made


def make_encoder(coding: bytes, level: int, length: int) -> Encoder:
    """Return an encoder for content of `length` bytes, less than 0 where that is not known.

    Raises ImportError where the library for the coding is not installed.
    """
    window = min(_LARGEST_WINDOW, max(_SMALLEST_WINDOW, length.bit_length())) if length >= 0 else _LARGEST_WINDOW
    if coding == b"br":
        return Brotli(level, window)
    if coding == b"zstd":
        return Zstandard(level, window)
    return Gzip(level)


def _zstd() -> Any:
    try:
        return import_module("compression.zstd")
    except ImportError:
        return import_module("backports.zstd")
