"""Names and content of the files of a cache directory: reading them, and what to write.

    DIRECTORY/v1/abc/HASH           an entry: what is stored under a key, with its content where that is small
    DIRECTORY/v1/abc/HASH.UNIQUE    the content of a large one, named by its entry
    DIRECTORY/v1/abc/*.tmp          a file that is being written

HASH stands for the key, `abc`, its first three digits, is its bucket. An entry is a header, metadata and content. The
header has the CRC-32 of the metadata, and these that of the content or its length, so that whatever is damaged is found
out. Files are renamed into their place and never changed there, but for the stamp in the header of an entry.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from hashlib import blake2b
from pathlib import Path
from struct import Struct
from typing import NamedTuple
from zlib import crc32

import msgspec

from edgewise.cache.stored import Stored
from edgewise.http.head import Field

VERSION = "v1"
"""Directory of this format; another one has another."""
BUCKETS = 4096
INLINE = 262_144
"""Bytes of content that an entry holds itself at most."""
MOST_META = 1_048_576
"""Bytes of metadata at most: fields are bounded by the codec, tags by `tags.MOST_BYTES`."""
ENTRY = re.compile(r"[0-9a-f]{32}")
BODY = re.compile(r"[0-9a-f]{32}\.[0-9a-f]{16}")
TEMPORARY = re.compile(r"[0-9a-f.]{1,64}\.tmp")

_MAGIC = b"EWC\x01"
_FIXED = Struct("<4sII")
"""Magic with the version of the format, CRC-32 of length and metadata, length of the metadata."""
_STAMP = Struct("<Qd")
_CRC = Struct("<I")
_STAMP_AT = _FIXED.size
HEADER = _STAMP_AT + _STAMP.size + _CRC.size
_BLOCK = 4096


class Damaged(ValueError):
    """A file is not what it should be: cut off, changed, of another format."""


class Metadata(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """What an entry holds beside stamp and content. Instants are seconds since the epoch; see `Stored`."""

    key: bytes
    """The key that the entry is found by."""
    url: bytes = b""
    tags: bytes = b""
    primary: bytes = b""
    vary: tuple[bytes, ...] = ()
    status: int = 0
    """0: there is no answer here, but under the keys of `variants`."""
    reason: bytes = b""
    lines: bytes = b""
    length: int = 0
    """Bytes of content."""
    slice: int = 0
    file: str = ""
    """Name of the file that holds the content; "": it follows, if there is any."""
    content_crc: int = 0
    """CRC-32 of content that follows."""
    received: float = 0.0
    date: float = 0.0
    born: float = 0.0
    stale_while_revalidate: float = 0.0
    stale_if_error: float = 0.0
    stale_on_disconnect: float = 0.0
    no_cache: bool = False
    strict: bool = False
    forbids_stale: bool = False
    immutable: bool = False
    tagged: bool = False
    names: tuple[tuple[bytes, ...], ...] = ()
    """What answers under this key vary on, the latest first."""
    variants: tuple[bytes, ...] = ()
    """Keys of variants, the oldest first."""

    @property
    def inline(self) -> int:
        """Bytes of content that follow."""
        return 0 if self.file or self.slice else self.length


class Head(NamedTuple):
    """An entry without its content."""

    epoch: int
    """The last purge that it was compared with; at first, the last one heeded before its request went out."""
    fresh_until: float
    """As the purges up to then left it."""
    metadata: Metadata


_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(Metadata)


# ---- names -----------------------------------------------------------------------------------------------------------


def hash_of(key: bytes) -> str:
    """Return the name of a key's entry."""
    return blake2b(key, digest_size=16).hexdigest()


def bucket_of(name: str) -> int:
    """Return the bucket of a file, 0 to BUCKETS - 1. Raises ValueError where it has none."""
    return int(name[:3], 16)


def bucket_path(directory: Path, bucket: int) -> Path:
    """Return the directory of a bucket; it is there once something was written into it."""
    return directory / VERSION / f"{bucket:03x}"


def files(directory: Path, bucket: int) -> Iterator[os.DirEntry[str]]:
    """Return the files of a bucket, of every kind, in no order; none where nothing was written into it."""
    try:
        with os.scandir(bucket_path(directory, bucket)) as found:
            yield from found
    except FileNotFoundError:
        return


