"""Starts two apps and edgewise in front of them, and says what to try. Ctrl-C stops everything.

python examples/quickstart/run.py           # what `make run` does
python examples/quickstart/run.py --check   # run the printed lines, exit 1 when one fails
"""

from __future__ import annotations

import argparse
import contextlib
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).resolve().parent
EDGEWISE = str(Path(sys.executable).with_name("edgewise"))
PORTS = (8080, 9900, 9001, 9002)
"""Proxy, admin and the two apps, as edgewise.toml has them."""
KEY = "quickstart-0123456789"
"""Of the consumer in edgewise.toml."""


class Line(NamedTuple):
    """A command to try, what it shows, and a text its output must contain."""

    command: str
    shows: str
    expected: str
    refused: bool = False
    """It shows how edgewise refuses a request."""


def lines_to_try(proxy: int, admin: int, config: Path) -> list[Line]:
    """Return the command lines that are printed and, with --check, run."""
    web = f"http://127.0.0.1:{proxy}"
    edgewise = shlex.quote(relative(EDGEWISE))
    return [
        Line(f"curl -i {web}/", "one of the two apps", "hello from app"),
        Line(f"curl {web}/headers", "what edgewise adds on the way", "x-forwarded-for: 127.0.0.1"),
        Line(f"curl -d 'some text' {web}/echo", "a request with content", "some text"),
        Line(f"curl {web}/slow", "an answer that takes a second", "took its time"),
        Line(f"curl -N {web}/events", "server-sent events, each as it happens", "event 5"),
        Line(
            f"curl -i {web}/kept", "an answer that edgewise keeps: again, and it is there at once", "Cache-Status: edge"
        ),
        Line(f"{edgewise} explain -c {config} --cache {web}/kept", "what each worker keeps of it", "fresh for"),
        Line(f"{edgewise} purge -c {config} --tag quickstart", "have it forgotten", "purged"),
        Line(f"curl -i {web}/api/headers", "a request without an API key", '"policy": "auth"', refused=True),
        Line(
            f"curl -i -H 'X-API-Key: {KEY}' {web}/api/headers",
            "one with a key: the app is told who",
            "x-consumer: demo",
        ),
        Line(f"curl http://127.0.0.1:{admin}/healthz", "is edgewise well?", ""),
        Line(f"curl http://127.0.0.1:{admin}/metrics", "Prometheus metrics", "edgewise"),
        Line(f"{edgewise} status -c {config}", "upstreams, servers and their health", "shop"),
        Line(f"{edgewise} explain -c {config} GET {web}/slow", "which route answers, and why", "shop"),
    ]


def relative(path: str) -> str:
    """Return `path` relative to the working directory where it is below it."""
    with contextlib.suppress(ValueError):
        return str(Path(path).relative_to(Path.cwd()))
    return path


def usable_ports() -> dict[int, int]:
    """Return each configured port with itself, or a free one in its place where it is taken."""
    found = {}
    for port in PORTS:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                probe.bind(("127.0.0.1", 0))
                print(f"port {port} is taken; using {probe.getsockname()[1]} in its place")
            found[port] = probe.getsockname()[1]
    return found


def configuration(ports: dict[int, int], directory: Path) -> Path:
    """Return the configuration file to use: the example's own, or a copy with other ports."""
    original = HERE / "edgewise.toml"
    if all(wanted == used for wanted, used in ports.items()):
        return original
    text = original.read_text()
    for wanted, used in ports.items():
        text = text.replace(f":{wanted}", f":{used}")
    copy = directory / "edgewise.toml"
    copy.write_text(text)
    return copy


@contextlib.contextmanager
def running(*command: str, cwd: Path = HERE) -> Iterator[subprocess.Popen[bytes]]:
    """Run a process for the time of the block; SIGTERM at its end."""
    # A session of its own: Ctrl-C reaches only this script, which stops edgewise before the apps.
    process = subprocess.Popen(command, cwd=cwd, stdin=subprocess.DEVNULL, start_new_session=True)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def wait_for(condition: Callable[[], bool], what: str, *processes: subprocess.Popen[bytes]) -> None:
    """Wait up to 30 seconds; raises SystemExit when a process ends first or `condition` stays false."""
    deadline = time.monotonic() + 30
    while not condition():
        if any(process.poll() is not None for process in processes) or time.monotonic() > deadline:
            raise SystemExit(f"{what} did not start")
        time.sleep(0.05)


def listening(port: int) -> bool:
    """Does something accept connections on `port`?"""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def check(lines: list[Line], proxy: int) -> int:
    """Run every line; return the number that failed."""
    failed = 0
    for line in lines:
        command = shlex.split(line.command)
        if command[0] == "curl":
            command[1:1] = ["-sS", "--max-time", "20", *([] if line.refused else ["--fail"])]
        result = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
        good = result.returncode == 0 and line.expected in result.stdout
        failed += not good
        print(f"{'ok    ' if good else 'FAILED'} {line.command}", flush=True)
        if not good:
            print(f"       exit {result.returncode}\n{result.stdout}{result.stderr}")
    good = websocket_answers(proxy)
    print(f"{'ok    ' if good else 'FAILED'} WebSocket on /ws")
    return failed + (not good)


def websocket_answers(proxy: int) -> bool:
    """Does the echo of a WebSocket message come back through edgewise?"""
    from websockets.sync.client import connect

    try:
        with connect(f"ws://127.0.0.1:{proxy}/ws", proxy=None) as socket_:
            socket_.send("hello")
            return str(socket_.recv(10)).endswith(": hello")
    except Exception as error:
        print(f"       {error!r}")
        return False


def announce(lines: list[Line], proxy: int, admin: int) -> None:
    """Print what to open and what to type."""
    print(f"\nedgewise is up. Open http://127.0.0.1:{proxy}/ in a browser, or try:\n")
    width = max(len(line.command) for line in lines)
    for line in lines:
        print(f"  {line.command:<{width}}  # {line.shows}")
    print(
        f"\nAdmin: http://127.0.0.1:{admin}/   Access log: examples/quickstart/access.log   Stop: Ctrl-C\n", flush=True
    )


def serve(arguments: argparse.Namespace, directory: Path) -> int:
    """Start everything, then check the lines or wait for Ctrl-C; the exit code."""
    ports = usable_ports()
    proxy, admin, first, second = (ports[port] for port in PORTS)
    config = configuration(ports, directory)
    app = (sys.executable, "app.py")
    with (
        running(*app, "--name", "one", "--port", str(first)) as one,
        running(*app, "--name", "two", "--port", str(second)) as two,
    ):
        wait_for(lambda: listening(first) and listening(second), "an app", one, two)
        with running(EDGEWISE, "run", "-c", str(config)) as edgewise:
            wait_for(lambda: listening(proxy) and listening(admin), "edgewise", edgewise, one, two)
            shown = Path(relative(str(config)))
            lines = lines_to_try(proxy, admin, shown)
            announce(lines, proxy, admin)
            if arguments.check:
                return 1 if check(lines, proxy) else 0
            return edgewise.wait()


def main() -> int:
    """Run the quickstart; the exit code."""
    parser = argparse.ArgumentParser(description="Two example apps behind edgewise.")
    parser.add_argument("--check", action="store_true", help="run the printed lines and exit")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        with tempfile.TemporaryDirectory() as directory:
            return serve(arguments, Path(directory))
    except KeyboardInterrupt:
        print("\nstopped")
        return 0


if __name__ == "__main__":
    sys.exit(main())
