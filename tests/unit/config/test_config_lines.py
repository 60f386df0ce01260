"""The line of each key, against what `tomllib` reads from generated documents."""

import tomllib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgewise.config.lines import key_lines
from edgewise.config.problems import Path

STRINGS = [
    '"{}"',
    "'{}'",
    '"{} # ] }} \\" \\\\"',
    "'{} = [ \\'",
    '"""{} ""quoted"" \n [x]\n"""',
    "'''{}\n ''it''\n'''",
    '"""{}"""""',
]
SCALARS = ["{}", "+{}", "{}.5", "1979-05-27T07:32:{:02.0f}Z"]
BLANKS = ["", " ", "\t", "  "]
GAPS = ["", "\n", "# a comment: [x] = {\n", "\n\n", " # it's\n"]


@dataclass
class Writer:
    """Writes a document of random shape; every leaf holds a number of its own."""

    draw: Callable[..., Any]
    text: str = ""
    leaves: dict[Path, int] = field(default_factory=dict)
    """Path -> line on which the value was begun, counted while writing."""
    numbers: int = 0

    def pick(self, choices: list[str]) -> str:
        return str(self.draw(st.sampled_from(choices)))

    def chance(self) -> bool:
        return bool(self.draw(st.booleans()))

    def line(self) -> int:
        return self.text.count("\n") + 1

    def key(self) -> tuple[str, str]:
        """Return a new key as it is written and as it is read."""
        self.numbers += 1
        written, read = self.draw(
            st.sampled_from(
                [("k{}", "k{}"), ('"k {}"', "k {}"), ("'k.{}'", "k.{}"), ("{}", "{}"), ('"\\u00e9{}\\""', 'é{}"')]
            )
        )
        return written.format(self.numbers), read.format(self.numbers)

    def pair(self, table: Path, depth: int) -> None:
        line, path, written = self.line(), table, []
        for _ in range(self.draw(st.integers(1, 3))):
            text, read = self.key()
            written.append(text)
            path = (*path, read)
            self.leaves[path] = line
        self.text += (
            (self.pick(BLANKS) + "." + self.pick(BLANKS)).join(written) + self.pick(BLANKS) + "=" + self.pick(BLANKS)
        )
        self.value(path, depth)

    def value(self, path: Path, depth: int) -> None:
        self.leaves[path] = self.leaves.get(path, self.line())
        kind = self.draw(st.integers(0, 3 if depth else 1))
        if kind == 0:
            self.numbers += 1
            self.text += self.pick(STRINGS).format(self.numbers)
        elif kind == 1:
            self.numbers += 1
            self.text += self.pick(SCALARS).format(self.numbers % 60)
        elif kind == 2:
            self.array(path, depth)
        else:
            self.inline_table(path, depth)

    def array(self, path: Path, depth: int) -> None:
        self.text += "[" + self.pick(GAPS)
        for index in range(self.draw(st.integers(0, 3))):
            if index:
                self.text += self.pick(GAPS) + "," + self.pick(GAPS)
            self.value((*path, index), depth - 1)
        self.text += self.pick(GAPS) + "]"

    def inline_table(self, path: Path, depth: int) -> None:
        self.text += "{" + self.pick(BLANKS)
        for index in range(self.draw(st.integers(0, 3))):
            if index:
                self.text += "," + self.pick(BLANKS)
            self.pair(path, depth - 1)
            self.text += self.pick(BLANKS)
        self.text += "}"

    def body(self, table: Path) -> None:
        for _ in range(self.draw(st.integers(0, 3))):
            self.text += self.pick(GAPS)
            if not self.text.endswith("\n") and self.text:
                self.text += "\n"
            self.pair(table, 2)
            self.text += self.pick([" # comment\n", "\n", "\r\n"])

    def sections(self, written: list[str], path: Path, depth: int) -> None:
        """Write tables and arrays of tables within a table, each with its own below it."""
        for _ in range(self.draw(st.integers(0, 2 if depth else 0))):
            text, read = self.key()
            names, many = [*written, text], self.chance()
            for index in range(self.draw(st.integers(1, 3)) if many else 1):
                self.text += "\n" + self.pick(BLANKS)
                inner: Path = (*path, read, index) if many else (*path, read)
                self.leaves[inner] = self.line()
                self.leaves.setdefault((*path, read), self.line())
                space = self.pick(BLANKS)
                header = space + (space + "." + space).join(names) + space
                self.text += (f"[[{header}]]" if many else f"[{header}]") + "\n"
                self.body(inner)
                self.sections(names, inner, depth - 1)


@st.composite
def documents(draw: Callable[..., Any]) -> tuple[str, dict[Path, int]]:
    writer = Writer(draw)
    writer.body(())
    writer.sections([], (), 2)
    return writer.text, writer.leaves


def paths(value: Any, path: Path = ()) -> set[Path]:
    """Return every path within a parsed document."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    found = {path} if path else set()
    for key, inner in items:
        found |= paths(inner, (*path, key))
    return found


@settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large], deadline=None)
@given(documents())
def test_every_path_of_any_document_has_the_line_on_which_it_was_written(document: tuple[str, dict[Path, int]]) -> None:
    text, written = document
    found = key_lines(text)
    assert set(found) == paths(tomllib.loads(text))
    assert found == written


def test_a_table_defined_below_its_children_has_the_line_of_its_own_header() -> None:
    assert key_lines("[a.b]\nx = 1\n[a]\ny = 2\n") == {("a",): 3, ("a", "b"): 1, ("a", "b", "x"): 2, ("a", "y"): 4}


def test_tables_below_an_array_of_tables_belong_to_its_last_item() -> None:
    lines = key_lines("[[r]]\n[r.t]\nx = 1\n[[r]]\n[r.t]\nx = 2\n[[r.u]]\n[[r.u]]\n")
    assert lines[("r", 0, "t", "x")] == 3
    assert lines[("r", 1, "t", "x")] == 6
    assert lines[("r", 1, "u", 1)] == 8


def test_carriage_returns_and_a_missing_last_newline_do_not_shift_lines() -> None:
    assert key_lines("a = 1\r\n\r\nb = [\r\n 1,\r\n 2]") == {("a",): 1, ("b",): 3, ("b", 0): 4, ("b", 1): 5}
