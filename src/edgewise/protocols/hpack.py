"""HPACK: header compression for HTTP/2 (RFC 7541).

A browser's 16 fields decode in 20 us as a connection's first block and in 7 as a later one, where the `hpack` package
takes 245 and 57 (one run on one shared machine; `_LITERALS` warm, path and cookie new).
"""

from __future__ import annotations

from collections.abc import Iterable

from edgewise.protocols.hpack_huffman import decode_huffman, encode_huffman
from edgewise.protocols.hpack_tables import STATIC
from edgewise.protocols.http1_fields import NEVER_KEPT
from edgewise.protocols.memo import Memo

NO_TABLE = b"\x20"
"""To begin a connection's first block with: a size update to 0. Nothing encoded here uses the dynamic table, and a peer
that was told so awaits no update when it lowers its limit (RFC 7541 section 4.2)."""

OVERHEAD = 32
"""Bytes that a field counts for beside its name and value (RFC 7541 section 4.1)."""
_DYNAMIC = len(STATIC) + 1
"""Index of the newest entry of the dynamic table (RFC 7541 section 2.3.3)."""
_FAR = 3
"""Times the limit by which a list may be over it before the whole connection is given up."""
_MOST_SHIFTED = 28
"""Four bytes beyond the prefix: far more than any length or index that can be meant."""

Entry = tuple[tuple[bytes, bytes], int]
"""A field and its size."""


class HpackError(Exception):
    """The block cannot be decoded: a connection error COMPRESSION_ERROR (RFC 9113 section 4.3)."""


class TooManyFields(Exception):
    """The fields exceed the limit. The block was decoded to its end, so the connection may go on."""


def _entry(name: bytes, value: bytes) -> Entry:
    return (name, value), len(name) + len(value) + OVERHEAD


_STATIC_ENTRIES = [_entry(*field) for field in ((b"", b""), *STATIC)]
"""Entries by index. That of index 0, which means none, is never looked at."""


