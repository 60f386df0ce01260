"""Commands about shared state: cluster status and its subcommands, state copy."""

from __future__ import annotations

import json
import time
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgewise.cli.configuration import BadConfiguration, chosen_file, config_option, load_file
from edgewise.cli.publishing import apply_command, rollback_command, show_command, standing_text, versions_command

if TYPE_CHECKING:
    from edgewise.config import Config
    from edgewise.config.cluster import Cluster
    from edgewise.config.state import State
    from edgewise.contracts.state import EngineStatus
    from edgewise.state.nodes import Node
    from edgewise.state.transfer import Report, Tally


@click.group("cluster", short_help="Show and configure the nodes that share state.")
def cluster_command() -> None:
    """About the nodes that share state."""


for _command in (apply_command, rollback_command, versions_command, show_command):
    cluster_command.add_command(_command)


@cluster_command.command("status")
@config_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def cluster_status(file: Path | None, as_json: bool) -> None:
    """Show the engine of shared state and the nodes that use it.

    Asks the engine itself, so it works on a node whose edgewise does not run. Exit status 1 when the engine is lost.
    """
    from asyncio import run

    from edgewise.config.state import without_password
    from edgewise.contracts.state import StateError

    config = configured(file)
    state = config.state
    assert state is not None
    try:
        status, nodes, published = run(_ask(state, config.cluster))
    except StateError as error:
        raise click.ClickException(f"{without_password(state.url)}: {error}") from None
    if as_json:
        click.echo(json.dumps(_as_json(state.url, status, nodes, published[0]), indent=2))
    else:
        click.echo(cluster_text(without_password(state.url), status, nodes, time.time(), *published))


def configured(file: Path | None) -> Config:
    """Return the configuration of a file that has a [state] table. Raises ClickException."""
    from edgewise.config import ConfigError

    path = chosen_file(file)
    try:
        config = load_file(path)
    except ConfigError as error:
        raise BadConfiguration(error) from None
    if config.state is None:
        raise click.ClickException(f"{path} has no [state] table: nothing is shared")
    return config


async def _ask(state: State, cluster: Cluster | None) -> tuple[EngineStatus, list[Node], tuple[int, str]]:
    """Return the engine's status, the nodes, and the newest version published with the group that it is for."""
    from edgewise.contracts.sealing import NoSecretError, Sealer, read_secret
    from edgewise.contracts.state import StateError
    from edgewise.server.secret import state_directory
    from edgewise.state.nodes import nodes
    from edgewise.state.opening import Options, open_engine
    from edgewise.state.versions import PURPOSE, NotSealed, Versions

    engine = await open_engine(state.url, Options.of(state, state_directory()))
    try:
        status, newest, group = await engine.status(), 0, ""
        if cluster is not None:
            sealer = Sealer(read_secret(cluster.key, cluster.key_file), PURPOSE)
            group = sealer.group
            try:
                newest = (await Versions(engine, sealer).published()).newest
            except NotSealed as error:
                status = status._replace(warnings=(*status.warnings, str(error)))
        return status, await nodes(engine), (newest, group)
    except NoSecretError as error:
        raise StateError(str(error)) from error
    finally:
        await engine.close()


def _as_json(url: str, status: EngineStatus, nodes: list[Node], newest: int) -> dict[str, Any]:
    import msgspec

    from edgewise.config.state import without_password

    return {
        "url": without_password(url),
        **status._asdict(),
        "published": newest,
        "nodes": [msgspec.to_builtins(node) for node in nodes],
    }


