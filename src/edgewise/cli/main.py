"""The command group. Commands import what they need when they run, so `edgewise --help` stays fast."""

from __future__ import annotations

import sys
from importlib import import_module

import click

from edgewise import __version__, build

_COMMANDS = {
    "run": "edgewise.cli.serving",
    "proxy": "edgewise.cli.serving",
    "app": "edgewise.cli.serving",
    "serve": "edgewise.cli.serving",
    "check": "edgewise.cli.inspecting",
    "explain": "edgewise.cli.inspecting",
    "reload": "edgewise.cli.operating",
    "status": "edgewise.cli.operating",
    "drain": "edgewise.cli.operating",
    "renew": "edgewise.cli.operating",
    "purge": "edgewise.cli.purging",
    "sessions": "edgewise.cli.revoking",
    "consumers": "edgewise.cli.consumers",
    "cluster": "edgewise.cli.clustering",
    "state": "edgewise.cli.clustering",
    "db": "edgewise.cli.database",
    "trust": "edgewise.cli.trusting",
}
"""Each command and the module that defines it, in the order of --help."""


class Commands(click.Group):
    """Finds commands in the table above instead of importing them all."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names in the table's order."""
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the command's module; None for a name that is no command."""
        module = _COMMANDS.get(cmd_name)
        if module is None:
            return None
        found: click.Command = getattr(import_module(module), f"{cmd_name}_command")
        return found

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Name the nearest command when there is none of that name."""
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            import difflib

            close = difflib.get_close_matches(args[0], _COMMANDS, n=1)
            if not close or "Did you mean" in error.message:
                raise
            raise click.UsageError(f"{error.message} Did you mean {close[0]!r}?", ctx) from None


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, message=f"edgewise %(version)s, {build()}")
def edgewise() -> None:
    """Reverse proxy and load balancer for Python web apps.

    \b
    edgewise proxy --to 127.0.0.1:8000            put edgewise in front of a server
    edgewise app shop.asgi:app --processes 4      run an app and the proxy before it
    edgewise serve public                         serve the files of a directory
    edgewise run -c edgewise.toml                 run what a file describes
    """


def main() -> None:
    """Run the command line. Entry point of the package."""
    edgewise(prog_name="edgewise" if sys.argv[0].endswith("__main__.py") else None)
