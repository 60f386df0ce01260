"""What notifications of a database say, and what is made of many of them."""

from __future__ import annotations

from edgewise.server.database import gathered, tags_in


def test_a_notification_names_tags_with_spaces_between_them() -> None:
    assert tags_in("product product:7 product:8") == ["product", "product:7", "product:8"]


def test_what_no_layer_could_have_stored_is_passed_over() -> None:
    assert tags_in("") == []
    assert tags_in(f"a  {'b' * 257} gr\u00fcn c\x01 d\n e") == ["a", "e"]


def test_rows_of_watched_tables_are_gathered_to_their_tables_and_other_tags_stay() -> None:
    tags = ["product:1", "product", "mine:1", "other", "product:2"]
    assert gathered(tags, [("product", "product:*"), ("maker", "maker:*")]) == [
        "mine:1",
        "other",
        "product",
        "product:*",
    ]
    assert gathered(tags, []) == tags
