"""A configuration as it was written: plain values, and for each path the place it came from."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable
from typing import Any

from edgewise.config.lines import key_lines
from edgewise.config.problems import ConfigError, Mistake, Path, Problem, dotted

_POSITION = re.compile(r" \(at (?:line ([0-9]+), column [0-9]+|end of document)\)\Z")

_SYNTAX = {
    "Illegal character '\\n'": "the line ends inside quotes",
    "Cannot overwrite a value": "this key is set already",
    "Cannot declare": "this table began already above",
    "Cannot mutate immutable namespace": "a table in braces cannot be added to",
    "Invalid value": "here should be a value: text in quotes, a number, true, false, a list or a table",
}
"""The parser's messages that do not speak to the author of a file, in other words."""


class Document:
    """Nested tables and lists, and where each stands."""

    def __init__(self, file: str) -> None:
        self.data: dict[str, Any] = {}
        self._places: dict[Path, tuple[str, int]] = {(): (file, 0)}

    def mark(self, path: Path, file: str, line: int) -> None:
        """Note where the value at `path`, and all within it, was written."""
        for inner in [known for known in self._places if known[: len(path)] == path]:
            del self._places[inner]
        self._places[path] = (file, line)

    def mark_lines(self, lines: dict[Path, int], file: str) -> None:
        """Note the lines of every path of a file."""
        self._places.update((path, (file, line)) for path, line in lines.items())

    def copy(self) -> Document:
        """Return a document with the same data and places, to be changed."""
        made = Document(self._places[()][0])
        made.data = self.data
        made._places.update(self._places)
        return made

    def take_places(self, other: Document, wanted: Callable[[Path], bool]) -> None:
        """Have the places of another document for the paths that are `wanted`, and no more those of this one."""
        mine = {path: place for path, place in self._places.items() if not wanted(path)}
        self._places = mine | {path: place for path, place in other._places.items() if wanted(path)}

    def problem(self, mistake: Mistake) -> Problem:
        """Return a mistake with its place: that of its key, else of the nearest table around it."""
        file, line = self._place(mistake.path)
        message = mistake.message
        if mistake.other:
            message += f" ({self._where(mistake.other)})"
        return Problem(file, line, dotted(mistake.path), message, mistake.expected, mistake.nearest)

    def _where(self, path: Path) -> str:
        """Return how another place is named within a message."""
        file, line = self._place(path)
        if path not in self._places:
            return "by default"
        return f"line {line}" if line else file

    def _place(self, path: Path) -> tuple[str, int]:
        while path not in self._places:
            path = path[:-1]
        return self._places[path]


def read_toml(text: str, file: str) -> Document:
    """Return the document that a TOML text holds. Raises ConfigError where the text is not TOML."""
    document = Document(file)
    try:
        document.data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError([_syntax_problem(str(error), text, file)]) from None
    document.mark_lines(key_lines(text), file)
    return document


def _syntax_problem(message: str, text: str, file: str) -> Problem:
    position = _POSITION.search(message)
    line = text.rstrip("\n").count("\n") + 1
    if position:
        message = message[: position.start()]
        line = int(position[1] or line)
    words = next((text for start, text in _SYNTAX.items() if message.startswith(start)), message)
    return Problem(file, line, "", f"not valid TOML: {words[:1].lower()}{words[1:]}")
