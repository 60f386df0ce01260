"""Explain says which file a request gets, and what is sent of it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from edgewise.config import build
from edgewise.router.explain import explain


def explained(root: Path, path: str, *headers: tuple[str, str], method: str = "GET") -> str:
    files = {"root": str(root), "fallback": "index.html"}
    config = build({"routes": [{"path": "/static/*", "strip_prefix": "/static", "static": files}]})
    return explain(config, method, f"http://example.com{path}", list(headers))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "sub").mkdir()
    (tmp_path / "app.css").write_text("body {}")
    (tmp_path / "app.css.gz").write_text("GZ")
    for name in ("app.css", "app.css.gz"):
        os.utime(tmp_path / name, (1_700_000_000, 1_700_000_000))
    return tmp_path


def test_the_file_and_its_fields_are_shown(root: Path) -> None:
    text = explained(root, "/static/app.css", ("Accept-Encoding", "gzip"))
    assert f"file      app.css below {root}\nanswer    200\n" in text
    assert "Content-Type: text/css; charset=utf-8" in text
    assert "Content-Encoding: gzip" in text


def test_conditions_are_weighed(root: Path) -> None:
    assert "answer    304" in explained(root, "/static/app.css", ("If-None-Match", "*"))


def test_what_is_not_there_is_told(root: Path) -> None:
    assert "file      none.css below" in explained(root, "/static/none.css")
    assert "answer    404" in explained(root, "/static/none.css")
    assert "file      no name below" in explained(root, "/static/.env")
    assert "Location: /static/sub/" in explained(root, "/static/sub")


def test_other_methods_are_refused(root: Path) -> None:
    assert "answer    405, made at the edge" in explained(root, "/static/app.css", method="POST")
