"""The -c option and what becomes of a configuration that cannot be used."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from edgewise.config import Config, ConfigError
    from edgewise.config.loader import Choose

DEFAULT_FILE = "edgewise.toml"
Command = TypeVar("Command", bound=Callable[..., Any])

config_option = click.option(
    "-c",
    "--config",
    "file",
    type=click.Path(path_type=Path, dir_okay=False),
    help=f"Configuration file.  [default: {DEFAULT_FILE} here]",
)


def chosen_file(file: Path | None) -> Path:
    """Return the file named, else the default one. Raises ClickException where there is none."""
    if file is not None:
        if not file.exists():
            raise click.ClickException(f"no such file: {file}")
        return file
    default = Path(DEFAULT_FILE)
    if not default.exists():
        raise click.ClickException(
            f"no {DEFAULT_FILE} here: name a file with -c, or try `edgewise proxy --to HOST:PORT`"
        )
    return default


def load_file(path: Path, choose: Choose = lambda settings: None) -> Config:
    """Return the configuration of a file, with what nodes have in common as it is chosen. Raises ConfigError."""
    from edgewise.config import load

    return load(path, choose=choose)


def load_overrides(overrides: Mapping[str, Any]) -> Config:
    """Return the configuration that the command line alone describes. Raises ConfigError."""
    from edgewise.config import load

    return load(None, overrides=overrides)


class BadConfiguration(click.ClickException):
    """Shows every problem of a configuration, one a line; exit status 1."""

    def __init__(self, error: ConfigError) -> None:
        super().__init__(str(error))
        self.lines = [str(problem) for problem in error.problems]

    def show(self, file: Any = None) -> None:
        """Print the problems to standard error."""
        for line in self.lines:
            click.echo(line, err=True)