class Decoder:
    """Decodes the header blocks of one direction of a connection, in their order.

    `table_size` is the dynamic table's limit and first size in bytes; keep the default until the peer has acknowledged
    another (`set_limit`). A block's fields may come to `max_list_bytes`, counted as name, value and 32 each.
    """

    __slots__ = (
        "_capacity", "_limit", "_max_fields", "_max_list_bytes", "_table", "_used", "changed", "independent",
        "inserted", "never_indexed",
    )  # fmt: skip

    def __init__(self, table_size: int = 4096, *, max_list_bytes: int = 65536, max_fields: int = 200) -> None:
        self._limit = table_size
        self._capacity = table_size
        self._max_list_bytes = max_list_bytes
        self._max_fields = max_fields
        self._table = _STATIC_ENTRIES.copy()
        self._used = 0
        self.changed = False
        """Did the last block change the dynamic table?"""
        self.independent = True
        """Did the last block read nothing of the dynamic table? Then it means the same on every connection."""
        self.inserted: list[Entry] = []
        """What the last block added to the dynamic table, in its order."""
        self.never_indexed = False
        """Did the last block hold a field that must not be kept (RFC 7541 section 7.1.3)?"""

    def set_limit(self, size: int) -> None:
        """Take the table size that the peer has acknowledged.

        If it is lower than before, the next block has to begin with a size update (RFC 7541 section 4.2).
        """
        self._limit = size

    def decode(self, block: bytes) -> list[tuple[bytes, bytes]]:
        """Return the fields of a whole header block.

        Raises HpackError, after which the decoder is of no use, and TooManyFields. What exceeds `max_list_bytes` is not
        held, however small the block that expands to it; decoding a block that goes on and on is not worth its time.
        """
        self.changed = False
        self.independent = True
        self.inserted = []
        self.never_indexed = False
        fields: list[tuple[bytes, bytes]] = []
        room = self._max_list_bytes
        far = -_FAR * room
        table = self._table
        remembered = _LITERALS.get
        end = len(block)
        try:
            at = self._update_size(block)
            while at < end:
                first = block[at]
                if first > 0x80:
                    index = first & 0x7F
                    at += 1
                    if index == 0x7F:
                        index, at = _decode_integer(block, at, 0x7F)
                    if index >= _DYNAMIC:
                        self.independent = False
                    field, size = table[index]
                else:
                    # Lengths of one byte are guessed. No literal begins another, so what equals one is that one.
                    value = at + 1
                    if first == 0x40 or first == 0:
                        value += 1 + (block[value] & 0x7F)
                    elif first == 0x0F:
                        value += 1
                    after = value + 1 + (block[value] & 0x7F)
                    entry = remembered(block[at:after])
                    if entry is None:
                        entry, after = self._decode_literal(block, at, first)
                    if first >= 0x40:
                        self.inserted.append(entry)
                        self._insert(entry)
                    at = after
                    field, size = entry
                room -= size
                if room >= 0:
                    fields.append(field)
                elif room < far:
                    raise HpackError("fields far over the limit")
        except IndexError:
            raise HpackError("header block cut short, or index beyond the table") from None
        # A field counts at least 32 bytes, so until here the size alone bounds the list.
        if room < 0 or len(fields) > self._max_fields:
            raise TooManyFields
        return fields

    def _decode_literal(self, block: bytes, at: int, first: int) -> tuple[Entry, int]:
        """Decode the literal field that begins with the byte `first` and return where it ends (section 6.2)."""
        index, value = _name_index(block, at)
        if first & 0xF0 == 0x10:
            self.never_indexed = True
        elif index not in _NOT_KEPT and index < _DYNAMIC:
            end = _string_end(block, value if index else _string_end(block, value))
            return _LITERALS[block[at:end]], end
        if index >= _DYNAMIC:
            self.independent = False
        if index:
            name = self._table[index][0][0]
        else:
            name, value = _decode_string(block, value)
        text, end = _decode_string(block, value)
        return _entry(name, text), end

    def _insert(self, entry: Entry) -> None:
        """Insert at the front and evict at the end; an entry larger than the table empties it (section 4.4)."""
        self._table.insert(_DYNAMIC, entry)
        self._used += entry[1]
        if self._used > self._capacity:
            self._evict()
        self.changed = True

    def insert_again(self, entries: tuple[Entry, ...]) -> None:
        """Do to the dynamic table what a block does that is known, and so not decoded again."""
        self._table[_DYNAMIC:_DYNAMIC] = entries[::-1]
        self._used += sum([size for _, size in entries])
        if self._used > self._capacity:
            self._evict()

    def _evict(self) -> None:
        while self._used > self._capacity:
            self._used -= self._table.pop()[1]

    def _update_size(self, block: bytes) -> int:
        """Apply the size updates that `block` begins with and return where its fields begin (section 6.3)."""
        at = 0
        while block[at : at + 1] and block[at] & 0xE0 == 0x20:
            size = block[at] & 0x1F
            at += 1
            if size == 0x1F:
                size, at = _decode_integer(block, at, 0x1F)
            if size > self._limit:
                raise HpackError("table size above the limit")
            self._capacity = size
            self._evict()
            self.changed = True
            self.independent = False
        if self._capacity > self._limit:
            raise HpackError("no size update although the limit was lowered")
        return at


