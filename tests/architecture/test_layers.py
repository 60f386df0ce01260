"""Imports point down only (the contracts are in pyproject.toml)."""

from __future__ import annotations

import contextlib
import io
import logging.config
from pathlib import Path

import pytest
from importlinter.cli import lint_imports

ROOT = Path(__file__).parents[2]


def test_imports_point_down_and_siblings_do_not_meet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(logging.config, "dictConfig", lambda config: None)  # it silences all loggers there are
    output = io.StringIO()
    with contextlib.redirect_stdout(output):
        code = lint_imports(config_filename="pyproject.toml", no_cache=True)
    assert code == 0, output.getvalue()
