"""Whatever stands in a file, the answer is a configuration or problems in plain words."""

import copy
import datetime
import tomllib
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from edgewise.config import ConfigError, Problem, build
from edgewise.config.problems import dotted

VALID = Path(__file__).parents[2] / "golden" / "config" / "valid"
JUNK: list[Any] = [
    "", "x", "a b", "\n", "off", "é", "/", "{", -1, 0, 1, 10**30, 0.5, 1e300, float("inf"), float("nan"), True, False,
    [], {}, [{}], [1], [""], [[]], {"a": 1}, {"": ""}, {"a": {}}, datetime.date(2026, 1, 1), ["x", "x"], None,
]  # fmt: skip
LIBRARY_WORDS = ("Input", "pydantic", "Field required", "another value", "Value error", "validator", "dictionary")


def paths(value: Any, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [found for key, inner in items for found in [(*path, key), *paths(inner, (*path, key))]]


DOCUMENTS = [tomllib.loads((VALID / name).read_text()) for name in ("complete.toml", "automatic_https.toml")]
PATHS = [(document, path) for document in DOCUMENTS for path in paths(document)]
CHANGES = st.sampled_from(DOCUMENTS).flatmap(
    lambda document: st.tuples(
        st.just(document),
        st.lists(st.tuples(st.sampled_from(paths(document)), st.sampled_from(JUNK)), min_size=1, max_size=4),
    )
)


def problems(document: dict[str, Any]) -> list[Problem]:
    """Return what is wrong with a document; any exception but ConfigError fails the test."""
    try:
        build(document)
    except ConfigError as error:
        return error.problems
    return []


def replaced(document: Any, path: tuple[Any, ...], value: Any) -> None:
    for step in path[:-1]:
        try:
            document = document[step]
        except (KeyError, IndexError, TypeError):
            return
    if isinstance(document, dict) or (isinstance(document, list) and path[-1] in range(len(document))):
        document[path[-1]] = value


@settings(deadline=None)
@given(CHANGES)
def test_junk_at_any_key_gives_problems_in_plain_words(
    changes: tuple[dict[str, Any], list[tuple[tuple[str | int, ...], Any]]],
) -> None:
    document = copy.deepcopy(changes[0])
    for path, value in changes[1]:
        replaced(document, path, copy.deepcopy(value))
    for problem in problems(document):
        assert problem.key
        assert not any(word in str(problem) for word in LIBRARY_WORDS), str(problem)
        assert "\n" not in str(problem)


@settings(deadline=None)
@given(st.sampled_from(PATHS))
def test_an_unknown_key_beside_any_key_is_told(place: tuple[dict[str, Any], tuple[str | int, ...]]) -> None:
    document, path = copy.deepcopy(place[0]), place[1]
    free = {"hosts", "headers", "query", "split", "set", "add", "accel", "sni", "upstreams"}
    if isinstance(path[-1], int) or (len(path) > 1 and path[-2] in free):
        return
    replaced(document, (*path[:-1], "zzzzz"), 1)
    found = {problem.key: problem.message for problem in problems(document)}
    assert found.get(dotted((*path[:-1], "zzzzz"))) == "unknown key"


@settings(max_examples=30, deadline=None)
@given(st.recursive(st.sampled_from(JUNK), lambda inner: st.dictionaries(st.text(), inner) | st.lists(inner)))
def test_any_values_at_all_give_problems(value: Any) -> None:
    for key in ("server", "tls", "upstreams", "routes", "tcp", "access_log"):
        assert all(problem.message for problem in problems({key: value}))
