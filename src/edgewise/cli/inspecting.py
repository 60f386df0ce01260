"""Commands that look at a configuration and run nothing: check, explain."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

import click

from edgewise.cli.configuration import BadConfiguration, chosen_file, config_option, load_file
from edgewise.cli.operating import admin_option, client, or_fail

if TYPE_CHECKING:
    from edgewise.admin.client import AdminClient


@click.command("check", short_help="Check a configuration file.")
@config_option
@click.option(
    "--format", "style", type=click.Choice(["text", "json"]), default="text", show_default=True, help="Output."
)
def check_command(file: Path | None, style: str) -> None:
    """Check a configuration file; exit status 0 when it can be used, 1 with every error when it cannot.

    What is allowed and hardly meant is told on standard error.
    """
    from edgewise.config import ConfigError
    from edgewise.config.advice import advice

    path = chosen_file(file)
    try:
        config = load_file(path)
    except ConfigError as error:
        if style == "text":
            raise BadConfiguration(error) from None
        click.echo(json.dumps({"ok": False, "problems": [asdict(problem) for problem in error.problems]}, indent=2))
        raise SystemExit(1) from None
    if style == "json":
        click.echo(json.dumps({"ok": True, "problems": [], "advice": list(advice(config))}, indent=2))
        return
    counts = {"route": len(config.routes), "TCP route": len(config.tcp), "upstream": len(config.upstreams)}
    click.echo(f"{path} is valid: {', '.join(_count(number, name) for name, number in counts.items() if number)}")


def _count(number: int, name: str) -> str:
    return f"{number} {name}" if number == 1 else f"{number} {name}s"


@click.command("explain", short_help="Say which route answers a request, and why.")
@click.argument("method", required=False)
@click.argument("url", required=False)
@click.option(
    "-H", "--header", "headers", multiple=True, metavar="'NAME: VALUE'", help="Header field. May be repeated."
)
@click.option("--cache", "cached", metavar="URL", help="Say what the running edgewise stores of a URL instead.")
@click.option("--json", "as_json", is_flag=True, help="With --cache, print JSON.")
@config_option
@admin_option
def explain_command(
    method: str | None,
    url: str | None,
    headers: tuple[str, ...],
    cached: str | None,
    as_json: bool,
    file: Path | None,
    admin: str | None,
) -> None:
    """Say which route answers a request and why, and what would be sent where.

    URL is absolute (http://shop.example.com/cart?id=1), or a path for a request to any host.

    With --cache, ask the running edgewise which of its workers stores what of a URL, for how long it is fresh, and why
    what is not stored was not.
    """
    if cached is not None:
        _explain_cached(cached, client(admin, file), as_json=as_json)
        return
    if method is None or url is None:
        raise click.UsageError("name a METHOD and a URL, or --cache URL")
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


def _explain_cached(url: str, address: AdminClient, *, as_json: bool) -> None:
    from edgewise.cli.cached_text import cached_text

    found = or_fail(lambda: address.get(f"/api/v1/cache?url={quote(url, safe='')}"))
    click.echo(json.dumps(found, indent=2) if as_json else cached_text(found))


def _field(header: str) -> tuple[str, str]:
    name, colon, value = header.partition(":")
    if not colon or not name.strip():
        raise click.UsageError(f"{header!r} is not a header field: write 'Name: value'")
    return name.strip(), value.strip()