def cluster_text(
    url: str, status: EngineStatus, nodes: list[Node], now: float, newest: int = 0, group: str = ""
) -> str:
    """Return the status as text; `now` in Unix time, `newest` the newest version published to the nodes of `group`."""
    from edgewise.cli.status_text import duration, table

    lines = [f"{status.engine} {status.version} at {url}: {status.keys} keys, {status.bytes / 1e6:.1f} MB"]
    lines += [f"warning: {warning}" for warning in status.warnings]
    rows = [
        (node.host, node.pid, duration(max(0.0, now - node.started)), node.version, node.generation, node.config)
        for node in nodes
    ]
    lines += ["", table(("NODE", "PID", "UP", "VERSION", "GENERATION", "CONFIGURATION"), rows)]
    following = [node for node in nodes if node.standing is not None]
    if following:
        lines += ["", f"configuration published: version {newest}" if newest else "no configuration is published"]
        lines += [f"  {node.host} ({node.pid}): {standing_text(node, newest, group)}" for node in following]
    if len({node.config for node in nodes}) > 1:
        lines += ["", "the nodes do not run the same configuration"]
    return "\n".join(lines)


@click.group("state", short_help="Move shared state to another engine.")
def state_command() -> None:
    """About shared state."""


@state_command.command("copy")
@click.argument("source", metavar="FROM")
@click.argument("target", metavar="TO")
@click.option(
    "--replicas", type=click.IntRange(1, 5), default=1, show_default=True, help="Of the streams made on NATS."
)
def state_copy(source: str, target: str, replicas: int) -> None:
    """Copy keys with the time they have left, blobs and counters from one engine to another, and verify them.

    FROM and TO are URLs as in state.url, such as sqlite:edgewise-state and nats://127.0.0.1:4222. May be run again,
    also after an interruption: what is there already is not written again. Exit status 1 when something is missing.

    To move without losing a session: copy, stop edgewise, copy again (the little that changed), start with the new URL.
    """
    from asyncio import run

    from edgewise.config.state import without_password
    from edgewise.contracts.state import StateError
    from edgewise.state.sqlite.writer import WriterError

    try:
        report = run(_copy(source, target, replicas))
    except (StateError, WriterError) as error:
        raise click.ClickException(f"from {without_password(source)} to {without_password(target)}: {error}") from None
    click.echo(report_text(report))
    if not report.complete:
        raise SystemExit(1)


async def _copy(source: str, target: str, replicas: int) -> Report:
    from edgewise.contracts.state import StateError
    from edgewise.state.opening import Options, embedded_directory, open_engine
    from edgewise.state.sqlite.hosting import hosted
    from edgewise.state.transfer import copy_state

    if source == target:
        raise StateError("that is one engine")
    directory = embedded_directory(target)
    options = Options(patience=10.0, replicas=replicas, allow_eviction=False)
    with hosted(directory) if directory is not None else nullcontext():
        engines = []
        try:
            for url in (source, target):
                engines.append(await open_engine(url, options))
            return await copy_state(engines[0], engines[1], _progress)
        finally:
            for engine in engines:
                await engine.close()


def _progress(kind: str, count: int) -> None:
    if count % 10_000 == 0:
        click.echo(f"{count} {kind} ...", err=True)


def report_text(report: Report) -> str:
    """Return what was copied as text."""
    from edgewise.cli.status_text import table

    kinds: list[tuple[str, Tally]] = [("keys", report.keys), ("blobs", report.blobs), ("counters", report.counters)]
    rows = [(kind, tally.found, tally.written, tally.already, tally.verified) for kind, tally in kinds]
    lines = [table(("KIND", "FOUND", "WRITTEN", "ALREADY THERE", "VERIFIED"), rows)]
    for kind, tally in kinds:
        if tally.missing:
            lines.append(
                f"missing {kind}: {', '.join(tally.missing)} ...; is the engine written to meanwhile? run it again"
            )
    if report.keys.removed:
        lines.append(f"removed {report.keys.removed} keys that an earlier copy wrote and that were deleted since")
    if not report.own:
        lines.append("the target has keys of its own, so nothing that was deleted since was removed there")
    if not report.floors:
        lines.append(
            "the target was not empty, so its revisions and fencing tokens could not be set above those of the source: "
            "let what holds leases or revisions start anew"
        )
    return "\n".join(lines)
