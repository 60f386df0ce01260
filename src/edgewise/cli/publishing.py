"""Commands about the configuration that nodes have in common: cluster apply, rollback, versions, show."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from edgewise.cli.configuration import BadConfiguration, chosen_file, config_option, load_file
from edgewise.config.problems import ConfigError

if TYPE_CHECKING:
    from edgewise.config import Config
    from edgewise.contracts.state import StateEngine
    from edgewise.state.nodes import Node
    from edgewise.state.versions import Version, Versions

_LOOK = 0.2
_Result = TypeVar("_Result")
expect_option = click.option(
    "--expect", type=click.IntRange(min=0), metavar="N", help="Publish only where the newest version is N (0: none)."
)
wait_option = click.option(
    "--wait",
    type=click.FloatRange(min=0),
    default=30.0,
    show_default=True,
    metavar="SECONDS",
    help="Wait so long for the nodes to take the version.",
)


@click.command("apply")
@click.argument("source", metavar="[FILE]", required=False, type=click.Path(path_type=Path, dir_okay=False))
@config_option
@expect_option
@wait_option
@click.option("--dry-run", is_flag=True, help="Check only, publish nothing.")
def apply_command(source: Path | None, file: Path | None, expect: int | None, wait: float, dry_run: bool) -> None:
    """Publish a configuration to all nodes, and say what becomes of it at each.

    FILE is what to publish, by default this node's own file (-c). What is each node's own is left out: addresses,
    workers, directories, the access log, [state], [cluster], [[tcp]]. Nothing is published that could not be used
    here. Exit status 1 when it is not published, or a node refuses it or does not answer in time.
    """
    from edgewise.config.common import common_part, left_out
    from edgewise.config.loader import read_document

    path = chosen_file(file)
    try:
        document = read_document(source or path)
        config = load_file(path, lambda settings: document)
        _try_out(config)
    except ConfigError as error:
        raise BadConfiguration(error) from None
    if own := left_out(document.data):
        click.echo(f"each node's own, not published: {', '.join(own)}")
    if dry_run:
        click.echo(f"{source or path} can be published")
        return

    async def publish(engine: StateEngine, versions: Versions) -> Version:
        least = await _highest(engine)
        return await versions.publish(common_part(document.data), _publisher(), expect=expect, least=least)

    _publish(config, publish, wait)


@click.command("rollback")
@click.argument("number", metavar="VERSION", type=click.IntRange(min=1))
@config_option
@expect_option
@wait_option
def rollback_command(number: int, file: Path | None, expect: int | None, wait: float) -> None:
    """Publish an earlier version again, under a new number. `edgewise cluster versions` shows which there are."""
    from edgewise.config.common import published

    path = chosen_file(file)
    config = _following(path)

    async def publish(engine: StateEngine, versions: Versions) -> Version:
        version, content = await _kept(versions, number)
        _try_out(load_file(path, lambda settings: published(content, f"configuration version {number}")))
        least = await _highest(engine)
        return await versions.publish(content, _publisher(), expect=expect, least=least, restores=version.number)

    _publish(config, publish, wait)


@click.command("versions")
@config_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def versions_command(file: Path | None, as_json: bool) -> None:
    """Show the versions published lately, the newest first."""
    from edgewise.cli.status_text import duration, table

    async def published(engine: StateEngine, versions: Versions) -> list[Version]:
        return (await versions.published()).versions

    found = _with_versions(_following(chosen_file(file)), published)
    if as_json:
        import msgspec

        click.echo(json.dumps([msgspec.to_builtins(version) for version in found], indent=2))
        return
    rows = [
        (
            one.number,
            duration(max(0.0, time.time() - one.at)),
            one.by,
            f"restores {one.restores}" if one.restores else "",
        )
        for one in reversed(found)
    ]
    click.echo(table(("VERSION", "AGE", "BY", ""), rows) if rows else "nothing is published")


@click.command("show")
@click.argument("number", metavar="[VERSION]", required=False, type=click.IntRange(min=1))
@config_option
def show_command(number: int | None, file: Path | None) -> None:
    """Print a published version, the newest by default, as JSON. It has the secrets that its file had."""

    async def content(engine: StateEngine, versions: Versions) -> dict[str, Any]:
        return (await _kept(versions, number))[1]

    click.echo(json.dumps(_with_versions(_following(chosen_file(file)), content), indent=2))


def _following(path: Path) -> Config:
    """Return the configuration of a file. Raises ClickException."""
    try:
        return load_file(path)
    except ConfigError as error:
        raise BadConfiguration(error) from None


def _try_out(config: Config) -> None:
    """Build what a worker would: filters, templates, files, certificates. Raises ClickException."""
    from edgewise.router import build
    from edgewise.tls.errors import TlsError

    try:
        build(config)
    except (ValueError, ImportError, OSError, TlsError) as error:
        raise click.ClickException(f"it cannot be used here, so it is not published: {error}") from None


def _with_versions(config: Config, ask: Callable[[StateEngine, Versions], Coroutine[Any, Any, _Result]]) -> _Result:
    """Return what `ask` finds at the engine of a node's configuration. Raises ClickException."""
    from asyncio import run

    from edgewise.config.state import without_password
    from edgewise.contracts.sealing import NoSecretError, Sealer, read_secret
    from edgewise.contracts.state import StateError
    from edgewise.server.secret import state_directory
    from edgewise.state.opening import Options, open_engine
    from edgewise.state.versions import PURPOSE, Versions

    state, cluster = config.state, config.cluster
    if state is None or cluster is None:
        raise click.ClickException("a [cluster] table with the nodes' secret is needed (see docs/cluster.md)")

    async def asking() -> _Result:
        sealer = Sealer(read_secret(cluster.key, cluster.key_file), PURPOSE)
        engine = await open_engine(state.url, Options.of(state, state_directory()))
        try:
            return await ask(engine, Versions(engine, sealer))
        finally:
            await engine.close()

    try:
        return run(asking())
    except NoSecretError as error:
        raise click.ClickException(str(error)) from None
    except StateError as error:
        raise click.ClickException(f"{without_password(state.url)}: {error}") from None
    except ConfigError as error:
        raise BadConfiguration(error) from None


