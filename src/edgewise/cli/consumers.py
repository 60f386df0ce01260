"""Commands about consumers: who has credentials of their own."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import click

from edgewise.cli.configuration import config_option
from edgewise.cli.operating import admin_option, client, or_fail

_PATH = "/api/v1/consumers"
_PATIENCE = 20.0
"""Seconds for an answer, which waits for every worker."""
name_argument = click.argument("name")
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.group("consumers", short_help="Add consumers, give them credentials, revoke these.")
def consumers_command() -> None:
    """About those who have credentials of their own, such as programs and partners.

    Those of the configuration file are listed, and changed there.
    """


@consumers_command.command("add")
@name_argument
@click.option("--group", "groups", metavar="GROUP", multiple=True, help="A group it belongs to; may be repeated.")
@click.option(
    "--scope", "scopes", metavar="SCOPE", multiple=True, help="What its credentials are for; may be repeated."
)
@click.option("--claim", "claims", metavar="NAME=VALUE", multiple=True, help="What else is known; may be repeated.")
@config_option
@admin_option
def consumers_add(
    name: str,
    groups: tuple[str, ...],
    scopes: tuple[str, ...],
    claims: tuple[str, ...],
    file: Path | None,
    admin: str | None,
) -> None:
    """Add the consumer NAME, without credentials."""
    pairs = [claim.partition("=") for claim in claims]
    if any(not equals for _, equals, _ in pairs):
        raise click.UsageError("a claim is written NAME=VALUE")
    values = {"name": name, "groups": groups, "scopes": scopes, "claims": {key: value for key, _, value in pairs}}
    address = client(admin, file)
    or_fail(lambda: address.post(_PATH, _PATIENCE, values))
    click.echo(f"added {name}; edgewise consumers key {name} makes an API key for it")


@consumers_command.command("list")
@config_option
@admin_option
@json_option
def consumers_list(file: Path | None, admin: str | None, as_json: bool) -> None:
    """List all consumers, those of the configuration file first."""
    address = client(admin, file)
    found = or_fail(lambda: address.get(_PATH))["consumers"]
    click.echo(json.dumps(found, indent=2) if as_json else consumers_text(found))


@consumers_command.command("show")
@name_argument
@config_option
@admin_option
@json_option
def consumers_show(name: str, file: Path | None, admin: str | None, as_json: bool) -> None:
    """Show the consumer NAME and the ids of its API keys; never the keys themselves."""
    address = client(admin, file)
    found = or_fail(lambda: address.get(_path(name)))
    click.echo(json.dumps(found, indent=2) if as_json else consumer_text(found))


@consumers_command.command("key")
@name_argument
@click.option("--label", default="", help="What the key is for.")
@config_option
@admin_option
@json_option
def consumers_key(name: str, label: str, file: Path | None, admin: str | None, as_json: bool) -> None:
    """Make an API key for the consumer NAME. It is shown this once: what is kept cannot be turned back into it."""
    address = client(admin, file)
    made = or_fail(lambda: address.post(_path(name, "keys"), _PATIENCE, {"label": label}))
    if as_json:
        click.echo(json.dumps(made, indent=2))
        return
    click.echo(made["key"])
    click.echo(f"{made['id']} names it in `edgewise consumers revoke {made['id']}`; it is not shown again", err=True)


@consumers_command.command("password")
@name_argument
@config_option
@admin_option
def consumers_password(name: str, file: Path | None, admin: str | None) -> None:
    """Set the password of the consumer NAME: asked for, or the first line of the standard input. Its hash is sent."""
    address = client(admin, file)
    hashed = _hash(_password())
    or_fail(lambda: address.post(_path(name, "password"), _PATIENCE, {"hash": hashed}))
    click.echo(f"the password of {name} is set")


@consumers_command.command("hash")
def consumers_hash() -> None:
    """Print the hash of a password, for `passwords` of a consumer in the configuration file."""
    click.echo(_hash(_password()))


@consumers_command.command("revoke")
@click.argument("which", metavar="NAME|KEY-ID")
@config_option
@admin_option
def consumers_revoke(which: str, file: Path | None, admin: str | None) -> None:
    """Take every API key and password from the consumer NAME, or revoke the API key of that id.

    Every worker of the node refuses them when the command ends, those of other nodes a moment later.
    """
    from edgewise.gateway.consumer_records import KEY_ID

    address = client(admin, file)
    one = KEY_ID.fullmatch(which) is not None
    query = urlencode([("id" if one else "name", which)])
    done = or_fail(lambda: address.post(f"{_PATH}/revoke?{query}", _PATIENCE))
    if one:
        click.echo(f"{which} of {done['consumer']} is revoked")
    else:
        click.echo(f"{which} has no credentials any more; {done['keys']} were API keys")


@consumers_command.command("remove")
@name_argument
@config_option
@admin_option
def consumers_remove(name: str, file: Path | None, admin: str | None) -> None:
    """Remove the consumer NAME with all its credentials."""
    address = client(admin, file)
    or_fail(lambda: address.post(_path(name, "remove"), _PATIENCE))
    click.echo(f"removed {name}")


def _path(name: str, verb: str = "") -> str:
    return f"{_PATH}/{quote(name, safe='')}" + (f"/{verb}" if verb else "")


def _password() -> str:
    """Return a password that is typed twice, or the first line of what comes by a pipe."""
    if sys.stdin.isatty():
        typed: str = click.prompt("Password", hide_input=True, confirmation_prompt=True)
        return typed
    line = sys.stdin.readline().rstrip("\r\n")
    if not line:
        raise click.ClickException("there is no password on the standard input")
    return line


def _hash(password: str) -> str:
    from edgewise.gateway.passwords import make_hash

    try:
        return make_hash(password)
    except ImportError:
        raise click.ClickException("passwords need the extra 'passwords': pip install 'edgewise[passwords]'") from None


def consumers_text(consumers: list[dict[str, Any]]) -> str:
    """Return consumers as a table."""
    from edgewise.cli.status_text import table

    if not consumers:
        return "there are no consumers"
    rows = [
        (
            each["name"],
            each["source"],
            ",".join(each["groups"]),
            len(each["keys"]) + each["unlisted_keys"],
            each["passwords"],
        )
        for each in consumers
    ]
    return table(("NAME", "SOURCE", "GROUPS", "KEYS", "PASSWORDS"), rows)


def consumer_text(consumer: dict[str, Any]) -> str:
    """Return one consumer as text."""
    from edgewise.cli.status_text import table

    lines = [f"{consumer['name']} ({'configuration file' if consumer['source'] == 'file' else 'state'})"]
    lines += [f"{title}: {' '.join(consumer[title])}" for title in ("groups", "scopes") if consumer[title]]
    lines += [f"{name}: {value}" for name, value in consumer["claims"].items()]
    if consumer["passwords"]:
        lines.append(f"passwords: {consumer['passwords']}")
    if consumer["unlisted_keys"]:
        lines.append(f"API keys: {consumer['unlisted_keys']}, in the configuration file")
    if consumer["keys"]:
        rows = [(key["id"], key["created"], key["label"]) for key in consumer["keys"]]
        lines.append(table(("KEY", "SINCE", ""), rows))
    return "\n".join(lines)
