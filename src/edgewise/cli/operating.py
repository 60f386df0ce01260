"""Commands that speak to a running edgewise: reload, status, drain, renew."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import click

from edgewise.cli.configuration import DEFAULT_FILE, config_option

if TYPE_CHECKING:
    from collections.abc import Callable

    from edgewise.admin.client import AdminClient

DEFAULT_ADMIN = "127.0.0.1:9900"
admin_option = click.option(
    "--admin", metavar="ADDR", help="Admin address of the running edgewise, in place of the file's."
)


def admin_address(admin: str | None, file: Path | None) -> str:
    """Return the address to speak to: --admin, else the environment's, the file's, the default. Raises ClickException.

    Only the one key is read: a file with mistakes must not keep its operator from the running edgewise.
    """
    if admin is None and file is None:
        admin = os.environ.get("EDGEWISE_SERVER__ADMIN")
    if admin is not None:
        return admin
    path = file or Path(DEFAULT_FILE)
    if not path.exists():
        if file is not None:
            raise click.ClickException(f"no such file: {file}")
        return DEFAULT_ADMIN
    import tomllib

    try:
        server = tomllib.loads(path.read_text()).get("server", {})
    except (OSError, ValueError) as error:
        raise click.ClickException(f"{path}: {error} (--admin ADDR does without the file)") from None
    found = server.get("admin", DEFAULT_ADMIN) if isinstance(server, dict) else DEFAULT_ADMIN
    if found == "off" or not isinstance(found, str):
        raise click.ClickException(f"{path} turns the admin address off; SIGHUP reloads, SIGTERM stops")
    return found


def client(admin: str | None, file: Path | None) -> AdminClient:
    """Return a client of the chosen admin address."""
    from edgewise.admin.client import AdminClient

    return AdminClient(admin_address(admin, file))


def or_fail(call: Callable[[], Any]) -> Any:
    """Return what `call` returns; show what the admin address refuses, or that it is not there, in one line."""
    from edgewise.admin.client import AdminError

    try:
        return call()
    except AdminError as error:
        raise click.ClickException(str(error)) from None


@click.command("reload", short_help="Have edgewise read its configuration again.")
@config_option
@admin_option
def reload_command(file: Path | None, admin: str | None) -> None:
    """Have the running edgewise read its configuration again.

    Exit status 1 when the new configuration cannot be used: then the old one goes on.
    """
    from edgewise.admin.client import AdminError

    address = client(admin, file)
    try:
        answer = address.post("/api/v1/reload", timeout=120.0)
    except AdminError as error:
        for problem in error.members.get("problems", []):
            click.echo(problem_line(problem), err=True)
        raise click.ClickException(str(error)) from None
    click.echo(f"generation {answer['generation']} runs")


def problem_line(problem: dict[str, Any]) -> str:
    """Return a problem as `edgewise check` shows it."""
    from edgewise.config import Problem

    return str(
        Problem(
            **{key: problem.get(key) or "" for key in ("file", "key", "message", "expected", "nearest")},
            line=problem.get("line") or 0,
        )
    )


@click.command("status", short_help="Show workers, routes, upstreams and certificates.")
@config_option
@admin_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def status_command(file: Path | None, admin: str | None, as_json: bool) -> None:
    """Show the running edgewise: its workers, routes, upstreams with their servers, and certificates."""
    from edgewise.cli.status_text import status_text

    address = client(admin, file)
    status = or_fail(lambda: address.get("/api/v1/status"))
    upstreams = or_fail(lambda: address.get("/api/v1/upstreams"))["upstreams"]
    certificates = or_fail(lambda: address.get("/api/v1/certificates"))["certificates"]
    if as_json:
        click.echo(json.dumps({**status, "upstreams": upstreams, "certificates": certificates}, indent=2))
    else:
        click.echo(status_text(status, upstreams, certificates))


@click.command("drain", short_help="Send no new requests to a server.")
@click.argument("server", metavar="UPSTREAM/SERVER")
@click.option("--undo", is_flag=True, help="Take the server back into service.")
@config_option
@admin_option
def drain_command(server: str, undo: bool, file: Path | None, admin: str | None) -> None:
    """Send no new requests to a server; those under way end as usual. Holds until undone, or edgewise restarts.

    SERVER is the address as in the configuration: shop/127.0.0.1:9001.
    """
    upstream, slash, name = server.partition("/")
    if not slash or not upstream or not name:
        raise click.UsageError(f"{server!r} is not UPSTREAM/SERVER, such as shop/127.0.0.1:9001")
    path = f"/api/v1/upstreams/{quote(upstream, safe='')}/servers/{quote(name)}/{'undrain' if undo else 'drain'}"
    address = client(admin, file)
    or_fail(lambda: address.post(path))
    click.echo(f"{server} takes {'requests again' if undo else 'no new requests'}")


@click.command("renew", short_help="Renew a certificate now.")
@click.argument("name")
@click.option("--revoke", is_flag=True, help="Revoke the old certificate once the new one is in use.")
@config_option
@admin_option
def renew_command(name: str, revoke: bool, file: Path | None, admin: str | None) -> None:
    """Have the running edgewise renew a certificate that it keeps, whatever it was waiting for.

    NAME is as `edgewise status` shows it: a host name, or `internal`. What comes of it is in the log and the status;
    should it fail, the old certificate goes on.
    """
    path = f"/api/v1/certificates/{quote(name, safe='')}/renew{'?revoke=true' if revoke else ''}"
    address = client(admin, file)
    or_fail(lambda: address.post(path))
    click.echo(f"a new certificate for {name} is ordered")