def on_disk(size: int) -> int:
    """Return the bytes of disk that a file of `size` bytes is taken to occupy."""
    return -(-size // _BLOCK) * _BLOCK


# ---- entries ---------------------------------------------------------------------------------------------------------


def encode(head: Head) -> bytes:
    """Return an entry without the content that follows. Raises ValueError where its metadata are too long."""
    packed = _ENCODER.encode(head.metadata)
    if len(packed) > MOST_META:
        raise ValueError("more metadata than an entry may have")
    crc = crc32(packed, crc32(_CRC.pack(len(packed))))
    return _FIXED.pack(_MAGIC, crc, len(packed)) + _stamp(head.epoch, head.fresh_until) + packed


def _stamp(epoch: int, fresh_until: float) -> bytes:
    packed = _STAMP.pack(epoch, fresh_until)
    return packed + _CRC.pack(crc32(packed))


def restamp(descriptor: int, epoch: int, fresh_until: float) -> None:
    """Note in an entry that is open for writing that it was compared with all purges up to `epoch`.

    A reader that comes in between may take it for damaged. Raises OSError.
    """
    os.pwrite(descriptor, _stamp(epoch, fresh_until), _STAMP_AT)


def decode(data: bytes) -> tuple[Head, int]:
    """Return the head of an entry and where its content begins; `data`: the entry, or its beginning. Raises Damaged."""
    if len(data) < HEADER:
        raise Damaged("cut off")
    magic, crc, length = _FIXED.unpack_from(data)
    if magic != _MAGIC:
        raise Damaged("another format")
    end = HEADER + length
    if length > MOST_META or len(data) < end:
        raise Damaged("cut off")
    view = memoryview(data)
    if crc32(view[HEADER:end], crc32(_CRC.pack(length))) != crc:
        raise Damaged("metadata changed")
    if _CRC.unpack_from(data, HEADER - _CRC.size)[0] != crc32(view[_STAMP_AT : HEADER - _CRC.size]):
        raise Damaged("stamp changed")
    try:
        metadata = _DECODER.decode(view[HEADER:end])
    except (msgspec.MsgspecError, ValueError) as error:
        raise Damaged(str(error)) from None
    if metadata.file and not BODY.fullmatch(metadata.file):
        raise Damaged("no name of a file")
    epoch, fresh_until = _STAMP.unpack_from(data, _STAMP_AT)
    return Head(epoch, fresh_until, metadata), end


def decode_whole(data: bytes) -> tuple[Head, bytes]:
    """Return the head of a whole entry and the content that follows. Raises Damaged."""
    head, start = decode(data)
    content = data[start:]
    if len(content) != head.metadata.inline or crc32(content) != head.metadata.content_crc:
        raise Damaged("content changed, or cut off")
    return head, content


def read_head(path: Path | str) -> Head:
    """Return the head of an entry without reading its content. Raises OSError and Damaged."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return read_head_of(descriptor)
    finally:
        os.close(descriptor)


def read_head_of(descriptor: int) -> Head:
    """Return the head of an entry that was just opened. Raises OSError and Damaged."""
    data = os.read(descriptor, _BLOCK)
    missing = HEADER + _FIXED.unpack_from(data)[2] - len(data) if len(data) >= HEADER else 0
    if 0 < missing <= MOST_META:
        data += os.read(descriptor, missing)
    return decode(data)[0]


# ---- objects ---------------------------------------------------------------------------------------------------------


def describe(stored: Stored, epoch: int) -> Head:
    """Return what an entry says of a stored response that was asked for at `epoch`."""
    return Head(
        epoch,
        stored.fresh_until,
        Metadata(
            key=stored.key,
            url=stored.url,
            tags=stored.tags,
            primary=stored.primary,
            vary=stored.vary,
            status=stored.status,
            reason=stored.reason,
            lines=stored.lines,
            length=stored.length,
            slice=stored.slice,
            file=stored.file,
            content_crc=crc32(stored.body),
            received=stored.received,
            date=stored.date,
            born=stored.born,
            stale_while_revalidate=stored.stale_while_revalidate,
            stale_if_error=stored.stale_if_error,
            stale_on_disconnect=stored.stale_on_disconnect,
            no_cache=stored.no_cache,
            strict=stored.strict,
            forbids_stale=stored.forbids_stale,
            immutable=stored.immutable,
            tagged=stored.tagged,
        ),
    )


def restore(head: Head, content: bytes) -> Stored:
    """Return the stored response that an entry describes; `content`: what follows, b"" where it is of no use."""
    said = head.metadata
    stored = Stored(said.status, said.reason, _fields(said.lines))
    stored.key, stored.primary, stored.url, stored.vary = said.key, said.primary, said.url, said.vary
    stored.tags, stored.slice, stored.file = said.tags, said.slice, said.file
    stored.received, stored.date, stored.born = said.received, said.date, said.born
    stored.fresh_until = head.fresh_until
    stored.stale_while_revalidate = said.stale_while_revalidate
    stored.stale_if_error, stored.stale_on_disconnect = said.stale_if_error, said.stale_on_disconnect
    stored.no_cache, stored.strict = said.no_cache, said.strict
    stored.forbids_stale, stored.immutable, stored.tagged = said.forbids_stale, said.immutable, said.tagged
    stored.body = content
    stored.measure(said.length)
    return stored


def _fields(lines: bytes) -> tuple[Field, ...]:
    """Return the fields of lines as the codec writes them: `Name: value`, each with its line end."""
    found = []
    for line in lines.split(b"\r\n")[:-1]:
        name, _, value = line.partition(b": ")
        found.append(Field(name.lower(), value, line + b"\r\n"))
    return tuple(found)
