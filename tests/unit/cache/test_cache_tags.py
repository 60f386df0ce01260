"""Tags: Surrogate-Key, Cache-Tag, and Cache-Groups by RFC 9875."""

from __future__ import annotations

import pytest

from edgewise.cache.tags import ID_BYTES, groups_of, split_ids, tag_id, tag_ids, tags_of
from support.cache import Lines, response_head


def tags(lines: Lines) -> tuple[bytes, ...]:
    return tags_of(response_head(lines).fields)


def groups(value: str | list[str]) -> tuple[bytes, ...]:
    return groups_of(response_head({"Cache-Groups": value}).fields)


def test_surrogate_keys_are_separated_by_spaces_and_cache_tags_by_commas() -> None:
    assert tags({"Surrogate-Key": " a  b/1\tc "}) == (b"a", b"b/1", b"c")
    assert tags({"Cache-Tag": "a, b c ,,d,"}) == (b"a", b"b c", b"d")
    assert tags({"Surrogate-Key": ["a b", "c"], "Cache-Tag": ["b", "e"]}) == (b"a", b"b", b"c", b"e")
    assert tags({}) == ()


def test_tags_are_bounded_in_number_and_length() -> None:
    assert len(tags({"Surrogate-Key": " ".join(f"t{n}" for n in range(256))})) == 256
    for lines in ({"Surrogate-Key": " ".join(f"t{n}" for n in range(257))}, {"Cache-Tag": "x" * 257}):
        with pytest.raises(ValueError, match="tag"):
            tags(lines)
    with pytest.raises(ValueError, match="too long"):
        tags({"Cache-Tag": "," * 40_000})


def test_9875_2_groups_are_a_list_of_strings() -> None:
    assert groups('"scripts", "eurovision results";x=1') == (b"scripts", b"eurovision results")
    assert groups(['"a"', '"b"']) == (b"a", b"b")


@pytest.mark.parametrize("value", ["scripts", '"a", 1', '("a")', '"a', '"a",', '%"a"', ""])
def test_9875_2_a_field_with_anything_else_is_ignored(value: str) -> None:
    assert groups(value) == ()


def test_9875_2_at_least_32_groups_of_32_characters_are_kept() -> None:
    assert len(groups(", ".join(f'"{n:032d}"' for n in range(128)))) == 128


def test_a_tag_costs_the_same_however_long_it_is() -> None:
    names = (b"a", b"b" * 200)
    assert len(tag_ids(names)) == 2 * ID_BYTES
    assert split_ids(tag_ids(names)) == [tag_id(b"a"), tag_id(b"b" * 200)]
    assert split_ids(b"") == []
