"""Runs the public HTTP cache conformance suite (https://cache-tests.fyi) against edgewise and prints a table.

python tools/cache_conformance.py SUITE [--target http://HOST:PORT]

SUITE is a checkout of https://github.com/http-tests/cache-tests, with its package undici installed (`npm install
--no-save undici@7`). Without Node.js nothing is run and the exit code is 2. Otherwise each case that was not passed is
printed, and the exit code is 1 when a required one failed that is not expected to. `--target` tests another cache
instead, in front of `--origin-port`.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from support.edgewise_process import EdgewiseProcess, free_port, wait_until
from support.raw_http import RawClient

TOML = """
[server]
listen = ["127.0.0.1:$PORT"]
admin = "off"
workers = 1
[upstreams.origin]
servers = ["127.0.0.1:{port}"]
[[routes]]
path = "/*"
upstream = "origin"
cache = {{}}
"""
CLIENT = """
const suite = process.argv[1]
const { runTests, getResults } = await import(suite + '/test-engine/client/runner.mjs')
const { determineTestResult, resultTypes } = await import(suite + '/test-engine/lib/results.mjs')
const tests = (await import(suite + '/tests/index.mjs')).default
await runTests(tests, false, process.argv[2])
const results = getResults()
const names = new Map(Object.entries(resultTypes).map(([name, type]) => [type, name]))
const cases = tests.flatMap(group => group.tests.filter(test => !test.browser_only).map(test => ({
  group: group.id, name: test.id, kind: test.kind || 'required',
  outcome: names.get(determineTestResult(tests, test.id, results)),
  detail: results[test.id] === true ? '' : String(results[test.id])
})))
console.log('CASES ' + JSON.stringify(cases))
process.exit(0)
"""
EXPECTED = {
    "headers-store-Set-Cookie": "a response that sets a cookie is stored only where it is for shared caches",
    "headers-store-Transfer-Encoding": "the origin's transfer coding is made up, which is a 502 here",
}
"""Required cases that are not passed for a reason."""
KINDS = ("required", "optimal", "check")
PATIENCE = 600
"""Seconds the suite may take: most cases wait for three until something is stale."""


@dataclass(frozen=True)
class Case:
    """What came of one case; `outcome` by the suite's own names."""

    group: str
    name: str
    kind: str
    outcome: str
    detail: str

    @property
    def passed(self) -> bool:
        """Did the cache do what is asked for, or, where only the behaviour is asked for, what most do?"""
        return self.outcome in ("pass", "yes")


def run_suite(node: str, suite: Path, base: str) -> list[Case]:
    """Run all cases against the cache at `base`; raises RuntimeError where the suite breaks off."""
    command = [node, "--no-warnings", "--input-type=module", "--eval", CLIENT, str(suite), base]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
    for line in done.stdout.splitlines():
        if line.startswith("CASES "):
            return [Case(**case) for case in json.loads(line.removeprefix("CASES "))]
    raise RuntimeError(f"the suite ended with {done.returncode}:\n{done.stdout}{done.stderr}")


def start_origin(node: str, suite: Path, port: int, directory: Path) -> subprocess.Popen[bytes]:
    """Start the suite's own server."""
    settings = {"protocol": "http", "port": str(port), "pidfile": str(directory / "origin.pid")}
    environment = os.environ | {f"npm_config_{name}": value for name, value in settings.items()}
    command = [node, "test-engine/server/server.mjs"]
    return subprocess.Popen(command, cwd=suite, env=environment, stdout=subprocess.DEVNULL)


def answers(port: int) -> bool:
    """Does something accept connections there?"""
    try:
        RawClient(("127.0.0.1", port)).close()
    except OSError:
        return False
    return True


def show(cases: list[Case]) -> bool:
    """Print the table and what was not passed; False when a required case failed that is not expected to."""
    print(f"{'group':<20}" + "".join(f"{kind:>12}" for kind in KINDS))
    for group in dict.fromkeys(case.group for case in cases):
        print(f"{group:<20}" + counts([case for case in cases if case.group == group]))
    print(f"{'all':<20}" + counts(cases))
    for case in cases:
        if not case.passed and case.kind != "check":
            note = EXPECTED.get(case.name, "NOT EXPECTED" if case.kind == "required" else "")
            print(f"  {case.kind} {case.name}: {case.outcome} {case.detail[:100]} {note}".rstrip())
    return all(case.passed or case.kind != "required" or case.name in EXPECTED for case in cases)


def counts(cases: list[Case]) -> str:
    """Return passed/all of each kind as columns."""
    whole = Counter(case.kind for case in cases)
    passed = Counter(case.kind for case in cases if case.passed)
    return "".join(f"{f'{passed[kind]}/{whole[kind]}' if whole[kind] else '-':>12}" for kind in KINDS)


def main() -> int:
    """Run what the command line asks for; the exit code."""
    parser = argparse.ArgumentParser(description="the HTTP cache conformance suite against edgewise")
    parser.add_argument("suite", type=Path, help="checkout of http-tests/cache-tests")
    parser.add_argument("--target", metavar="URL", help="another cache")
    parser.add_argument("--origin-port", type=int, help="port on which the other cache looks for the origin")
    arguments = parser.parse_args()
    node = shutil.which("node")
    if node is None:
        print("Node.js is not on PATH: nothing was tested", file=sys.stderr)
        return 2
    suite, port = arguments.suite.resolve(), arguments.origin_port or free_port()
    with tempfile.TemporaryDirectory() as name:
        origin = start_origin(node, suite, port, Path(name))
        edgewise = None
        try:
            wait_until(lambda: answers(port), "the suite's server answers")
            if arguments.target is None:
                edgewise = EdgewiseProcess(TOML.format(port=port), Path(name))
            target = arguments.target or f"http://127.0.0.1:{edgewise.port if edgewise else port}"
            return 0 if show(run_suite(node, suite, target)) else 1
        finally:
            if edgewise is not None:
                edgewise.stop()
            origin.terminate()
            origin.wait()


if __name__ == "__main__":
    sys.exit(main())
