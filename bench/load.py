"""Load generators: wrk and h2load, and what their reports say."""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

LUA = Path(__file__).parent / "lua"


@dataclass(frozen=True)
class Load:
    """What a generator did: units of work completed, bytes received, failures, seconds taken, latency in ms."""

    count: int
    bytes: int
    errors: int
    seconds: float
    p99_ms: float
    statuses: int = 0
    """Of the failures, those that were answers with a status other than 2xx or 3xx; the rest are broken connections."""


def wrk(
    url: str,
    *,
    seconds: float,
    directory: Path,
    connections: int = 64,
    script: str | None = None,
    headers: Sequence[str] = (),
) -> Load:
    """Runs wrk with one thread; whole seconds only. Raises RuntimeError when it does not report."""
    lua = directory / f"wrk-{script or 'plain'}.lua"
    parts = ([LUA / "browser.lua", LUA / f"{script}.lua"] if script else []) + [LUA / "report.lua"]
    lua.write_text("\n".join(part.read_text() for part in parts))
    command = ["wrk", "-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s", "--timeout", "10s", "-s", str(lua)]
    for header in headers:
        command += ["-H", header]
    output = run([*command, url], seconds + 30)
    return parse_wrk(output)


def parse_wrk(output: str) -> Load:
    """The line that lua/report.lua prints."""
    match = re.search(r"^RESULT (\{.*\})$", output, re.M)
    if match is None:
        raise RuntimeError(f"wrk did not report:\n{output}")
    report = json.loads(match[1])
    return Load(
        count=report["requests"] - report["status_errors"],
        bytes=report["bytes"],
        errors=report["status_errors"] + report["socket_errors"],
        seconds=report["microseconds"] / 1e6,
        p99_ms=report["p99"] / 1000,
        statuses=report["status_errors"],
    )


def h2load(
    url: str,
    *,
    seconds: float,
    directory: Path,
    connections: int = 64,
    streams: int = 0,
    options: Sequence[str] = (),
) -> Load:
    """Runs h2load with one thread: HTTP/2 with so many streams a connection, or HTTP/1.1 where that is 0.

    Each request's time goes to a file, from which the p99 is taken. Over TLS the protocol is negotiated by ALPN; where
    the server takes another one nothing is completed.
    """
    times = directory / "h2load.times"
    times.unlink(missing_ok=True)
    protocol = [f"-m{streams}", "--npn-list=h2"] if streams else ["--h1"]
    duration = max(1, round(seconds))
    command = ["h2load", *protocol, "-t1", f"-c{connections}", f"-D{duration}", f"--log-file={times}", *options, url]
    output = run(command, seconds + 30)
    match = re.search(r"(\d+) done, (\d+) succeeded, (\d+) failed, (\d+) errored, (\d+) timeout", output)
    if match is None:
        raise RuntimeError(f"h2load did not report:\n{output}")
    durations = sorted(int(line.split()[2]) for line in times.read_text().splitlines())
    times.unlink()
    return Load(
        count=int(match[2]),
        bytes=0,
        errors=int(match[3]) + int(match[5]),
        seconds=duration,
        p99_ms=percentile(durations, 0.99) / 1000,
    )


def percentile(ordered: Sequence[float], share: float) -> float:
    """The value below which `share` of an ordered sequence lies; 0 for an empty one."""
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else 0.0


def run(command: Sequence[str], timeout: float) -> str:
    """The output of a command of ours, ended after `timeout` seconds; raises RuntimeError when it fails."""
    environment = {**os.environ, "LC_ALL": "C"}
    with contextlib.suppress(subprocess.TimeoutExpired):
        done = subprocess.run(command, capture_output=True, text=True, timeout=timeout, env=environment, check=False)
        if done.returncode == 0:
            return done.stdout
        raise RuntimeError(f"{' '.join(command)} failed ({done.returncode}):\n{done.stdout}{done.stderr}")
    raise RuntimeError(f"{' '.join(command)} did not end within {timeout:.0f} s")
