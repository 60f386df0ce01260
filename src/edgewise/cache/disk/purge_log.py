"""The purges that a cache directory outlives: numbered, and kept in its file `purges` before anybody heeds them.

The file is a magic and records, each with its length and CRC-32: first how things stood when it was written, then what
came since. It is written anew where that is much, in one step. A process that is killed loses nothing, since the kernel
has what was written; a machine that stops may lose the end, so after another start of it (told by the kernel's boot id)
all that is stored is to be validated. Where the file is missing or damaged, nothing that is stored is used.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from struct import Struct
from time import monotonic, time
from zlib import crc32

import msgspec

from edgewise.cache.purges import Kind, Mark, Purge, Purges
from edgewise.cache.tags import tag_id

log = logging.getLogger("edgewise.cache")
NAME = "purges"
MOST_SPARE = 1_048_576
"""Bytes of records that need not be there any more, beyond as many as do; then the file is written anew."""
_MAGIC = b"EWP\x01"
_FRAME = Struct("<II")
_GAP = 1 << 24
"""More than the purges that a machine that stopped can have lost: their numbers are not used again."""
_LEAST_ROOM = 1024
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_QUIET = 60.0
"""Seconds between two words about a disk that takes nothing."""


class Damaged(ValueError):
    """The file is not what was written."""


class _Begun(msgspec.Struct, array_like=True, tag="begun"):
    """How things stood when the file was written."""

    boot: str
    epoch: int
    floor: int
    rules: list[bytes]


class _Purged(msgspec.Struct, array_like=True, tag="purged"):
    """One purge (`cache.purges.Mark`)."""

    number: int
    kind: str
    value: bytes
    soft_at: float | None


class _Heard(msgspec.Struct, array_like=True, tag="heard"):
    """How far purges of other nodes were heard, at which engine and in which of its histories."""

    engine: str
    cursor: int
    history: str


class _Ended(msgspec.Struct, array_like=True, tag="ended"):
    """All is on the disk itself, and nothing was purged since."""


_Record = _Begun | _Purged | _Heard | _Ended
_ENCODER = msgspec.msgpack.Encoder()
_DECODER: msgspec.msgpack.Decoder[_Record] = msgspec.msgpack.Decoder(_Record)


class PurgeLog:
    """Numbers purges and keeps them. Of one process, which has the directory for itself."""

    def __init__(self, directory: Path, boot: str | None = None) -> None:
        """Read what is there and write it anew. `boot` names this run of the machine. Raises OSError."""
        self._path = directory / NAME
        self._boot = boot_id() if boot is None else boot
        self._file = -1
        self._size = 0
        self._compact = 0
        """Bytes of the file when it was written."""
        self._complained = -_QUIET
        self._rules: list[bytes] | None = None
        """None: nothing that is stored is used."""
        self._heard: tuple[str, int, str] | None = None
        self.purges = Purges()
        """What is to be heeded of all that was purged."""
        self._load()
        self._write()

    def _load(self) -> None:
        boot, ended = "", False
        try:
            for record in _read(self._path.read_bytes()):
                ended = isinstance(record, _Ended)
                if isinstance(record, _Begun):
                    boot = record.boot
                self._take(record)
        except FileNotFoundError:
            self._begin_anew()
        except Damaged as error:
            log.warning("the cache's list of purges is damaged, so nothing is used that was stored: %s", error)
            self._begin_anew()
        else:
            if not ended and (not boot or boot != self._boot):
                log.warning(
                    "the machine stopped while edgewise ran: what is cached on disk is validated before its use"
                )
                self.purges.apply(Purge(Kind.ALL, soft=True), time(), self._unused())

    def _take(self, record: _Record) -> None:
        match record:
            case _Begun():
                self.purges.forget(record.floor)
                self.purges.epoch = record.epoch
                self._rules = record.rules
            case _Purged():
                self.purges.restore(Mark(record.number, Kind(record.kind), record.value, record.soft_at))
            case _Heard():
                self._heard = record.engine, record.cursor, record.history

    def _begin_anew(self) -> None:
        """Have nothing be used that is stored now."""
        self.purges.forget(self._unused())
        self._rules, self._heard = None, None

    def _unused(self) -> int:
        """Return a number above all that can have been used, also where they are not known: by the clock."""
        return max(self.purges.epoch + _GAP, int(time() * 1_000_000))

    # ---- purging -----------------------------------------------------------------------------------------------------

    def add(self, orders: Sequence[Sequence[Purge]]) -> tuple[list[Mark], bool]:
        """Number purges, those of an order alike, and keep them.

        Returns them, and whether that is sure: False where the disk neither takes them nor lets go of the file, so that
        with the next start what they concern may be found again.
        """
        now, marks = time(), []
        for number, order in enumerate(orders, self.purges.epoch + 1):
            marks += [_mark(purge, number, now) for purge in order]
        for mark in marks:
            self.purges.restore(mark)
        return marks, self._append([_Purged(mark.number, mark.kind, mark.value, mark.soft_at) for mark in marks])

    @property
    def full(self) -> bool:
        """Is there next to no room for further purges, so that some have to be forgotten now?"""
        return self.purges.room < _LEAST_ROOM and self.purges.crowded

    def forget(self, epoch: int) -> None:
        """Forget the purges up to `epoch`, for good: what was not compared with them is not used any more."""
        self.purges.forget(epoch)
        self._renew()

    def obeys(self, rules: Iterable[bytes]) -> bool:
        """Note by which rules purges of URLs are read from now on, each named by a digest.

        False where one is new: earlier purges were not read by it, though something may be stored by it.
        """
        before, self._rules = self._rules, sorted(rules)
        if before != self._rules:
            self._renew()
        return before is None or set(self._rules) <= set(before)

    # ---- other nodes -------------------------------------------------------------------------------------------------

    def heard(self, engine: str, cursor: int, history: str) -> None:
        """Keep how far purges of other nodes were heard: they were added before."""
        if self._heard != (engine, cursor, history):
            self._heard = engine, cursor, history
            self._append([_Heard(engine, cursor, history)])

    def heard_of(self, engine: str) -> tuple[int, str] | None:
        """Return how far purges were heard at this engine, in which history; None where that is not known."""
        return self._heard[1:] if self._heard is not None and self._heard[0] == engine else None

    # ---- the file ----------------------------------------------------------------------------------------------------

    def _append(self, records: Sequence[_Record]) -> bool:
        """Write records to the end; False where the next start would read the file without them."""
        data = b"".join(map(_framed, records))
        if self._file < 0 or self._size + len(data) > 2 * self._compact + MOST_SPARE or self._unlinked():
            return self._renew()
        try:
            if os.write(self._file, data) < len(data):
                raise OSError("the disk is full")
        except OSError as error:
            return self._lose(error)
        self._size += len(data)
        return True

    def _unlinked(self) -> bool:
        """Did somebody remove the file, with the directory perhaps?"""
        return os.fstat(self._file).st_nlink == 0

    def _renew(self) -> bool:
        """Write the file anew; False where it can be neither written nor removed."""
        try:
            self._write()
        except OSError as error:
            return self._lose(error)
        return True

    def _lose(self, error: OSError) -> bool:
        """Remove a file that lacks something: without it nothing is used that is stored now."""
        if monotonic() - self._complained >= _QUIET:
            self._complained = monotonic()
            log.error("purges cannot be kept: after the next start the cache on disk is not used: %s", error)
        self.release()
        try:
            self._path.unlink(missing_ok=True)
        except OSError:
            return False
        return True

    def _write(self) -> None:
        """Write all that counts as a new file, in one step and for good. Raises OSError."""
        data = b"".join((_MAGIC, *map(_framed, self._records())))
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        temporary = self._path.with_suffix(".tmp")
        file = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            if os.write(file, data) < len(data):
                raise OSError("the disk is full")
            os.fsync(file)
            os.replace(temporary, self._path)
            _sync(self._path.parent)
        except BaseException:
            os.close(file)
            with suppress(OSError):
                temporary.unlink()
            raise
        self.release()
        self._file, self._size, self._compact = file, len(data), len(data)

    def _records(self) -> Iterator[_Record]:
        yield _Begun(self._boot, self.purges.epoch, self.purges.floor, self._rules or [])
        for number, kind, value, soft_at in self.purges.marks():
            yield _Purged(number, kind, value, soft_at)
        if self._heard is not None:
            yield _Heard(*self._heard)

    def end(self) -> None:
        """Note that nothing will be purged any more, once nobody is left who could: a machine may stop from then on."""
        if self._file >= 0 and self._append([_Ended()]) and self._file >= 0:
            with suppress(OSError):
                os.fsync(self._file)
        self.release()

    def release(self) -> None:
        """Close the file; in a fork, that of this process only."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


