"""Commands that look at a configuration and run nothing: check, explain."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from urllib.parse import urlsplit

import click

from edgewise.cli.configuration import BadConfiguration, chosen_file, config_option, load_file


@click.command("check", short_help="Check a configuration file.")
@config_option
@click.option(
    "--format", "style", type=click.Choice(["text", "json"]), default="text", show_default=True, help="Output."
)
def check_command(file: Path | None, style: str) -> None:
    """Check a configuration file; exit status 0 when it can be used, 1 with every error when it cannot."""
    from edgewise.config import ConfigError

    path = chosen_file(file)
    try:
        config = load_file(path)
    except ConfigError as error:
        if style == "text":
            raise BadConfiguration(error) from None
        click.echo(json.dumps({"ok": False, "problems": [asdict(problem) for problem in error.problems]}, indent=2))
        raise SystemExit(1) from None
    if style == "json":
        click.echo(json.dumps({"ok": True, "problems": []}, indent=2))
        return
    counts = {"route": len(config.routes), "TCP route": len(config.tcp), "upstream": len(config.upstreams)}
    click.echo(f"{path} is valid: {', '.join(_count(number, name) for name, number in counts.items() if number)}")


def _count(number: int, name: str) -> str:
    return f"{number} {name}" if number == 1 else f"{number} {name}s"


@click.command("explain", short_help="Say which route answers a request, and why.")
@click.argument("method")
@click.argument("url")
@click.option(
    "-H", "--header", "headers", multiple=True, metavar="'NAME: VALUE'", help="Header field. May be repeated."
)
@config_option
def explain_command(method: str, url: str, headers: tuple[str, ...], file: Path | None) -> None:
    """Say which route answers a request and why, and what would be sent where.

    URL is absolute (http://shop.example.com/cart?id=1), or a path for a request to any host.
    """
    from edgewise.config import ConfigError
    from edgewise.router.explain import explain

    fields = [_field(header) for header in headers]
    if not url.startswith("/") and urlsplit(url).scheme not in ("http", "https"):
        raise click.UsageError(f"{url!r} is not a URL with http:// or https://, nor a path that begins with /")
    try:
        config = load_file(chosen_file(file))
    except ConfigError as error:
        raise BadConfiguration(error) from None
    try:
        click.echo(explain(config, method.upper(), url, fields))
    except ValueError as error:
        raise click.ClickException(f"no such request can be sent: {error}") from None


def _field(header: str) -> tuple[str, str]:
    name, colon, value = header.partition(":")
    if not colon or not name.strip():
        raise click.UsageError(f"{header!r} is not a header field: write 'Name: value'")
    return name.strip(), value.strip()
