"""From a file, the environment and the command line to one checked configuration."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from edgewise.config.checks import check
from edgewise.config.document import Document, read_toml
from edgewise.config.environment import add_environment, add_overrides
from edgewise.config.problems import ConfigError, Problem
from edgewise.config.schema import Config
from edgewise.config.wording import mistakes

_NO_FILE = "configuration"


def load(path: Path | None, environ: Mapping[str, str] = os.environ, overrides: Mapping[str, Any] = {}) -> Config:
    """Return the configuration of a file (None: the defaults), then `environ`, then `overrides`, the later winning.

    `overrides` maps dotted keys or tables to values. Relative file names are relative to the file's directory.
    Raises ConfigError with every problem found.
    """
    document = read_toml(_read(path), str(path)) if path is not None else Document(_NO_FILE)
    problems = [*add_environment(document, environ), *add_overrides(document, overrides)]
    return _build(document, path.parent if path is not None else Path(), problems)


def parse(text: str, file: str = "edgewise.toml") -> Config:
    """Return the configuration that a TOML text holds; `file` is the name shown in problems. Raises ConfigError."""
    return _build(read_toml(text, file), Path(file).parent, [])


def build(data: Mapping[str, Any]) -> Config:
    """Return the configuration that plain tables hold, with all checks of a file. Raises ConfigError."""
    document = Document(_NO_FILE)
    document.data = dict(data)
    return _build(document, Path(), [])


def _build(document: Document, directory: Path, problems: list[Problem]) -> Config:
    found = list(check(document.data, directory))
    config = None
    try:
        config = Config.model_validate(document.data, context={"directory": directory})
    except ValidationError as error:
        found += mistakes(error, document.data)
    problems = [*problems, *(document.problem(mistake) for mistake in found)]
    if config is None or problems:
        raise ConfigError(sorted(problems, key=lambda problem: problem.line))
    return config


def _read(path: Path) -> str:
    try:
        content = path.read_bytes()
    except OSError as error:
        reason = (error.strerror or "unknown error").lower()
        raise ConfigError([Problem(str(path), 0, "", f"cannot be read: {reason}")]) from None
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ConfigError([Problem(str(path), line, "", "not valid TOML: not UTF-8")]) from None
