"""HPACK: the RFC's examples, what must be refused, what is bounded, and the `hpack` package as the oracle."""

from __future__ import annotations

from contextlib import suppress

import hpack as oracle
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from edgewise.protocols import hpack
from edgewise.protocols.hpack import Decoder, HpackError, TooManyFields, encode, encode_literal
from edgewise.protocols.hpack_huffman import decode_huffman, encode_huffman

Fields = list[tuple[bytes, bytes]]
Marked = list[oracle.HeaderTuple]

UPDATE_TO_0 = b"\x20"
GET = b"\x82"
INDEXING, NOT_INDEXING, NEVER_INDEXING = 0x40, 0x00, 0x10
"""First byte of a literal field with a name of its own (RFC 7541 section 6.2)."""


def _string(text: bytes) -> bytes:
    assert len(text) < 0x7F
    return bytes((len(text),)) + text


def _literal(kind: int, name: bytes, value: bytes) -> bytes:
    return bytes((kind,)) + _string(name) + _string(value)


def _static_huffman(data: bytes) -> bytes:
    """Return a literal field `server` with `data` as its Huffman-coded value."""
    return b"\x0f\x27" + bytes((0x80 | len(data),)) + data


def _request(path: str, authority: str, *more: tuple[str, str], scheme: str = "http") -> list[tuple[str, str]]:
    return [(":method", "GET"), (":scheme", scheme), (":path", path), (":authority", authority), *more]


def _response(status: str, second: str, scheme: str, *more: tuple[str, str]) -> list[tuple[str, str]]:
    date = f"Mon, 21 Oct 2013 20:13:{second} GMT"
    location = f"{scheme}://www.example.com"
    return [(":status", status), ("cache-control", "private"), ("date", date), ("location", location), *more]


REQUESTS = (
    _request("/", "www.example.com"),
    _request("/", "www.example.com", ("cache-control", "no-cache")),
    _request("/index.html", "www.example.com", ("custom-key", "custom-value"), scheme="https"),
)
RESPONSES = (
    _response("302", "21", "https"),
    _response("307", "21", "https"),
    _response(
        "200",
        "22",
        "https",
        ("content-encoding", "gzip"),
        ("set-cookie", "foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1"),
    ),
)
EXAMPLES = {
    "C.3 requests": (
        4096,
        REQUESTS,
        (
            "828684410f7777772e6578616d706c652e636f6d",
            "828684be58086e6f2d6361636865",
            "828785bf400a637573746f6d2d6b65790c637573746f6d2d76616c7565",
        ),
    ),
    "C.4 requests, Huffman": (
        4096,
        REQUESTS,
        (
            "828684418cf1e3c2e5f23a6ba0ab90f4ff",
            "828684be5886a8eb10649cbf",
            "828785bf408825a849e95ba97d7f8925a849e95bb8e8b4bf",
        ),
    ),
    "C.5 responses": (
        256,
        RESPONSES,
        (
            "4803333032580770726976617465611d4d6f6e2c203231204f637420323031332032303a31333a323120474d546e17"
            "68747470733a2f2f7777772e6578616d706c652e636f6d",
            "4803333037c1c0bf",
            "88c1611d4d6f6e2c203231204f637420323031332032303a31333a323220474d54c05a04677a69707738666f6f3d4153"
            "444a4b48514b425a584f5157454f50495541585157454f49553b206d61782d6167653d333630303b2076657273696f6e"
            "3d31",
        ),
    ),
    "C.6 responses, Huffman": (
        256,
        RESPONSES,
        (
            "488264025885aec3771a4b6196d07abe941054d444a8200595040b8166e082a62d1bff6e919d29ad171863c78f0b97c8"
            "e9ae82ae43d3",
            "4883640effc1c0bf",
            "88c16196d07abe941054d444a8200595040b8166e084a62d1bffc05a839bd9ab77ad94e7821dd7f2e6c7b335dfdfcd5b"
            "3960d5af27087f3672c1ab270fb5291f9587316065c003ed4ee5b1063d5007",
        ),
    ),
}
TABLE_SIZES = {
    "C.3 requests": (57, 110, 164),
    "C.4 requests, Huffman": (57, 110, 164),
    "C.5 responses": (222, 222, 215),
    "C.6 responses, Huffman": (222, 222, 215),
}


