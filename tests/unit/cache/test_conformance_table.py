"""docs/cache-conformance.md names tests that there are."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[3]
TABLE = (ROOT / "docs" / "cache-conformance.md").read_text()


def rows() -> list[tuple[str, str, list[str]]]:
    """Return section, requirement and tests of each row."""
    found = re.findall(r"^\| ([0-9][^|]*) \| ([^|]+) \| ([^|]+) \|$", TABLE, flags=re.MULTILINE)
    return [(section, requirement, tests.split(", ")) for section, requirement, tests in found]


def test_every_requirement_has_a_test_that_exists() -> None:
    files = [*Path(__file__).parent.glob("test_*.py"), *(ROOT / "tests" / "journeys").glob("test_*.py")]
    there = {name for path in files for name in re.findall(r"^def (test_\w+)", path.read_text(), flags=re.MULTILINE)}
    assert [name for _, _, tests in rows() for name in tests if name not in there] == []


def test_every_section_with_requirements_for_caches_is_in_the_table() -> None:
    listed = {section for row, _, _ in rows() for section in row.split(", ")}
    wanted = {
        "1.2.2",
        "3",
        "3.1",
        "3.2",
        "3.3",
        "3.4",
        "3.5",
        "4",
        "4.1",
        "4.2",
        "4.2.1",
        "4.2.2",
        "4.2.3",
        "4.2.4",
        "4.3.1",
    }
    wanted |= {"4.3.2", "4.3.3", "4.3.4", "4.3.5", "4.4", "5.1", "5.2", "5.3"}
    wanted |= {f"5.2.1.{number}" for number in (5, 7)} | {f"5.2.2.{number}" for number in (2, 3, 4, 5, 6, 7, 8, 10)}
    assert wanted - listed == set()
