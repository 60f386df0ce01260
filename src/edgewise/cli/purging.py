"""The command that purges stored answers."""

from __future__ import annotations

from pathlib import Path

import click

from edgewise.cli.configuration import config_option
from edgewise.cli.operating import admin_option, client, or_fail

_KINDS = {
    "url": ("urls", "URL", "All variants of a URL."),
    "prefix": ("prefixes", "URL", "URLs that begin so."),
    "host": ("hosts", "HOST", "Everything of a host."),
    "tag": ("tags", "TAG", "What has a tag (Surrogate-Key, Cache-Tag, Cache-Groups)."),
    "pattern": ("patterns", "PATTERN", "URLs that a pattern matches, in which * stands for anything."),
}


def _kind_options(command: click.decorators.FC) -> click.decorators.FC:
    for name, (members, metavar, text) in reversed(_KINDS.items()):
        command = click.option(f"--{name}", members, metavar=metavar, multiple=True, help=f"{text} May be repeated.")(
            command
        )
    return command


@click.command("purge", short_help="Have stored answers be forgotten everywhere.")
@_kind_options
@click.option("--all", "everything", is_flag=True, help="Everything.")
@click.option("--soft", is_flag=True, help="Make them stale, to be validated, instead of forgetting them.")
@click.option("--dry-run", is_flag=True, help="Only count the stored answers that would be purged.")
@config_option
@admin_option
def purge_command(
    everything: bool, soft: bool, dry_run: bool, file: Path | None, admin: str | None, **named: tuple[str, ...]
) -> None:
    """Have stored answers be forgotten: those that any of the options names.

    Done when no worker finds them any more, on no node that shares state and is alive; an answer that was being fetched
    meanwhile is not stored either.
    """
    from edgewise.admin.purging import PATH, PATIENCE

    content = {members: list(values) for members, values in named.items() if values}
    if not content and not everything:
        raise click.UsageError("say what to purge: --url, --prefix, --host, --tag, --pattern or --all")
    wanted = {**content, "all": everything, "soft": soft, "dry_run": dry_run}
    answer = or_fail(lambda: client(admin, file).post(PATH, PATIENCE, wanted))
    if dry_run:
        click.echo(f"{answer['objects']} stored answers would be purged, counted over all workers of this node")
        if "on_disk" in answer:
            click.echo(f"on its disk: {'about ' if answer['estimated'] else ''}{answer['on_disk']}")
    else:
        nodes = f" on {answer['nodes']} nodes" if answer["nodes"] > 1 else ""
        click.echo(f"{'made stale' if soft else 'purged'}{nodes}")
