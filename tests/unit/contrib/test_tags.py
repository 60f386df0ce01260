"""Tags of rows, and their collection."""

from __future__ import annotations

import datetime
import uuid

from edgewise.contrib.tags import MOST, Collected, Unit, change_tags, collecting, record, row_tag, rows_tag, table_tag


def test_a_row_a_table_and_all_rows_have_names_of_their_own() -> None:
    assert (row_tag("product", 7), table_tag("product"), rows_tag("product")) == ("product:7", "product", "product:*")
    assert row_tag("shop.product", 7, "en") == "shop.product:7:en"
    assert row_tag("t", True) == "t:true"
    assert row_tag("t", datetime.date(2026, 11, 24)) == "t:2026-11-24"
    key = uuid.UUID("{12345678-ABCD-5678-1234-567812345678}")
    assert row_tag("t", key) == "t:12345678-abcd-5678-1234-567812345678"


def test_what_no_field_can_carry_is_hashed() -> None:
    for key in ("a b", "a,b", "a:b", "", "é", "x" * 65, "*", "\n"):
        tag = row_tag("t", key)
        assert tag.startswith("t:~")
        assert len(tag) == 35
    assert row_tag("t", "a:b") != row_tag("t", "a", "b")


def test_a_change_purges_its_row_and_every_set_or_all_rows() -> None:
    assert change_tags("product", 7) == ["product:7", "product"]
    assert change_tags("product") == ["product:*", "product"]


def test_only_the_innermost_collection_is_told() -> None:
    record("nobody")
    with collecting() as outer:
        record("a")
        with collecting() as inner:
            record("b")
        assert inner.tags == {"b"}
        assert outer.tags == {"a"}
        outer.take(inner)
    assert outer.tags == {"a", "b"}


def test_many_rows_become_their_table() -> None:
    found = Collected()
    found.add(["other", "user:1", "user:*"])
    for number in range(10 * MOST):
        found.add([row_tag("product", number), rows_tag("product")])
    assert found.tags == {"other", "user:1", "user:*", "product"}
    assert found.shareable


def test_more_tags_than_are_kept_make_it_unshareable() -> None:
    found = Collected()
    found.add(f"tag-{number}" for number in range(MOST + 1))
    assert len(found.tags) == MOST
    assert not found.shareable


def test_what_was_read_in_a_transaction_that_wrote_is_shareable_once_it_is_committed() -> None:
    unit, found, outer = Unit(), Collected(), Collected()
    found.depend(unit)
    outer.take(found)
    assert not found.shareable
    assert not outer.shareable
    unit.committed = True
    assert outer.shareable
