"""Commands that serve: run, proxy, app, serve."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgewise.cli.configuration import BadConfiguration, chosen_file, config_option, load_file, load_overrides

if TYPE_CHECKING:
    from edgewise.config import Config
    from edgewise.config.loader import Choose

_BALANCE = click.Choice(["round_robin", "least_connections", "random_two", "ewma", "ip_hash", "consistent_hash"])

listen_option = click.option(
    "--listen",
    multiple=True,
    metavar="ADDR",
    default=["127.0.0.1:8080"],
    show_default=True,
    help="Address to listen on: host:port, [::]:port, :port or unix:/path. May be repeated.",
)
admin_option = click.option(
    "--admin", metavar="ADDR", default="off", show_default=True, help="Address of the admin API and /metrics."
)
workers_option = click.option(
    "--workers", type=click.IntRange(min=1), metavar="N", help="Worker processes.  [default: one a core]"
)
access_log_option = click.option(
    "--access-log", metavar="PATH", default="off", show_default=True, help="Access log: stdout, off or a file."
)


def serve(read: Callable[[Choose], Config], label: str) -> None:
    """Run a supervisor until it is told to stop. Raises ClickException for what keeps it from starting."""
    import logging

    from edgewise.config import ConfigError
    from edgewise.server.children import Crew
    from edgewise.server.control import run_control
    from edgewise.server.instance import Instance
    from edgewise.server.listeners import ListenError
    from edgewise.server.run_directory import RunDirectoryError
    from edgewise.server.secret import SecretError
    from edgewise.server.state_writer import run_state_writer
    from edgewise.server.supervisor import StartError, Supervisor
    from edgewise.server.worker import run_worker

    logging.basicConfig(format="%(asctime)s %(levelname)s [%(process)d] %(name)s: %(message)s", level=logging.INFO)
    supervisor = Supervisor(Instance(read, label), Crew(run_worker, run_control, run_state_writer), click.echo)
    try:
        supervisor.run()
    except ConfigError as error:
        raise BadConfiguration(error) from None
    except (ListenError, RunDirectoryError, SecretError, StartError) as error:
        raise click.ClickException(str(error)) from None


@click.command("run", short_help="Run what a configuration file describes.")
@config_option
def run_command(file: Path | None) -> None:
    """Run what a configuration file describes.

    SIGHUP reloads the file, SIGUSR1 reopens the logs, SIGUSR2 restarts managed apps without a pause. SIGTERM and
    Ctrl-C finish the requests under way and stop, a second Ctrl-C stops at once.
    """
    path = chosen_file(file).absolute()
    serve(lambda choose: load_file(path, choose), str(path))


@click.command("proxy", short_help="Put edgewise in front of servers, without a file.")
@click.option("--to", multiple=True, required=True, metavar="ADDR", help="Server to send requests to. May be repeated.")
@listen_option
@click.option("--balance", type=_BALANCE, default="round_robin", show_default=True, help="How a server is chosen.")
@workers_option
@access_log_option
@admin_option
def proxy_command(
    to: tuple[str, ...], listen: tuple[str, ...], balance: str, workers: int | None, access_log: str, admin: str
) -> None:
    """Put edgewise in front of one or more servers, without a configuration file."""
    tables = base_tables(listen, workers, access_log, admin)
    tables["upstreams"] = {"proxy": {"servers": list(to), "balance": balance}}
    serve(lambda choose: load_overrides(tables), f"proxy on {', '.join(listen)}")


@click.command("app", short_help="Run a Python app and the proxy in front of it.")
@click.argument("target", metavar="MODULE:ATTR")
@click.option(
    "--processes", type=click.IntRange(min=1), metavar="N", default=1, show_default=True, help="App processes."
)
@click.option(
    "--interface", type=click.Choice(["auto", "asgi", "wsgi"]), default="auto", show_default=True, help="Kind of app."
)
@click.option("--sticky", is_flag=True, help="Keep each client on one process, by a signed cookie.")
@listen_option
@click.option(
    "--balance", type=_BALANCE, default="least_connections", show_default=True, help="How a process is chosen."
)
@workers_option
@access_log_option
@admin_option
def app_command(
    target: str,
    processes: int,
    interface: str,
    sticky: bool,
    listen: tuple[str, ...],
    balance: str,
    workers: int | None,
    access_log: str,
    admin: str,
) -> None:
    """Run an ASGI or WSGI app, each process on its own Unix socket, behind edgewise.

    Processes are restarted when they die. The app is imported from the current directory.
    """
    tables = base_tables(listen, workers, access_log, admin)
    upstream: dict[str, Any] = {"app": target, "processes": processes, "app_interface": interface, "balance": balance}
    if sticky:
        upstream["sticky"] = {}
    tables["upstreams"] = {"app": upstream}
    serve(lambda choose: load_overrides(tables), f"app on {', '.join(listen)}")


@click.command("serve", short_help="Serve the files of a directory.")
@click.argument("directory", type=click.Path(exists=True, file_okay=False, path_type=Path), default=".")
@click.option("--listing", is_flag=True, help="List directories that have no index.html.")
@click.option(
    "--spa", is_flag=True, help="Answer with index.html where there is no file: for an app of one page (SPA)."
)
@click.option("--cache-control", metavar="VALUE", default="no-cache", show_default=True, help="Of files that change.")
@listen_option
@workers_option
@access_log_option
@admin_option
def serve_command(
    directory: Path,
    listing: bool,
    spa: bool,
    cache_control: str,
    listen: tuple[str, ...],
    workers: int | None,
    access_log: str,
    admin: str,
) -> None:
    """Serve the files of DIRECTORY, by default the current one.

    Names with a leading dot are hidden, links that lead out of the directory are not followed, and files with a
    fingerprint in their names (app.3f9a2c1b.js) are immutable to caches.
    """
    tables = base_tables(listen, workers, access_log, admin)
    files: dict[str, Any] = {"root": str(directory.absolute()), "listing": listing, "cache_control": cache_control}
    if spa:
        files["fallback"] = "index.html"
    tables["routes"] = [{"name": "files", "static": files}]
    serve(lambda choose: load_overrides(tables), f"serve on {', '.join(listen)}")


def base_tables(listen: tuple[str, ...], workers: int | None, access_log: str, admin: str) -> dict[str, Any]:
    """Return the configuration's tables that `proxy`, `app` and `serve` have in common."""
    server: dict[str, Any] = {"listen": list(listen), "admin": admin}
    if workers is not None:
        server["workers"] = workers
    return {"server": server, "access_log": {"path": access_log}}