async def _kept(versions: Versions, number: int | None) -> tuple[Version, dict[str, Any]]:
    """Return a version and what it says. Raises ClickException."""
    found = (await versions.published()).versions
    version = next((one for one in reversed(found) if number in (None, one.number)), None)
    content = await versions.content(version) if version is not None else None
    if version is None or content is None:
        raise click.ClickException(f"version {number} is not kept" if number else "nothing is published")
    return version, content


async def _highest(engine: StateEngine) -> int:
    """Return the highest version that a node runs: an engine that was lost and restored may not know of it."""
    from edgewise.state.nodes import nodes
    from edgewise.state.versions import HIGHEST

    running = [node.standing.applied for node in await nodes(engine) if node.standing is not None]
    return max((number for number in running if number < HIGHEST), default=0)


def _publisher() -> str:
    import getpass
    import os
    import socket

    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # no such user here
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}"


def _publish(
    config: Config,
    publish: Callable[[StateEngine, Versions], Coroutine[Any, Any, Version]],
    wait: float,
) -> None:
    """Publish, then say what each node makes of it. Raises ClickException, SystemExit where not all take it."""

    async def publishing(engine: StateEngine, versions: Versions) -> tuple[Version, list[Node]]:
        version = await publish(engine, versions)
        click.echo(f"version {version.number} is published")
        return version, await _outcome(engine, versions.group, version, wait)

    version, nodes = _with_versions(config, publishing)
    for node in nodes:
        click.echo(f"  {node.host} ({node.pid}): {standing_text(node, version.number)}")
    if not nodes:
        click.echo("no node follows at the moment")
    if not all(_applied(node, version.number) for node in nodes):
        raise SystemExit(1)


async def _outcome(engine: StateEngine, group: str, version: Version, wait: float) -> list[Node]:
    """Wait until every node that follows decided on a version; return them."""
    from asyncio import sleep

    from edgewise.state.nodes import nodes

    deadline = time.monotonic() + wait
    while True:
        found = [node for node in await nodes(engine) if node.standing is not None and node.standing.group == group]
        undecided = [node for node in found if not _decided(node, version.number)]
        if not undecided or time.monotonic() > deadline:
            return found
        await sleep(_LOOK)


def _decided(node: Node, number: int) -> bool:
    standing = node.standing
    return standing is not None and standing.newest >= number and standing.outcome != "pending"


def _applied(node: Node, number: int) -> bool:
    return node.standing is not None and node.standing.applied >= number


def standing_text(node: Node, newest: int, group: str = "") -> str:
    """Return how far a node is, in words; `newest` is the newest version published to the nodes of `group`."""
    standing = node.standing
    if standing is None:
        return "own file"
    runs = f"version {standing.applied}" if standing.applied else "own file"
    reason = f": {standing.reason}" if standing.reason else ""
    if group and standing.group != group:
        return f"{runs}, has another key"
    if standing.newest < newest:
        return f"{runs}, has not seen {newest}"
    if standing.outcome == "refused":
        return f"{runs}, refuses {standing.newest}{reason}"
    if standing.outcome == "pending" and standing.newest:
        return f"{runs}, {standing.newest} pending{reason}"
    return f"{runs}{reason}"