def boot_id() -> str:
    """Return what names this run of the machine; "" where it is not known."""
    try:
        return _BOOT_ID.read_text().strip()
    except OSError:
        return ""


def _mark(purge: Purge, number: int, now: float) -> Mark:
    value = tag_id(purge.value) if purge.kind == Kind.TAG else purge.value
    return Mark(number, purge.kind, value, now if purge.soft else None)


def _framed(record: _Record) -> bytes:
    packed = _ENCODER.encode(record)
    return _FRAME.pack(len(packed), crc32(packed)) + packed


def _read(data: bytes) -> Iterator[_Record]:
    """Yield the records of a file, of which the first is _Begun. Raises Damaged."""
    if not data.startswith(_MAGIC):
        raise Damaged("of another format")
    place, first = len(_MAGIC), True
    while place < len(data) or first:
        if len(data) - place < _FRAME.size:
            raise Damaged("cut off")
        length, crc = _FRAME.unpack_from(data, place)
        place += _FRAME.size
        packed = data[place : place + length]
        if len(packed) < length or crc32(packed) != crc:
            raise Damaged("cut off, or changed")
        try:
            record = _DECODER.decode(packed)
            if isinstance(record, _Purged):
                Kind(record.kind)
        except (msgspec.MsgspecError, ValueError) as error:
            raise Damaged(str(error)) from None
        if isinstance(record, _Begun) != first:
            raise Damaged("in another order")
        yield record
        place, first = place + length, False


def _sync(directory: Path) -> None:
    """Have a directory's names be on the disk itself. Raises OSError."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