@pytest.mark.parametrize("name", EXAMPLES)
def test_examples_of_the_rfc_decode_and_leave_a_table_of_the_size_it_says(name: str) -> None:
    size, lists, blocks = EXAMPLES[name]
    decoder = Decoder(size)
    for fields, block, used in zip(lists, blocks, TABLE_SIZES[name], strict=True):
        assert decoder.decode(bytes.fromhex(block)) == [(name.encode(), value.encode()) for name, value in fields]
        assert _table_size(decoder) == used


def _table_size(decoder: Decoder) -> int:
    """Return the bytes the dynamic table holds, found by reading all its entries."""
    fields: Fields = []
    for index in range(62, 127):
        try:
            fields += decoder.decode(bytes((0x80 | index,)))
        except HpackError:
            break
    return sum(len(name) + len(value) + 32 for name, value in fields)


@pytest.mark.parametrize(
    ("block", "field", "changed"),
    [
        ("400a637573746f6d2d6b65790d637573746f6d2d686561646572", (b"custom-key", b"custom-header"), True),
        ("040c2f73616d706c652f70617468", (b":path", b"/sample/path"), False),
        ("100870617373776f726406736563726574", (b"password", b"secret"), False),
        ("82", (b":method", b"GET"), False),
    ],
)
def test_single_fields_of_the_rfc_c_2(block: str, field: tuple[bytes, bytes], changed: bool) -> None:
    decoder = Decoder()
    assert decoder.decode(bytes.fromhex(block)) == [field]
    assert decoder.changed is changed
    assert decoder.never_indexed is (field[0] == b"password")


def test_integers_of_the_rfc_c_1_1337_in_five_bits_is_a_table_size() -> None:
    decoder = Decoder(1337)
    assert decoder.decode(bytes.fromhex("3f9a0a")) == []
    with pytest.raises(HpackError, match="above the limit"):
        decoder.decode(bytes.fromhex("3f9b0a"))


