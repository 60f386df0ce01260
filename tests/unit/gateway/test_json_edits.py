from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgewise.gateway.json_edits import MISSING, JsonEdits, JsonError, parse_path


def put(value: Any) -> Any:
    """What makes a configured value."""
    return lambda known: copy.deepcopy(value)


def edited(document: Any, edits: JsonEdits) -> Any:
    return json.loads(edits.apply(json.dumps(document).encode()))


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("/a/b", ("a", "b")),
        ("/a~1b/m~0n", ("a/b", "m~n")),
        ("/~01", ("~1",)),
        ("/", ("",)),
        ("/a//b", ("a", "", "b")),
        ("a.b.0", ("a", "b", "0")),
        ("a", ("a",)),
    ],
)
def test_pointers_and_dotted_paths_are_read(text: str, path: tuple[str, ...]) -> None:
    assert parse_path(text) == path


@pytest.mark.parametrize("text", ["", "a..b", ".a", "/a~2", "/a~"])
def test_what_names_nothing_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"JSON Pointer|written"):
        parse_path(text)


def test_members_and_elements_are_removed() -> None:
    document = {"a": 1, "b": {"c": 2, "d": 3}, "e": [1, 2, 3], "f": [{"s": 1, "t": 2}, {"s": 3}, 4]}
    edits = JsonEdits(remove=(("a",), ("b", "c"), ("e", "1"), ("f", "*", "s"), ("none",), ("e", "9"), ("e", "01")))
    assert edited(document, edits) == {"b": {"d": 3}, "e": [1, 3], "f": [{"t": 2}, {}, 4]}


def test_a_member_gets_another_name_in_its_place() -> None:
    edits = JsonEdits(rename=((("a",), "z"), (("c", "*", "d"), "e")))
    document = {"a": 1, "b": 2, "z": 3, "c": [{"d": 4}, 5]}
    assert list(edited(document, edits).items()) == [("z", 1), ("b", 2), ("c", [{"e": 4}, 5])]


def test_values_are_set_and_objects_on_the_way_are_made() -> None:
    edits = JsonEdits(
        set=(
            (("a", "b", "c"), put(1)),
            (("list", "-"), put("last")),
            (("list", "0"), put("first")),
            (("list", "9"), put("nowhere")),
            (("each", "*", "seen"), put(True)),
            (("text", "x"), put(1)),
            (("gone", "x"), lambda known: MISSING),
        )
    )
    document = {"list": [1, 2], "each": [{}, {"seen": None}], "text": "t"}
    assert edited(document, edits) == {
        "list": ["first", 2, "last"],
        "each": [{"seen": True}, {"seen": True}],
        "text": "t",
        "a": {"b": {"c": 1}},
    }


def test_a_document_is_unwrapped_and_wrapped() -> None:
    assert edited({"data": {"x": 1}}, JsonEdits(unwrap=("data",))) == {"x": 1}
    assert edited({"x": 1}, JsonEdits(unwrap=("data",))) == {"x": 1}
    assert edited([1], JsonEdits(wrap="data")) == {"data": [1]}
    assert edited({"a": {"b": 1}}, JsonEdits(unwrap=("a",), rename=((("b",), "c"),), wrap="d")) == {"d": {"c": 1}}


def test_numbers_stay_as_they_are_written() -> None:
    text = b'{"a":1.10,"b":1e400,"c":123456789012345678901234567890,"d":0.1234567890123456789}'
    assert JsonEdits(remove=(("none",),)).apply(text) == text


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"NaN", b'{"a":1}x', b'\xef\xbb\xbf{"a":1}', b'"\xff"', b'"\\ud800"', b"[" * 5000 + b"]" * 5000],
)
def test_what_is_not_json_is_told(content: bytes) -> None:
    with pytest.raises(JsonError):
        JsonEdits().apply(content)


# ---- against a reference ---------------------------------------------------------------------------------------------

TOKENS = ["a", "b", "0", "1", "-", "~/"]
SCALARS = st.none() | st.booleans() | st.integers(-9, 9) | st.text("ab~/é", max_size=3)
DOCUMENTS = st.recursive(
    SCALARS,
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.sampled_from(TOKENS), children, max_size=3),
    max_leaves=12,
)
PATHS = st.lists(st.sampled_from(TOKENS), min_size=1, max_size=3).map(tuple)


def resolve(document: Any, path: tuple[str, ...]) -> Any:
    """RFC 6901 section 4, word by word; MISSING where it is an error."""
    for token in path:
        if isinstance(document, dict) and token in document:
            document = document[token]
        elif isinstance(document, list) and token in {str(index) for index in range(len(document))}:
            document = document[int(token)]
        else:
            return MISSING
    return document


@given(DOCUMENTS, PATHS)
def test_what_is_removed_is_gone_and_nothing_else(document: Any, path: tuple[str, ...]) -> None:
    expected = copy.deepcopy(document)
    if resolve(document, path) is not MISSING:
        parent = resolve(expected, path[:-1])
        del parent[path[-1] if isinstance(parent, dict) else int(path[-1])]
    assert edited(document, JsonEdits(remove=(path,))) == expected


@given(DOCUMENTS, PATHS, SCALARS)
def test_what_is_set_is_found_by_its_pointer(document: Any, path: tuple[str, ...], value: Any) -> None:
    after = edited(document, JsonEdits(set=((path, put(value)),)))
    if resolve(document, path) is not MISSING or isinstance(resolve(document, path[:-1]), dict):
        assert resolve(after, path) == value
    again = edited(after, JsonEdits(set=((path, put(value)),)))
    assert again == after or path[-1] == "-"


@given(DOCUMENTS)
def test_no_edit_changes_nothing(document: Any) -> None:
    assert edited(document, JsonEdits()) == document


@given(DOCUMENTS, PATHS, st.sampled_from(TOKENS))
def test_renaming_there_and_back_changes_nothing(document: Any, path: tuple[str, ...], name: str) -> None:
    parent = resolve(document, path[:-1])
    if isinstance(parent, dict) and name not in parent and "*" not in path:
        there = edited(document, JsonEdits(rename=((path, name),)))
        assert edited(there, JsonEdits(rename=(((*path[:-1], name), path[-1]),))) == document
