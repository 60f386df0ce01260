"""Starts the shop with a database and edgewise in front of it, and says what to try. Ctrl-C stops everything.

    python examples/shop_django/run.py [--sqlite]

Needs django; with PostgreSQL on this machine (and psycopg) also triggers, so that plain SQL purges too.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path

HERE = Path(__file__).resolve().parent
EDGEWISE = str(Path(sys.executable).with_name("edgewise"))
PATIENCE = 60.0
"""Seconds for a server to start."""


def free_port(wanted: int) -> int:
    """Return a port, or a free one in its place where it is taken."""
    for port in (wanted, 0):
        with contextlib.suppress(OSError), socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
            found: int = probe.getsockname()[1]
            return found
    raise SystemExit("there is no free port")


def postgres_programs() -> Path | None:
    """Return where initdb and postgres are; None where they are not."""
    if found := shutil.which("initdb"):
        return Path(found).resolve().parent
    return max(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: float(path.parent.name), default=None)


@contextlib.contextmanager
def running(*command: str, user: str | None = None, **environment: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run a process for the time of the block; SIGTERM at its end."""
    # A session of its own: Ctrl-C reaches only this script, which stops edgewise before the database.
    process = subprocess.Popen(
        command, user=user, env=os.environ | environment, stdin=subprocess.DEVNULL, start_new_session=True
    )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def wait_for(condition: Callable[[], bool], what: str, process: subprocess.Popen[bytes]) -> None:
    """Wait; raises SystemExit when the process ends first or `condition` stays false."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        if process.poll() is not None or time.monotonic() > deadline:
            raise SystemExit(f"{what} did not start")
        time.sleep(0.05)


def listening(port: int) -> bool:
    """Does something accept connections on `port`?"""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


@contextlib.contextmanager
def database(directory: Path, sqlite: bool) -> Iterator[str]:
    """Run PostgreSQL, give the URL of its database; the name of a SQLite file where that is wanted, or all there is."""
    programs = None if sqlite else postgres_programs()
    if programs is None or find_spec("psycopg") is None:
        yield str(directory / "shop.sqlite")
        return
    # The server refuses to run as root.
    user = next(name for name in ("postgres", "nobody") if _known(name)) if os.getuid() == 0 else None
    place = Path(tempfile.mkdtemp(prefix="shop-postgres-"))
    if user is not None:
        shutil.chown(place, user)
    port, data = free_port(5432), str(place / "data")
    try:
        made = [str(programs / "initdb"), "-D", data, "-A", "trust", "-U", "shop", "-E", "UTF8", "--no-sync"]
        subprocess.run(made, check=True, stdout=subprocess.DEVNULL, user=user, cwd=place)
        options = ["-D", data, "-p", str(port), "-h", "127.0.0.1", "-c", f"unix_socket_directories={place}"]
        quiet = ["-c", "log_min_messages=fatal"]
        with running(str(programs / "postgres"), *options, *quiet, user=user) as server:
            wait_for(lambda: connects(port), "PostgreSQL", server)
            yield f"postgresql://shop@127.0.0.1:{port}/postgres"
    finally:
        shutil.rmtree(place, ignore_errors=True)


def connects(port: int) -> bool:
    """Does PostgreSQL take connections?"""
    import psycopg

    try:
        psycopg.connect(f"postgresql://shop@127.0.0.1:{port}/postgres", connect_timeout=5).close()
    except psycopg.OperationalError:
        return False
    return True


def _known(user: str) -> bool:
    with contextlib.suppress(KeyError):
        return bool(pwd.getpwnam(user))
    return False


def configuration(directory: Path, proxy: int, admin: int) -> Path:
    """Write the example's configuration with these ports."""
    text = (HERE / "edgewise.toml").read_text()
    copy = directory / "edgewise.toml"
    copy.write_text(text.replace(":8080", f":{proxy}").replace(":9900", f":{admin}"))
    return copy


def announce(where: str, config: Path, proxy: int) -> None:
    """Print what to open and what to type."""
    web = f"http://127.0.0.1:{proxy}"
    print(f"\nThe shop is open, on {where}:\n")
    for path, text in (
        ("/", "every product"),
        ("/products/1/", "one"),
        ("/api/products/1/", "the same for programs"),
        ("/admin/shop/product/1/change/", "change its price: user admin, password admin"),
    ):
        print(f"  {web + path:<54}{text}")
    print("\nLook before and after a change:\n")
    print(f"  edgewise explain -c {config} --cache {web}/products/1/")
    print(f"  curl -i {web}/products/1/")
    if where.startswith("postgresql"):
        print(f"  psql {where} -c 'UPDATE shop_product SET price = price + 1 WHERE id = 1'")
    print("\nStop: Ctrl-C\n", flush=True)


def serve(directory: Path, sqlite: bool) -> int:
    """Start everything, then wait for Ctrl-C; the exit code."""
    with database(directory, sqlite) as where:
        environment = {"SHOP_DATABASE": where, "PYTHONPATH": str(HERE), "DJANGO_SETTINGS_MODULE": "shop.settings"}
        for command in (["migrate", "--verbosity", "0"], ["createsuperuser", "--no-input", "--verbosity", "0"]):
            account = {f"DJANGO_SUPERUSER_{key}": "admin" for key in ("USERNAME", "PASSWORD")}
            account["DJANGO_SUPERUSER_EMAIL"] = "admin@example.com"
            django = [sys.executable, "-m", "django", *command]
            subprocess.run(django, check=True, env=os.environ | environment | account, cwd=directory)
        proxy, admin = free_port(8080), free_port(9900)
        config = configuration(directory, proxy, admin)
        if where.startswith("postgresql"):
            environment["EDGEWISE_DATABASE__URL"] = where
        with running(EDGEWISE, "run", "-c", str(config), **environment) as edgewise:
            wait_for(lambda: listening(proxy) and listening(admin), "edgewise", edgewise)
            announce(where, config, proxy)
            return edgewise.wait()


def main() -> int:
    """Run the shop; the exit code."""
    parser = argparse.ArgumentParser(description="A Django shop behind edgewise.")
    parser.add_argument("--sqlite", action="store_true", help="SQLite, even where PostgreSQL is installed")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        with tempfile.TemporaryDirectory(prefix="shop-") as directory:
            return serve(Path(directory), arguments.sqlite)
    except KeyboardInterrupt:
        print("\nstopped")
        return 0


if __name__ == "__main__":
    sys.exit(main())
