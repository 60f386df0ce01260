"""Entries of the disk store: read back as they were, or found out to be damaged."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgewise.cache.disk import layout
from edgewise.cache.disk.layout import Damaged, Head, Metadata
from edgewise.cache.stored import Stored
from edgewise.http.head import Field
from support.cache import asking, stored

LINES = {"Cache-Control": "max-age=600", "ETag": '"a"', "X-Empty": "", "Surrogate-Key": "s t", "Vary": "Foo"}
_NOT_KEPT = {
    "body", "checked", "digest", "forms", "looked", "newer", "older", "policy", "served", "trial", "view", "visited",
}  # fmt: skip


def kept(stored: Stored) -> dict[str, Any]:
    """Return all of an object that outlives its process."""
    return {name: getattr(stored, name) for name in Stored.__slots__ if name not in _NOT_KEPT}


def entry(body: bytes = b"hello") -> bytes:
    found = stored(LINES, body=body, request=asking("/a", {"Foo": "1"}))
    return layout.encode(layout.describe(found, 7)) + body


# ---- round trip ------------------------------------------------------------------------------------------------------

_TOKEN = st.from_regex(rb"\A[!#$%&'*+.^_`|~0-9A-Za-z-]{1,20}\Z").filter(lambda name: name.lower() != b"content-length")
_VALUE = st.from_regex(rb"\A([!-~\x80-\xff]([ \t!-~\x80-\xff]{0,30}[!-~\x80-\xff])?)?\Z")
_SECONDS = st.floats(allow_nan=False)


@st.composite
def objects(draw: st.DrawFn) -> Stored:
    pairs = draw(st.lists(st.tuples(_TOKEN, _VALUE), max_size=6))
    fields = tuple(Field(name.lower(), value, b"%b: %b\r\n" % (name, value)) for name, value in pairs)
    found = Stored(draw(st.integers(200, 599)), draw(_VALUE), fields)
    found.key, found.primary, found.url = draw(st.binary()), draw(st.binary()), draw(st.binary())
    found.vary = tuple(draw(st.lists(_TOKEN, max_size=3)))
    found.tags = draw(st.binary())
    for name in Stored.__slots__:
        if type(getattr(found, name)) is float and name not in _NOT_KEPT:
            setattr(found, name, draw(_SECONDS))
        elif type(getattr(found, name)) is bool and name not in _NOT_KEPT:
            setattr(found, name, draw(st.booleans()))
    where = draw(st.sampled_from(["here", "file", "slices"]))
    if where == "here":
        found.fill(draw(st.binary()))
    else:
        found.measure(draw(st.integers(0, 2**50)))
        found.file = "0" * 32 + "." + "f" * 16 if where == "file" else ""
        found.slice = draw(st.integers(1, 2**40)) if where == "slices" else 0
    return found


@settings(deadline=None)
@given(objects(), st.integers(0, 2**64 - 1))
def test_an_object_is_read_back_as_it_was(before: Stored, epoch: int) -> None:
    head, content = layout.decode_whole(layout.encode(layout.describe(before, epoch)) + before.body)
    after = layout.restore(head, content)
    assert head.epoch == epoch
    assert kept(after) == kept(before)
    assert after.body == before.body


@given(st.lists(st.lists(st.binary(), max_size=3), max_size=4), st.lists(st.binary(), max_size=9))
def test_a_list_of_variants_is_read_back_as_it_was(names: list[list[bytes]], keys: list[bytes]) -> None:
    said = Metadata(b"key", names=tuple(map(tuple, names)), variants=tuple(keys))
    head, content = layout.decode_whole(layout.encode(Head(0, 0.0, said)))
    assert (head.metadata, content) == (said, b"")


def test_what_the_codec_makes_of_field_lines_is_what_is_read_back() -> None:
    before = stored({**LINES, "x-ODD": "a : b: c", "Set": ["1", "2"]})
    after = layout.restore(layout.describe(before, 0), before.body)
    assert after.fields == before.fields
    assert (after.etag, after.modified, after.head) == (before.etag, before.modified, before.head)


def test_the_head_of_an_entry_is_read_without_its_content(tmp_path: Path) -> None:
    for tags in ("", " ".join(f"tag-{number}" for number in range(200)), "long" * 20):
        found = stored({**LINES, "X-Long": "x" * 9000, "Surrogate-Key": tags}, body=b"x" * 200_000)
        path = tmp_path / "entry"
        path.write_bytes(layout.encode(layout.describe(found, 3)) + b"of no use")
        assert layout.read_head(path) == layout.describe(found, 3)


# ---- damage ----------------------------------------------------------------------------------------------------------


def test_an_entry_that_is_cut_off_anywhere_or_goes_on_is_found_out() -> None:
    whole = entry()
    layout.decode_whole(whole)
    for length in range(len(whole)):
        with pytest.raises(Damaged):
            layout.decode_whole(whole[:length])
    with pytest.raises(Damaged):
        layout.decode_whole(whole + b"\0")


def test_any_bit_that_changed_is_found_out() -> None:
    whole = entry()
    for bit in range(8 * len(whole)):
        changed = bytearray(whole)
        changed[bit // 8] ^= 1 << bit % 8
        with pytest.raises(Damaged):
            layout.decode_whole(bytes(changed))


@settings(deadline=None)
@given(st.binary(max_size=200), st.integers(0, 100))
def test_bytes_of_any_kind_are_damaged_or_an_entry_and_nothing_else(data: bytes, kept_bytes: int) -> None:
    for candidate in (data, entry()[:kept_bytes] + data):
        with pytest.raises(Damaged):
            layout.decode_whole(candidate)


def test_metadata_of_a_right_checksum_that_mean_nothing_are_damaged() -> None:
    fake = Head(0, 0.0, Metadata(b"key", file="../../etc/passwd", length=5))
    with pytest.raises(Damaged):
        layout.decode(layout.encode(fake))


def test_more_metadata_than_an_entry_may_have_are_not_written() -> None:
    with pytest.raises(ValueError, match="more metadata"):
        layout.encode(Head(0, 0.0, Metadata(b"key", lines=b"x" * layout.MOST_META)))


# ---- stamps and names ------------------------------------------------------------------------------------------------


def test_a_stamp_is_changed_in_its_place(tmp_path: Path) -> None:
    path = tmp_path / "entry"
    path.write_bytes(entry())
    descriptor = os.open(path, os.O_RDWR)
    layout.restamp(descriptor, 2**40, 123.5)
    os.close(descriptor)
    head, content = layout.decode_whole(path.read_bytes())
    assert (head.epoch, head.fresh_until, content) == (2**40, 123.5, b"hello")
    assert head.metadata == layout.decode(entry())[0].metadata


def test_names_tell_what_a_file_is_and_where() -> None:
    name = layout.hash_of(b"key")
    assert layout.ENTRY.fullmatch(name)
    assert layout.BODY.fullmatch(f"{name}.0123456789abcdef")
    assert layout.TEMPORARY.fullmatch(f"{name}.0123456789abcdef.tmp")
    assert not layout.ENTRY.fullmatch(f"{name}\n")
    assert layout.bucket_path(Path("c"), layout.bucket_of(name)) == Path("c/v1") / name[:3]
    assert [layout.on_disk(size) for size in (0, 1, 4096, 4097)] == [0, 4096, 4096, 8192]
