"""Files above, what the user is told below: `UPDATE_GOLDEN=1` writes the expected texts anew."""

import os
from pathlib import Path

import pytest

from edgewise.config import ConfigError, load, parse

GOLDEN = Path(__file__).parents[2] / "golden" / "config"
BROKEN = sorted((GOLDEN / "broken").glob("*.toml"))
VALID = sorted((GOLDEN / "valid").glob("*.toml"))


def same(expected: Path, text: str) -> None:
    if os.environ.get("UPDATE_GOLDEN"):
        expected.write_text(text)
    assert text == expected.read_text()


@pytest.mark.parametrize("path", BROKEN, ids=lambda path: path.stem)
def test_each_mistake_of_a_broken_file_is_told_with_its_line(path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(path.read_text())
    same(path.with_suffix(".txt"), f"{caught.value}\n")


@pytest.mark.parametrize("path", VALID, ids=lambda path: path.stem)
def test_a_valid_file_becomes_this_configuration(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(path.parent)
    config = load(Path(path.name), {})
    same(path.with_suffix(".json"), config.model_dump_json(indent=2, exclude_none=True) + "\n")


def test_there_are_enough_broken_files() -> None:
    assert len(BROKEN) >= 25