def _decode_integer(block: bytes, at: int, value: int) -> tuple[int, int]:
    """Decode what follows a prefix full of ones, which is `value`, and return where it ends (RFC 7541 section 5.1)."""
    for shift in range(0, _MOST_SHIFTED, 7):
        byte = block[at]
        at += 1
        value += (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise HpackError("integer too long")


def _name_index(block: bytes, at: int) -> tuple[int, int]:
    """Return the index of the name of the literal field at `at` and what follows it (RFC 7541 section 6.2)."""
    first = block[at]
    if first >= 0x40:
        mask = 0x3F
    elif first < 0x20:
        mask = 0x0F
    else:
        raise HpackError("size update after the beginning of a header block")
    index = first & mask
    if index == mask:
        return _decode_integer(block, at + 1, mask)
    if first == 0x80:
        raise HpackError("index 0")
    return index, at + 1


def _string_end(block: bytes, at: int) -> int:
    """Return where the string at `at` ends (RFC 7541 section 5.2)."""
    length = block[at] & 0x7F
    at += 1
    if length == 0x7F:
        length, at = _decode_integer(block, at, 0x7F)
    if at + length > len(block):
        raise HpackError("string ends after its header block")
    return at + length


def _decode_string(block: bytes, at: int) -> tuple[bytes, int]:
    """Decode the string at `at` and return where it ends."""
    first = block[at]
    at += 1
    length = first & 0x7F
    if length == 0x7F:
        length, at = _decode_integer(block, at, 0x7F)
    end = at + length
    if end > len(block):
        raise HpackError("string ends after its header block")
    if first < 0x80:
        return block[at:end], end
    try:
        return decode_huffman(block[at:end]), end
    except ValueError as error:
        raise HpackError(str(error)) from None


def _decode_static_literal(literal: bytes) -> Entry:
    """Decode a literal field whose name is its own or in the static table: a pure function of its bytes."""
    index, at = _name_index(literal, 0)
    if index:
        name = STATIC[index - 1][0]
    else:
        name, at = _decode_string(literal, at)
    return _entry(name, _decode_string(literal, at)[0])


_SELDOM_REPEATED = NEVER_KEPT | {b":path"}
_NOT_KEPT = frozenset(index for index, (name, _) in enumerate(STATIC, 1) if name in _SELDOM_REPEATED)
"""Indices of names whose values it is vain, or wrong, to look for in `_LITERALS`."""


def _may_be_kept(entry: Entry) -> bool:
    return entry[0][0].lower() not in _SELDOM_REPEATED


_LITERALS: Memo[Entry] = Memo(_decode_static_literal, entries=1024, longest=256, keep=_may_be_kept)
"""Literal field -> its field. What browsers send is mostly the same, and all connections share one copy of it."""


def encode(fields: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Return a header block that needs no dynamic table, as small as that allows: for blocks that are remembered."""
    return b"".join([_INDEXED.get(field) or _PREFIXES[field[0]] + _encode_string(field[1]) for field in fields])


def encode_literal(name: bytes, value: bytes) -> bytes:
    """Return one field without Huffman coding, which costs more than it saves where a value is sent but once."""
    size = len(value)
    if size < 0x7F:
        return b"%b%c%b" % (_PREFIXES[name], size, value)
    return _PREFIXES[name] + _encode_integer(size, 0x7F, 0) + value


def literal_start(name: bytes, size: int) -> bytes:
    """Return what `encode_literal` puts before a value of `size` bytes: for values that are always as long."""
    return _PREFIXES[name] + _encode_integer(size, 0x7F, 0)


def _encode_integer(value: int, mask: int, flags: int) -> bytes:
    """Return `value` with a prefix of the bits in `mask`, in a byte that begins with `flags` (RFC 7541 section 5.1)."""
    if value < mask:
        return bytes((flags | value,))
    encoded = bytearray((flags | mask,))
    value -= mask
    while value >= 0x80:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def _encode_string(text: bytes) -> bytes:
    """Return `text` in the shorter form, with its length (RFC 7541 section 5.2)."""
    coded = encode_huffman(text)
    if len(coded) < len(text):
        return _encode_integer(len(coded), 0x7F, 0x80) + coded
    return _encode_integer(len(text), 0x7F, 0) + text


_SECRETS = frozenset((b"authorization", b"cookie", b"proxy-authorization", b"set-cookie"))
"""Sent as never indexed, so that no intermediary compresses them together with what an attacker chose (section 7.1)."""
_INDEXED = {field: bytes((0x80 | index,)) for index, field in enumerate(STATIC, 1)}
_NAME_INDICES = {name: index for index, (name, _) in reversed(tuple(enumerate(STATIC, 1)))}


def _prefix(name: bytes) -> bytes:
    """Return what a literal field begins with, up to its value (RFC 7541 sections 6.2.2 and 6.2.3)."""
    flags = 0x10 if name in _SECRETS else 0
    index = _NAME_INDICES.get(name, 0)
    return _encode_integer(index, 0x0F, flags) + (b"" if index else _encode_string(name))


_PREFIXES: Memo[bytes] = Memo(_prefix, entries=256, longest=64)
"""Name -> beginning of its literal field."""
