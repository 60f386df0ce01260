"""`python -m bench.chaos`: a server killed under load, and reloads under load with open WebSockets.

Goals: no failed GET when one of three servers is killed; no failed request and no dropped WebSocket in 200 reloads.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import http.client
import json
import os
import signal
import statistics
import sys
import time
from collections.abc import Callable, Iterator

from bench.arena import Arena, open_arena
from bench.clients import Failed, Tally, web_socket_session
from bench.edgewise_run import Edgewise, OpenWrk
from bench.load import Load
from bench.peers import TEMPLATES, render
from bench.ports import free_port, listening
from bench.processes import Tree, wait_until

POLL = 0.01


def main() -> int:
    """Exit status 0 when nothing failed."""
    parser = argparse.ArgumentParser(prog="python -m bench.chaos", description=__doc__)
    parser.add_argument("what", choices=("kill", "reload", "both"), nargs="?", default="both")
    parser.add_argument("--reloads", type=int, default=200)
    parser.add_argument("--sockets", type=int, default=100)
    parser.add_argument("--times", type=int, default=3, help="how often a server is killed (default: 3)")
    arguments = parser.parse_args()
    failed = 0
    if arguments.what in ("kill", "both"):
        with open_arena() as arena:
            failed += kill_a_server(arena, arguments.times)
    if arguments.what in ("reload", "both"):
        with open_arena() as arena:
            failed += asyncio.run(reload_under_load(arena, arguments.reloads, arguments.sockets))
    return 1 if failed else 0


def kill_a_server(arena: Arena, times: int) -> int:
    """Kills one of three servers by SIGKILL while wrk asks, then starts it again; the number of failed requests."""
    ports = [free_port() for _ in range(3)]
    servers = {port: origin(arena, port) for port in ports}
    names = ", ".join(f'"127.0.0.1:{port}"' for port in ports)
    edgewise = Edgewise(arena, "faults.toml", servers=names)
    print("kill -9 of one of three servers, wrk with 64 connections")
    with load(edgewise, [OpenWrk(url(edgewise), arena.directory, 64)]) as wrks:
        time.sleep(2)
        for number in range(times):
            kill_and_restart(arena, edgewise, servers, ports[number % len(ports)])
            time.sleep(1)
        failures = finish(wrks)
    show_failures(edgewise)
    return failures


def kill_and_restart(arena: Arena, edgewise: Edgewise, servers: dict[int, Tree], port: int) -> None:
    """Kills the server of a port, starts it again, and prints when the admin address showed each."""

    def state() -> dict[str, object]:
        return edgewise.server("shop", f"127.0.0.1:{port}")

    os.kill(servers[port].pid, signal.SIGKILL)
    out = until(lambda: state()["state"] != "healthy", 30)
    why = state()
    time.sleep(2)
    servers[port] = origin(arena, port)
    back = until(lambda: state()["state"] == "healthy", 60)
    before = int(str(state()["requests"]))
    used = until(lambda: int(str(state()["requests"])) > before + 10, 30)
    print(
        f"  127.0.0.1:{port}: out of rotation after {out:.2f} s ({why['state']}: {why['reason']}), "
        f"healthy {back:.2f} s after its start, serving {used:.2f} s later"
    )


async def reload_under_load(arena: Arena, reloads: int, sockets: int) -> int:
    """Reloads a changed configuration again and again under load; the number of failed requests and dropped sockets."""
    edgewise = Edgewise(arena, "mixed.toml", generation=0)
    tally, stop = Tally(), asyncio.Event()
    echoes = [asyncio.create_task(keep_echoing(edgewise.port, tally, stop)) for _ in range(sockets)]
    wrks = [
        OpenWrk(url(edgewise), arena.directory, 32),
        OpenWrk(url(edgewise), arena.directory, 8, headers=["Connection: close"]),
    ]
    print(f"{reloads} reloads, {sockets} open WebSockets, wrk with 32 kept and 8 new connections at a time")
    with load(edgewise, wrks):
        while tally.done["open"] < sockets and not tally.failed:
            await asyncio.sleep(0.05)
        times = [await one_reload(edgewise, number) for number in range(1, reloads + 1)]
        await asyncio.sleep(1)
        alive = sum(not task.done() for task in echoes)
        stop.set()
        await asyncio.gather(*echoes)
        failures = finish(wrks)
    times.sort()
    print(
        f"  a reload took {statistics.median(times):.2f} s (median), {times[-1]:.2f} s (longest); "
        f"{alive} of {sockets} sockets alive at the end, {tally.done['echo']} messages echoed"
    )
    for reason in tally.reasons:
        print(f"  ! {reason}")
    show_failures(edgewise)
    return failures + sockets - alive


async def one_reload(edgewise: Edgewise, number: int) -> float:
    """Seconds until the admin address shows the next generation and a request is answered by it."""
    before = await asyncio.to_thread(edgewise.generation)
    edgewise.configure(generation=number)
    began = time.monotonic()
    edgewise.reload()
    deadline = began + 20
    while await asyncio.to_thread(edgewise.generation) <= before:
        if time.monotonic() > deadline:
            raise RuntimeError(f"reload {number} did not happen within 20 s")
        await asyncio.sleep(POLL)
    took = time.monotonic() - began
    answer = await asyncio.to_thread(body_of, edgewise.port, "/generation")
    if answer != str(number).encode():
        raise RuntimeError(f"after reload {number} the answer is still {answer!r}")
    return took


async def keep_echoing(port: int, tally: Tally, stop: asyncio.Event) -> None:
    """One WebSocket that sends a message five times a second until told to stop or dropped."""
    try:
        async with web_socket_session(port) as session:
            tally.done["open"] += 1
            while not stop.is_set():
                async with asyncio.timeout(10):
                    await session.echo(os.urandom(64))
                tally.done["echo"] += 1
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(stop.wait(), 0.2)
    except (Failed, OSError, EOFError, TimeoutError) as error:
        tally.note("websocket", error)


@contextlib.contextmanager
def load(edgewise: Edgewise, wrks: list[OpenWrk]) -> Iterator[list[OpenWrk]]:
    """Ends the load generators in any case, and keeps edgewise's own messages in sight when something went wrong."""
    try:
        yield wrks
    except BaseException:
        print(edgewise.tree.output.read_text()[-3000:], file=sys.stderr)
        raise
    finally:
        for wrk in wrks:
            wrk.kill()


