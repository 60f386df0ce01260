"""What the schema's library finds wrong, in plain words: what was found, what was expected, the nearest choice."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from edgewise.config.problems import BadValue, Mistake, Path, dotted, nearest, show
from edgewise.config.shape import unknown_key

if TYPE_CHECKING:
    from pydantic import ValidationError
    from pydantic_core import ErrorDetails

_MARKS = frozenset({"<list>", "<one>", "<table>", "<false>", "[key]"})
"""Parts of an error's location that stand for a choice of type, not for a key."""
_TYPES = {
    "string_type": "text in quotes",
    "int_type": "a whole number",
    "int_parsing_size": "a smaller number",
    "float_type": "a number",
    "bool_type": "true or false",
    "list_type": "a list in brackets",
    "dict_type": "a table",
    "model_type": "a table",
    "finite_number": "a finite number",
}
_BOUNDS = {
    "greater_than": ("more than {}", "gt"),
    "greater_than_equal": ("at least {}", "ge"),
    "less_than_equal": ("at most {}", "le"),
}
_SECRET = frozenset({"secret", "secrets", "hmac_key"})


def mistakes(error: ValidationError, data: Mapping[str, Any]) -> Iterator[Mistake]:
    """Yield each mistake of a validation of `data`."""
    for detail in error.errors(include_url=False):
        path: Path = tuple(part for part in detail["loc"] if part not in _MARKS)
        yield _mistake(path, detail, data)


def _mistake(path: Path, detail: ErrorDetails, data: Mapping[str, Any]) -> Mistake:
    kind, context = detail["type"], detail.get("ctx", {})
    if kind == "extra_forbidden":
        return unknown_key(path)
    if kind == "missing":
        return Mistake(path, "is missing")
    if kind == "value_error" and isinstance(context["error"], BadValue):
        bad = context["error"]
        return Mistake(path, bad.message, bad.expected, bad.nearest)
    value = _value_at(data, path, detail["input"])
    found = "this text" if _is_secret(path) else show(value)
    if kind == "literal_error":
        return _not_a_choice(path, value, context["expected"])
    if kind in _BOUNDS:
        words, bound = _BOUNDS[kind]
        return Mistake(path, f"{found} is out of range", words.format(_plain(context[bound])))
    if kind == "too_short":
        return Mistake(path, f"found {found}", "at least one item")
    if kind == "string_too_short":
        least = context["min_length"]
        expected = "a text that is not empty" if least == 1 else f"at least {least} characters"
        return Mistake(path, f"{found} is too short", expected)
    if kind == "list_type" and isinstance(value, dict):
        return Mistake(path, "found one table", f"a list of tables, each written [[{dotted(path)}]]")
    return Mistake(path, f"found {found}", _TYPES.get(kind, "another value"))


def _is_secret(path: Path) -> bool:
    return not _SECRET.isdisjoint(path[-2:]) or path == ("cluster", "key")


def _plain(number: float) -> float:
    """Return a whole number without its ".0"."""
    return int(number) if number == int(number) else number


def _not_a_choice(path: Path, value: object, expected: str) -> Mistake:
    choices = re.findall(r"'([^']*)'", expected)
    close = nearest(value, choices) if isinstance(value, str) else ""
    words = expected.replace("'", '"').replace("False", "false, true or a table")
    return Mistake(path, f"found {show(value)}", words, close)


def _value_at(data: Any, path: Path, default: object) -> Any:
    """Return what the author wrote at a path; `default` where that cannot be told."""
    for part in path:
        try:
            data = data[part]
        except (KeyError, IndexError, TypeError):
            return default
    return data
