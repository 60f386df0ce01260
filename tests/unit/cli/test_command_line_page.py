"""docs/command-line.md and the commands themselves agree."""

from __future__ import annotations

from pathlib import Path

import click
import pytest

from edgewise.cli.main import edgewise

PAGE = (Path(__file__).parents[3] / "docs" / "command-line.md").read_text()
CONTEXT = click.Context(edgewise)


@pytest.mark.parametrize("name", edgewise.list_commands(CONTEXT))
def test_the_page_names_every_command_and_option(name: str) -> None:
    command = edgewise.get_command(CONTEXT, name)
    assert command is not None
    options = [option for each in command.params if isinstance(each, click.Option) for option in each.opts]
    assert f"`edgewise {name}`" in PAGE
    assert [option for option in options if option not in PAGE] == []


@pytest.mark.parametrize("name", edgewise.list_commands(CONTEXT))
def test_every_command_says_what_it_does_in_a_line(name: str) -> None:
    command = edgewise.get_command(CONTEXT, name)
    assert command is not None
    assert command.help
    assert 0 < len(command.get_short_help_str(limit=60)) <= 60
    assert not command.get_short_help_str(limit=60).endswith("...")
