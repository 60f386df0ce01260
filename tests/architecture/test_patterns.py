"""Regular expressions hold on every supported interpreter."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "src" / "edgewise"
# gh-106052: a possessive quantifier on a group, or an atomic group, may match too much before CPython 3.11.5.
_UNSAFE = re.compile(r"(?<!\[)\(\?>|(?<!\\)\)(?:[*+?]|\{[0-9,]+\})\+(?!\+)")


@pytest.mark.parametrize("path", sorted(SOURCE.rglob("*.py")), ids=lambda path: str(path.relative_to(SOURCE)))
def test_no_pattern_puts_a_possessive_quantifier_on_a_group(path: Path) -> None:
    patterns = [line for line in path.read_text().splitlines() if 'rb"' in line or 'r"' in line]
    assert [line for line in patterns if _UNSAFE.search(_without_classes(line))] == []


def _without_classes(line: str) -> str:
    return re.sub(r"\[(?:\\.|[^\]\\])*\]", "[]", line)
