"""Commands about users' sessions: sessions list, sessions revoke."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import click

from edgewise.cli.configuration import config_option
from edgewise.cli.operating import admin_option, client, or_fail

namespace_option = click.option(
    "--namespace",
    "namespaces",
    metavar="NAME",
    multiple=True,
    help="Look there, in place of `gateway` and `app`: the namespace of an app's sessions; may be repeated.",
)


@click.group("sessions", short_help="List a user's sessions, or end them everywhere.")
def sessions_command() -> None:
    """About users' sessions, those that the gateway holds and those of apps, in shared state."""


@sessions_command.command("list")
@click.argument("user")
@namespace_option
@config_option
@admin_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def sessions_list(user: str, namespaces: tuple[str, ...], file: Path | None, admin: str | None, as_json: bool) -> None:
    """List the sessions of USER. Sealed ones are where their cookies are: they can be ended, and not listed."""
    address = client(admin, file)
    query = urlencode([("user", user), *(("namespace", name) for name in namespaces)])
    found = or_fail(lambda: address.get(f"/api/v1/sessions?{query}"))["sessions"]
    click.echo(json.dumps(found, indent=2) if as_json else sessions_text(user, found))


@sessions_command.command("revoke")
@click.argument("user", required=False)
@click.option("--id", "handle", metavar="ID", help="End this one session, as `edgewise sessions list` shows it.")
@namespace_option
@config_option
@admin_option
def sessions_revoke(
    user: str | None, handle: str | None, namespaces: tuple[str, ...], file: Path | None, admin: str | None
) -> None:
    """End every session of USER, or the one that --id names, on all nodes that share the state.

    Exit status 1 when there is no session of that id, or the state engine does not answer.
    """
    if (user is None) == (handle is None):
        raise click.UsageError("say either whose sessions end or, with --id, which one")
    which = ("user", user) if user is not None else ("id", handle)
    query = urlencode([which, *(("namespace", name) for name in namespaces)])
    address = client(admin, file)
    answer = or_fail(lambda: address.post(f"/api/v1/sessions/revoke?{query}"))
    if user is None:
        click.echo(f"the session of {answer['user'] or 'nobody'} is ended")
    else:
        click.echo(f"every session of {user} is ended; {answer['ended']} could be listed")


def sessions_text(user: str, sessions: list[dict[str, Any]]) -> str:
    """Return a user's sessions as text."""
    from edgewise.cli.status_text import duration, table

    if not sessions:
        return f"{user} has no sessions that can be listed"
    rows = [
        (each["id"], each["namespace"], each["created"], duration(each["expires_in"]), each["label"])
        for each in sessions
    ]
    return table(("ID", "NAMESPACE", "SINCE", "ENDS UNUSED IN", ""), rows)
