"""docs/architecture.md names every package, with its docstring's first line."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src" / "edgewise"


def packages() -> dict[str, str]:
    """Return folder -> first line of the package docstring."""
    found = {}
    for init in PACKAGE.glob("*/__init__.py"):
        docstring = ast.get_docstring(ast.parse(init.read_text())) or ""
        found[init.parent.name] = docstring.split("\n")[0]
    return found


def test_every_package_says_what_it_is_in_one_sentence() -> None:
    assert [name for name, sentence in packages().items() if not sentence.endswith(".")] == []


def test_the_folder_table_repeats_the_docstrings() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text()
    rows = dict(re.findall(r"^\| `(\w+)` \| (.+?) \|$", text, flags=re.MULTILINE))
    assert rows == packages()


def test_every_folder_with_code_is_a_package() -> None:
    folders = {path.parent for path in PACKAGE.rglob("*.py")}
    assert [str(folder.relative_to(ROOT)) for folder in folders if not (folder / "__init__.py").exists()] == []