def finish(wrks: list[OpenWrk]) -> int:
    """Prints what each generator did; the number of failed requests."""
    reports: list[Load] = [wrk.stop() for wrk in wrks]
    for report in reports:
        print(
            f"  wrk: {report.count} answers, {report.errors} failed ({report.statuses} by status), "
            f"p99 {report.p99_ms:.1f} ms"
        )
    return sum(report.errors for report in reports)


def show_failures(edgewise: Edgewise, most: int = 5) -> None:
    """Prints records of the access log whose status is an error of the server's kind."""
    time.sleep(1.5)
    found = 0
    with edgewise.log.open() as log:
        for line in log:
            if json.loads(line).get("status", 0) >= 500:
                found += 1
                if found <= most:
                    print(f"  log: {line.rstrip()}")


def origin(arena: Arena, port: int) -> Tree:
    """An nginx of one process, so that SIGKILL takes it whole."""
    directory = arena.directory / f"origin-{port}"
    directory.mkdir(exist_ok=True)
    configuration = directory / "origin.conf"
    own = {"dir": directory, "web_port": port, "grpc_origin_port": free_port(), "master": "off"}
    values = {**arena.values(), **own}
    configuration.write_text(render(TEMPLATES / "origin.conf", values))
    tree = arena.helper([arena.nginx, "-e", "stderr", "-c", str(configuration)], f"origin-{port}")
    wait_until(lambda: listening(port), 10, "an origin", tree)
    return tree


def until(condition: Callable[[], bool], seconds: float) -> float:
    """Seconds until the condition held; raises RuntimeError after `seconds`."""
    began = time.monotonic()
    while not condition():
        if time.monotonic() - began > seconds:
            raise RuntimeError(f"waited {seconds:g} s in vain")
        time.sleep(POLL)
    return time.monotonic() - began


def body_of(port: int, path: str) -> bytes:
    """The body of a GET."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    with contextlib.closing(connection):
        connection.request("GET", path)
        return connection.getresponse().read()


def url(edgewise: Edgewise) -> str:
    return f"http://127.0.0.1:{edgewise.port}/hello"


if __name__ == "__main__":
    sys.exit(main())
