"""Runs h2spec, a public HTTP/2 conformance tool, against edgewise: by prior knowledge, then over TLS.

python tools/http2_conformance.py [--strict] [--target HOST:PORT [--tls]] [SECTION ...]

h2spec is found by EDGEWISE_H2SPEC or on PATH (its source builds with Debian's golang-go, golang-golang-x-net-dev,
golang-github-fatih-color-dev and golang-github-spf13-cobra-dev). Without it nothing is run and the exit code is 2.
Otherwise each failed case is printed, and the exit code is 1 when one failed that is not expected to.
`--target` tests another server instead, which must answer GET and POST of "/" with 200 and some content.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from edgewise.tls.development import DevelopmentAuthority
from support.edgewise_process import EdgewiseProcess
from support.origin import Origin

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 64\r\n\r\n" + b"edgewise" * 8
TOML = """
[server]
listen = ["127.0.0.1:$PORT"]
tls_listen = ["127.0.0.1:$TLS_PORT"]
admin = "off"
workers = 1
[tls]
certificates = [{{ cert = "{cert}", key = "{key}" }}]
[upstreams.app]
servers = ["{origin}"]
"""
PLAIN = {
    "http2/3.5: Sends invalid connection preface": "the plain listener speaks HTTP/1.1 too, and refuses this with a 400"
}
"""Cases that fail for a reason by prior knowledge."""
PATIENCE = 600
"""Seconds one run of h2spec may take: each case that gets no answer waits for two."""


@dataclass(frozen=True)
class Case:
    """What came of one case."""

    name: str
    outcome: str
    """passed, skipped or failed"""
    detail: str = ""


def find_h2spec() -> str | None:
    """Return the program's path, or None."""
    return os.environ.get("EDGEWISE_H2SPEC") or shutil.which("h2spec")


def run_h2spec(program: str, host: str, port: int, options: list[str]) -> list[Case]:
    """Run every case against one address; raises RuntimeError where h2spec leaves no report."""
    with tempfile.TemporaryDirectory() as directory:
        report = Path(directory) / "report.xml"
        command = [program, "-h", host, "-p", str(port), "-j", str(report), *options]
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
        if not report.exists():
            raise RuntimeError(f"h2spec ended with {done.returncode}:\n{done.stdout}{done.stderr}")
        return read_report(report.read_text())


def read_report(text: str) -> list[Case]:
    """Return the cases of a JUnit report."""
    cases = []
    for element in ElementTree.fromstring(text).iter("testcase"):
        name = f"{element.get('package')}: {element.get('classname')}"
        failure = element.find("failure") if element.find("failure") is not None else element.find("error")
        if failure is not None:
            *wanted, got = [line.strip() for line in (failure.text or "no reason given").strip().splitlines()]
            cases.append(Case(name, "failed", f"wanted {' | '.join(wanted)}; got {got}"))
        else:
            cases.append(Case(name, "passed" if element.find("skipped") is None else "skipped"))
    return cases


def show(title: str, cases: list[Case], expected: dict[str, str]) -> bool:
    """Print counts and failures; False when a case failed that is not expected to."""
    count = {outcome: sum(case.outcome == outcome for case in cases) for outcome in ("passed", "skipped", "failed")}
    print(f"{title}: {count['passed']}/{len(cases)} passed, {count['skipped']} skipped, {count['failed']} failed")
    for case in cases:
        if case.outcome == "failed":
            print(f"  {case.name}\n      {case.detail}\n      {expected.get(case.name, 'NOT EXPECTED')}")
        elif case.outcome == "skipped":
            print(f"  {case.name}: skipped by h2spec")
    return bool(cases) and all(case.outcome != "failed" or case.name in expected for case in cases)


def run_edgewise(program: str, options: list[str]) -> bool:
    """Start edgewise before an origin and test both of its listeners; False on an unexpected failure."""
    origin = Origin(ANSWER)
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        authority = DevelopmentAuthority()
        authority.write(directory)
        cert, key = authority.issue(["localhost"]).write(directory, "localhost")
        edgewise = EdgewiseProcess(TOML.format(cert=cert, key=key, origin=origin.address), directory)
        try:
            plain = show("h2c, prior knowledge", run_h2spec(program, "127.0.0.1", edgewise.port, options), PLAIN)
            secure = show("TLS, ALPN", run_h2spec(program, "127.0.0.1", edgewise.tls_port, ["-t", "-k", *options]), {})
            alive = edgewise.alive()
        finally:
            edgewise.stop()
            origin.stop()
    return plain and secure and alive


def main() -> int:
    """Run what the command line asks for; the exit code."""
    parser = argparse.ArgumentParser(description="h2spec against edgewise")
    parser.add_argument("sections", nargs="*", metavar="SECTION", help='such as "http2/5.1", "hpack"; default: all')
    parser.add_argument("--strict", action="store_true", help="the case of what RFC 9113 only recommends, too")
    parser.add_argument("--target", metavar="HOST:PORT", help="another server")
    parser.add_argument("--tls", action="store_true", help="the other server speaks TLS")
    arguments = parser.parse_args()
    program = find_h2spec()
    if program is None:
        print("h2spec is not on PATH, and EDGEWISE_H2SPEC does not name it: nothing was tested", file=sys.stderr)
        return 2
    options = [*(["--strict"] if arguments.strict else []), *arguments.sections]
    if arguments.target is None:
        return 0 if run_edgewise(program, options) else 1
    host, _, port = arguments.target.rpartition(":")
    tls = ["-t", "-k"] if arguments.tls else []
    return 0 if show(arguments.target, run_h2spec(program, host, int(port), [*tls, *options]), {}) else 1


if __name__ == "__main__":
    sys.exit(main())
