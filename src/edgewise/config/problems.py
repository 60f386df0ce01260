"""What is wrong with a configuration, in words for its author."""

from __future__ import annotations

import difflib
import json
import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

_PLAIN = re.compile(r"[A-Za-z0-9_-]+")
_SHOWN = 60


Path = tuple[str | int, ...]
"""Keys and list indexes from the root to a value."""


@dataclass(frozen=True, slots=True)
class Mistake:
    """A problem before its file and line are known."""

    path: Path
    message: str
    expected: str = ""
    nearest: str = ""
    other: Path = ()
    """Another place that has part in it; its line is shown."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake: where it stands, what was found, what was expected and the nearest valid choice."""

    file: str
    """Name of the file, or another source such as "environment variable EDGEWISE_SERVER__LISTEN"."""
    line: int
    """Counted from 1; 0 where there is no line."""
    key: str
    """Dotted path of the key; "" for the file as a whole."""
    message: str
    expected: str = ""
    nearest: str = ""

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}" if self.line else self.file
        text = ": ".join(part for part in (where, self.key, self.message) if part)
        if self.expected:
            text += f"; expected {self.expected}"
        if self.nearest:
            text += f"; did you mean {json.dumps(self.nearest, ensure_ascii=False)}?"
        return text


class ConfigError(ValueError):
    """A configuration that cannot be used, with every mistake found in it."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = list(problems)


class BadValue(ValueError):
    """Raised by the parsers of single values; the loader adds file, line and key."""

    def __init__(self, message: str, expected: str = "", nearest: str = "") -> None:
        super().__init__(f"{message}; expected {expected}" if expected else message)
        self.message = message
        self.expected = expected
        self.nearest = nearest


def dotted(path: Path) -> str:
    """Return a path as it is shown: `routes[0].path`, keys that are not plain in quotes."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text += ("." if text else "") + (part if _PLAIN.fullmatch(part) else json.dumps(part, ensure_ascii=False))
    return text


def nearest(word: str, choices: Iterable[str]) -> str:
    """Return the choice most like `word`, case aside; "" when none is close."""
    lowered = {choice.lower(): choice for choice in choices}
    close = difflib.get_close_matches(word.lower(), lowered, n=1, cutoff=0.6)
    return lowered[close[0]] if close else ""


def show(value: object) -> str:
    """Return a value as it may be shown in a message: texts quoted and cut, tables and lists by their kind."""
    if isinstance(value, str):
        return json.dumps(value if len(value) <= _SHOWN else value[:_SHOWN] + "...", ensure_ascii=False)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and not math.isfinite(value):
        return "nan" if math.isnan(value) else "inf" if value > 0 else "-inf"
    if isinstance(value, int | float):
        return str(value)
    if isinstance(value, list | tuple):
        return "a list" if value else "an empty list"
    if isinstance(value, dict):
        return "a table"
    if value is None:
        return "nothing"
    return "a date or time"
