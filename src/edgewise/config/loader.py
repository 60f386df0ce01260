"""From a file, the environment and the command line to one checked configuration."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from edgewise.config.checks import check
from edgewise.config.cluster import Cluster
from edgewise.config.common import with_common
from edgewise.config.document import Document, read_toml
from edgewise.config.environment import add_environment, add_overrides
from edgewise.config.problems import ConfigError, Problem
from edgewise.config.schema import Config
from edgewise.config.wording import mistakes

_NO_FILE = "configuration"
Choose = Callable[[Cluster], Document | None]
"""Told what a node shares, returns what it has in common with the others; None: its file is all there is."""


def load(
    path: Path | None,
    environ: Mapping[str, str] = os.environ,
    overrides: Mapping[str, Any] = {},
    choose: Choose = lambda settings: None,
) -> Config:
    """Return the configuration of a file (None: the defaults), then `environ`, then `overrides`, the later winning.

    `overrides` maps dotted keys or tables to values. Relative file names are relative to the file's directory. Where
    there is a [cluster] table and `choose` returns a document, that is taken in place of what is not the node's own.
    Raises ConfigError with every problem found.
    """
    directory = path.parent if path is not None else Path()
    document = read_document(path) if path is not None else Document(_NO_FILE)
    problems = [*add_environment(document, environ), *add_overrides(document, overrides)]
    settings = _cluster(document, directory)
    common = choose(settings) if settings is not None else None
    if common is not None:
        document = with_common(document, common)
        problems = [*add_environment(document, environ), *add_overrides(document, overrides)]
    return _build(document, directory, problems)


def read_document(path: Path) -> Document:
    """Return what a file holds, unchecked. Raises ConfigError where it cannot be read, or is not TOML."""
    return read_toml(_read(path), str(path))


def _cluster(document: Document, directory: Path) -> Cluster | None:
    """Return the table of what nodes share; None where there is none, or none that can be used."""
    table = document.data.get("cluster")
    if not isinstance(table, dict):
        return None
    try:
        return Cluster.model_validate(table, context={"directory": directory})
    except ValidationError:
        return None


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
