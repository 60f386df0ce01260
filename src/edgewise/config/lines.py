"""The line of every key of a TOML text that `tomllib` accepts (it gives no positions itself)."""

from __future__ import annotations

import re
import tomllib
from bisect import bisect_left

from edgewise.config.problems import Path

_BLANK = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_SPACE = re.compile(r"[ \t]*")
_KEY = re.compile(r"""[A-Za-z0-9_-]+|"(?:[^"\\\n]|\\.)*"|'[^'\n]*'""")
_STRING = re.compile(
    r'"""(?:[^"\\]|\\[\s\S]|"{1,2}(?!"))*"{3,5}'
    r"|'''(?:[^']|'{1,2}(?!'))*'{3,5}"
    r'|"(?:[^"\\\n]|\\.)*"'
    r"|'[^'\n]*'"
)
_SCALAR = re.compile(r"[^,\]}\n#]*")


def key_lines(text: str) -> dict[Path, int]:
    """Return path -> line (from 1) of each table, key and list item. `text` must be valid TOML."""
    return _Scanner(text).scan()


class _Scanner:
    """One pass over the text; no checks, since `tomllib` made them."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.position = 0
        self.lines: dict[Path, int] = {}
        self.newlines = [index for index, character in enumerate(text) if character == "\n"]
        self.counts: dict[Path, int] = {}
        """Number of tables so far in each array of tables."""

    def scan(self) -> dict[Path, int]:
        table: Path = ()
        self.skip(_BLANK)
        while self.position < len(self.text):
            if self.text.startswith("[", self.position):
                table = self.header()
            else:
                self.pair(table)
            self.skip(_BLANK)
        return self.lines

    def skip(self, pattern: re.Pattern[str]) -> str:
        found = pattern.match(self.text, self.position)
        if found is None:
            raise ValueError(f"not TOML at offset {self.position}")
        self.position = found.end()
        return found[0]

    def line(self) -> int:
        return bisect_left(self.newlines, self.position) + 1

    def header(self) -> Path:
        """Take "[a.b]" or "[[a.b]]"; return the path of the table that begins."""
        line, many = self.line(), self.text.startswith("[[", self.position)
        self.position += 2 if many else 1
        keys = self.keys()
        self.position += 2 if many else 1
        path: Path = ()
        for index, key in enumerate(keys):
            path = (*path, key)
            last = index == len(keys) - 1
            self.lines.setdefault(path, line)
            if last and many:
                self.counts[path] = self.counts.get(path, 0) + 1
            if path in self.counts:
                path = (*path, self.counts[path] - 1)
            if last:
                self.lines[path] = line
        return path

    def keys(self) -> list[str]:
        """Take a dotted key with the space around it."""
        keys = []
        while True:
            self.skip(_SPACE)
            keys.append(_plain(self.skip(_KEY)))
            self.skip(_SPACE)
            if not self.text.startswith(".", self.position):
                return keys
            self.position += 1

    def pair(self, table: Path) -> None:
        """Take "key = value"."""
        line, path = self.line(), table
        for key in self.keys():
            path = (*path, key)
            self.lines.setdefault(path, line)
        self.position += 1
        self.skip(_SPACE)
        self.value(path)

    def value(self, path: Path) -> None:
        first = self.text[self.position]
        if first == "[":
            self.array(path)
        elif first == "{":
            self.inline_table(path)
        else:
            self.skip(_STRING if first in "\"'" else _SCALAR)

    def array(self, path: Path) -> None:
        self.position += 1
        index = 0
        self.skip(_BLANK)
        while self.text[self.position] != "]":
            self.lines[(*path, index)] = self.line()
            self.value((*path, index))
            index += 1
            self.separator()
        self.position += 1

    def inline_table(self, path: Path) -> None:
        self.position += 1
        self.skip(_BLANK)
        while self.text[self.position] != "}":
            self.pair(path)
            self.separator()
        self.position += 1

    def separator(self) -> None:
        self.skip(_BLANK)
        if self.text[self.position] == ",":
            self.position += 1
            self.skip(_BLANK)


def _plain(key: str) -> str:
    """Return a key without its quotes and escapes."""
    return str(tomllib.loads(f"key = {key}")["key"]) if key[0] in "\"'" else key