@pytest.mark.parametrize(
    ("block", "reason"),
    [
        (b"\x80", "cut short"),
        (b"\x80\x01a", "index 0"),
        (b"\xc6", "beyond the table"),
        (b"\xbe", "beyond the table"),
        (b"\xff\x00", "beyond the table"),
        (b"\x7e\x01a", "beyond the table"),
        (b"\x7f\x00\x01a", "beyond the table"),
        (b"\x0f\x2f\x01a", "beyond the table"),
        (b"\x1f\x2f\x01a", "beyond the table"),
        (b"\x3f\xe2\x1f", "above the limit"),
        (GET + UPDATE_TO_0, "cut short"),
        (GET + UPDATE_TO_0 + GET * 2, "size update after"),
        (GET + b"\x3f\xe1\x1f", "size update after"),
        (b"\xff\x80\x80\x80\x80\x00", "integer too long"),
        (b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", "integer too long"),
        (b"\x3f\x80\x80\x80\x80\x00", "integer too long"),
        (b"\x00\x7f\xff\xff\xff\xff\x0f" + b"a" * 200, "integer too long"),
        (b"\x00\x01a\x7f\xff\xff\xff\x7f", "string ends after"),
        (b"\xff", "cut short"),
        (b"\xff\x80", "cut short"),
        (b"\x3f", "cut short"),
        (b"\x00", "cut short"),
        (b"\x00\x02a", "cut short"),
        (b"\x00\x01a", "cut short"),
        (b"\x00\x01a\x02b", "string ends after"),
        (b"\x04\x85ab", "string ends after"),
        (_static_huffman(b"\x1f\xff"), "Huffman"),
        (_static_huffman(b"\xff"), "Huffman"),
        (_static_huffman(b"\x18"), "Huffman"),
        (_static_huffman(b"\xff\xff\xff\xff"), "Huffman"),
        (_static_huffman(b"\xff\xff\xff\xfc" + encode_huffman(b"a")), "Huffman"),
    ],
)
def test_what_must_not_be_understood_is_a_compression_error(block: bytes, reason: str) -> None:
    with pytest.raises(HpackError, match=reason):
        Decoder().decode(block)
    with pytest.raises(HpackError):
        Decoder().decode(GET + block)


@pytest.mark.parametrize("name", [b"server", b":path", b"cookie", b"x-new"])
def test_every_block_cut_within_a_field_is_refused_and_no_prefix_decodes_otherwise(name: bytes) -> None:
    block = GET + oracle.Encoder().encode([(name, b"/some-value" * 30)])
    for end in range(2, len(block)):
        with pytest.raises(HpackError):
            Decoder().decode(block[:end])


def test_huffman_padding_is_at_most_seven_bits_of_ones() -> None:
    for text, coded in ((b"", b""), (b"1", b"\x0f"), (b"&", b"\xf8"), (b"ab", b"\x1c\x7f")):
        assert decode_huffman(coded) == text
        with pytest.raises(ValueError, match="padding"):
            decode_huffman(coded + b"\xff")
    for wrong in (b"\x0e", b"\x08", b"\x1c\x7e"):
        with pytest.raises(ValueError, match="padding"):
            decode_huffman(wrong)


def test_the_huffman_code_is_that_of_the_rfc() -> None:
    theirs = oracle.huffman.HuffmanEncoder(
        oracle.huffman_constants.REQUEST_CODES, oracle.huffman_constants.REQUEST_CODES_LENGTH
    )
    for byte in range(256):
        text = bytes((byte,)) * 3
        assert encode_huffman(text) == theirs.encode(text)
        assert decode_huffman(encode_huffman(text)) == text


def test_size_updates_at_the_beginning_evict_and_may_be_two() -> None:
    decoder = Decoder()
    decoder.decode(_literal(INDEXING, b"a", b"b"))
    assert decoder.decode(b"\xbe") == [(b"a", b"b")]
    assert decoder.decode(UPDATE_TO_0 + b"\x3f\xe1\x1f" + GET) == [(b":method", b"GET")]
    with pytest.raises(HpackError, match="beyond the table"):
        decoder.decode(b"\xbe")


def test_a_lowered_limit_must_be_answered_by_a_size_update() -> None:
    decoder = Decoder()
    decoder.set_limit(100)
    with pytest.raises(HpackError, match="no size update"):
        decoder.decode(GET)
    with pytest.raises(HpackError, match="above the limit"):
        decoder.decode(b"\x3f\x46" + GET)
    assert decoder.decode(b"\x3f\x45" + GET) == [(b":method", b"GET")]
    decoder.set_limit(8192)
    assert decoder.decode(b"\x3f\xe1\x3f" + GET) == [(b":method", b"GET")]


def test_an_entry_larger_than_the_table_empties_it() -> None:
    decoder = Decoder(64)
    decoder.decode(_literal(INDEXING, b"a", b"b"))
    assert decoder.decode(_literal(INDEXING, b"a", b"c" * 32)) == [(b"a", b"c" * 32)]
    with pytest.raises(HpackError, match="beyond the table"):
        decoder.decode(b"\xbe")


def test_an_entry_may_take_its_name_from_the_one_it_evicts() -> None:
    decoder = Decoder(64)
    decoder.decode(_literal(INDEXING, b"name", b"v" * 20))
    assert decoder.decode(b"\x7e\x01w") == [(b"name", b"w")]
    assert decoder.decode(b"\xbe") == [(b"name", b"w")]


def test_it_is_known_what_a_block_has_to_do_with_the_table() -> None:
    decoder = Decoder()
    entry = (b"a", b"b"), 34
    for block, independent, changed, inserted in (
        (GET + _literal(NOT_INDEXING, b"a", b"b"), True, False, []),
        (_literal(INDEXING, b"a", b"b"), True, True, [entry]),
        (_literal(INDEXING, b"a", b"b") * 2, True, True, [entry, entry]),
        (_literal(INDEXING, b"a", b"b") + b"\xbe", False, True, [entry]),
        (b"\xbe", False, False, []),
        (b"\x0f\x2f\x01c", False, False, []),
        (b"\x7e\x01b", False, True, [entry]),
        (GET, True, False, []),
        (b"", True, False, []),
        (UPDATE_TO_0, False, True, []),
    ):
        decoder.decode(block)
        assert (decoder.independent, decoder.changed, decoder.inserted) == (independent, changed, inserted), block


@pytest.mark.parametrize("sizes", [[1], [10, 20, 30], [90], [10, 120, 10], [10, 10, 120], [100, 100], [60, 60, 30, 30]])
def test_a_known_block_does_to_the_table_what_decoding_it_does(sizes: list[int]) -> None:
    block = b"".join([_literal(INDEXING, b"%d" % size, b"v" * size) for size in sizes])
    first, again = Decoder(140), Decoder(140)
    for _ in range(3):
        first.decode(block)
        again.insert_again(tuple(first.inserted))
        assert (again._table, again._used) == (first._table, first._used)


def test_never_indexed_is_of_the_last_block_only() -> None:
    decoder = Decoder()
    for block, never in (
        (_literal(NEVER_INDEXING, b"a", b"b"), True),
        (_literal(NOT_INDEXING, b"a", b"b"), False),
        (b"\x17\x01b", True),
        (GET, False),
    ):
        decoder.decode(block)
        assert decoder.never_indexed is never


def test_a_list_over_the_limit_is_decoded_to_its_end_so_that_the_table_stays_in_step() -> None:
    decoder = Decoder(max_list_bytes=100)
    with pytest.raises(TooManyFields):
        decoder.decode(_literal(NOT_INDEXING, b"a", b"x" * 100) + _literal(INDEXING, b"b", b"c"))
    assert decoder.decode(b"\xbe") == [(b"b", b"c")]
    with pytest.raises(HpackError):
        decoder.decode(_literal(NOT_INDEXING, b"a", b"x" * 100) + b"\xc6")


def test_fields_are_counted_with_their_overhead_and_each_crumb_by_itself() -> None:
    crumb = _literal(NOT_INDEXING, b"cookie", b"a=b")
    assert len(Decoder(max_list_bytes=3 * 41).decode(crumb * 3)) == 3
    with pytest.raises(TooManyFields):
        Decoder(max_list_bytes=3 * 41 - 1).decode(crumb * 3)
    assert len(Decoder(max_fields=3).decode(GET * 3)) == 3
    with pytest.raises(TooManyFields):
        Decoder(max_fields=3).decode(GET * 4)


def test_a_decompression_bomb_stops_costing_memory_at_the_limit() -> None:
    decoder = Decoder(max_list_bytes=65536, max_fields=10**9)
    decoder.decode(b"\x40\x01a\x7f\xa1\x1e" + b"x" * 4000)
    with pytest.raises(TooManyFields):
        decoder.decode(b"\xbe" * 64)
    assert len(decoder.decode(b"\xbe" * 16)) == 16


def test_a_decompression_bomb_stops_costing_time_at_four_times_the_limit() -> None:
    decoder = Decoder(max_list_bytes=65536)
    decoder.decode(b"\x40\x01a\x7f\xa1\x1e" + b"x" * 4000)
    with pytest.raises(HpackError, match="far over the limit"):
        decoder.decode(b"\xbe" * 66)


SECRETS = ("authorization", "cookie", "proxy-authorization", "set-cookie", "x-api-key", "Cookie")


@pytest.mark.parametrize("huffman", [False, True])
@pytest.mark.parametrize("name", SECRETS)
def test_no_secret_is_remembered(name: str, huffman: bool) -> None:
    hpack._LITERALS.forget()
    fields = [(name, "s3cret-of-mine"), ("x-kept", "kept-value")]
    sensitive = [oracle.NeverIndexedHeaderTuple("x-sensitive", "s3cret-of-mine")]
    decoder = Decoder()
    for block in (oracle.Encoder().encode(fields, huffman=huffman), oracle.Encoder().encode(sensitive, huffman)):
        decoder.decode(block)
        decoder.decode(_literal(NOT_INDEXING, name.encode(), b"s3cret-of-mine"))
    [(kept, _)] = [hpack._LITERALS[key][0] for key in hpack._LITERALS.remembered()]
    assert kept == b"x-kept"


def test_paths_are_not_remembered() -> None:
    hpack._LITERALS.forget()
    Decoder().decode(encode([(b":path", b"/a?token=b")]) + encode_literal(b":path", b"/c"))
    assert not hpack._LITERALS.remembered()


def test_memory_of_literals_is_bounded_in_entries_and_bytes() -> None:
    hpack._LITERALS.forget()
    decoder = Decoder(max_list_bytes=1 << 20)
    for number in range(3000):
        decoder.decode(_literal(NOT_INDEXING, b"a", b"%d" % number))
    decoder.decode(encode_literal(b"a", b"x" * 1000))
    keys = hpack._LITERALS.remembered()
    assert len(keys) <= 2048
    assert max(map(len, keys)) < 256


def test_what_repeats_is_one_object_for_all_connections() -> None:
    block = _literal(INDEXING, b"user-agent", b"browser")
    (name, value), (same_name, same_value) = (Decoder().decode(block)[0] for _ in range(2))
    assert name is same_name
    assert value is same_value


def test_static_fields_are_encoded_in_one_byte_and_secrets_as_never_indexed() -> None:
    assert encode([(b":status", b"200"), (b":method", b"GET")]) == b"\x88\x82"
    assert encode([(b":path", b"/x"), (b"x", b"Z|~")]) == b"\x04\x02/x" + b"\x00\x01x\x03Z|~"
    assert encode([(b"server", b"aaaaaaaa")]) == b"\x0f\x27\x85" + encode_huffman(b"aaaaaaaa")
    for name in (b"authorization", b"cookie", b"proxy-authorization", b"set-cookie"):
        for block in (encode([(name, b"v")]), encode_literal(name, b"v")):
            assert block[0] & 0xF0 == NEVER_INDEXING
            decoder = Decoder()
            assert decoder.decode(block) == [(name, b"v")]
            assert decoder.never_indexed


def test_a_peer_told_that_no_table_is_used_awaits_no_update() -> None:
    decoder = oracle.Decoder()
    assert decoder.decode(hpack.NO_TABLE + GET, raw=True) == [(b":method", b"GET")]
    decoder.max_allowed_table_size = 0
    assert decoder.decode(GET, raw=True) == [(b":method", b"GET")]


NAMES = st.one_of(
    st.sampled_from([b":path", b":method", b"cookie", b"accept", b"server", b"x-a", b"x" * 130]),
    st.binary(min_size=1, max_size=12),
)
VALUES = st.one_of(
    st.sampled_from([b"", b"GET", b"/", b"gzip, deflate", b"y" * 126, b"y" * 127, b"y" * 128, b"z" * 400]),
    st.binary(max_size=60),
)
FIELDS = st.lists(st.tuples(NAMES, VALUES), max_size=12)


@settings(deadline=None)
@given(FIELDS)
def test_what_we_encode_others_decode(fields: Fields) -> None:
    for block in (encode(fields), b"".join(encode_literal(*field) for field in fields)):
        assert oracle.Decoder().decode(block, raw=True) == fields
        decoder = Decoder()
        assert decoder.decode(block) == fields
        assert decoder.independent
        assert not decoder.changed


KINDS = st.sampled_from([oracle.HeaderTuple, oracle.NeverIndexedHeaderTuple])
MARKED = st.lists(st.builds(lambda kind, name, value: kind(name, value), KINDS, NAMES, VALUES), max_size=12)
BLOCKS = st.lists(st.tuples(MARKED, st.booleans(), st.sampled_from([None, 0, 40, 100, 300, 4096])), max_size=6)


@settings(deadline=None)
@given(BLOCKS)
def test_what_others_encode_over_several_blocks_we_decode(blocks: list[tuple[Marked, bool, int | None]]) -> None:
    encoder, decoder = oracle.Encoder(), Decoder()
    for fields, huffman, size in blocks:
        if size is not None:
            encoder.header_table_size = size
        assert decoder.decode(encoder.encode(fields, huffman)) == [tuple(field) for field in fields]


@given(st.binary(max_size=200))
def test_huffman_coding_is_undone_by_decoding(text: bytes) -> None:
    assert decode_huffman(encode_huffman(text)) == text


@given(st.binary(max_size=30))
def test_huffman_accepts_only_what_encoding_makes(data: bytes) -> None:
    with suppress(ValueError):
        assert encode_huffman(decode_huffman(data)) == data


SHORT = st.one_of(st.sampled_from([b"", b"cookie", b"x-a", b"y" * 126]), st.binary(max_size=20))
PIECES = st.one_of(
    st.binary(max_size=8),
    st.sampled_from([
        GET, b"\xbe", b"\xbf", UPDATE_TO_0, b"\x3f\x61", b"\x7e\x01v", b"\x0f\x2f\x01v", b"\x04\x82\x60\x7f",
        b"\x0f\x80\x00\x01v", b"\x40\x7f\x00" + b"n" * 127 + b"\x7f\x80\x00" + b"v" * 127,
    ]),
    st.builds(_literal, st.sampled_from([INDEXING, NOT_INDEXING, NEVER_INDEXING]), SHORT, SHORT),
)  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(st.lists(st.lists(PIECES, max_size=10).map(b"".join), max_size=4))
@example([b"\x40\x01a\x01b", b"\xbe" * 12])
@example([b"\x40\x00\x00" * 20])
def test_no_bytes_do_harm_and_the_memo_changes_nothing(blocks: list[bytes]) -> None:
    limits = {"max_list_bytes": 400, "max_fields": 8}
    first, warm, cold, again = (Decoder(256, **limits) for _ in range(4))
    theirs = oracle.Decoder(10**6)
    theirs.header_table_size = theirs.max_allowed_table_size = 256
    for block in blocks:
        outcome = _outcome(first, block)
        assert _outcome(warm, block) == outcome
        hpack._LITERALS.forget()
        assert _outcome(cold, block) == outcome
        assert _state(first) == _state(warm) == _state(cold)
        if outcome is HpackError:
            return
        if first.independent:
            again.insert_again(tuple(first.inserted))
        else:
            assert _outcome(again, block) == outcome
        assert (again._table, again._used) == (first._table, first._used)
        assert warm._used == sum(size for _, size in warm._table[62:]) <= 256
        if isinstance(outcome, list):
            assert len(outcome) <= 8
            assert sum(len(name) + len(value) + 32 for name, value in outcome) <= 400
            assert theirs.decode(block, raw=True) == outcome
        else:
            theirs.decode(block, raw=True)


def _state(decoder: Decoder) -> tuple[bool, bool, int]:
    return decoder.independent, decoder.never_indexed, decoder.changed


def _outcome(decoder: Decoder, block: bytes) -> Fields | type[Exception]:
    try:
        return decoder.decode(block)
    except (HpackError, TooManyFields) as error:
        return type(error)
