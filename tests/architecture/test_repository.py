"""What is under version control is source, and nothing of the machine it was written on."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def git(*arguments: str) -> list[str]:
    """Return the lines git prints; skips where this is not a checkout."""
    try:
        result = subprocess.run(["git", "-C", str(ROOT), *arguments], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("git is not installed")
    if result.returncode not in (0, 1):
        pytest.skip("not a git checkout")
    return result.stdout.splitlines()


def test_no_ignored_file_is_tracked() -> None:
    assert git("ls-files", "--cached", "--ignored", "--exclude-standard")[:5] == []


def test_the_license_is_the_apache_license() -> None:
    assert "Apache License" in (ROOT / "LICENSE").read_text()


def test_links_in_the_documents_lead_somewhere() -> None:
    documents = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]
    broken = []
    for document in documents:
        for link in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", document.read_text()):
            if "://" not in link and not (document.parent / link).exists():
                broken.append(f"{document.relative_to(ROOT)}: {link}")
    assert broken == []
