"""An edgewise of our own for the soak and the faults: its files, its processes, its admin address."""

from __future__ import annotations

import http.client
import json
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.arena import ROOT, Arena
from bench.load import LUA, Load, parse_wrk
from bench.peers import PEERS, TEMPLATES, render
from bench.ports import answering, free_port
from bench.processes import Tree, wait_until


class Edgewise:
    """A running `edgewise run -c FILE` from a template, pinned to the proxies' core."""

    def __init__(self, arena: Arena, template: str, **values: object) -> None:
        self.arena = arena
        self.directory = arena.directory / "edgewise"
        self.directory.mkdir()
        self.template = template
        self.file = self.directory / "edgewise.toml"
        self.log = self.directory / "access.log"
        self.port, self.admin_port = free_port(), free_port()
        self.configure(**values)
        peer = PEERS["edgewise"]
        program = peer.find()
        if program is None:
            raise FileNotFoundError("edgewise is not installed in this environment")
        command = [program, "run", "-c", str(self.file)]
        output = self.directory / "output.log"
        self.tree = Tree(
            command, core=arena.proxy_core, cwd=self.directory, output=output, name=peer.name, env=peer.env
        )
        arena.trees.append(self.tree)
        wait_until(lambda: answering(self.port), 20, "edgewise to answer", self.tree)

    def configure(self, **values: object) -> None:
        """Writes the configuration file; edgewise reads it at its start and on reload()."""
        ports = {"http_port": self.port, "admin_port": self.admin_port, "log": self.log}
        self.file.write_text(render(TEMPLATES / self.template, {**self.arena.values(), **ports, **values}))

    def admin(self, path: str) -> Any:
        """The JSON document at a path of the admin address; raises OSError or RuntimeError."""
        connection = http.client.HTTPConnection("127.0.0.1", self.admin_port, timeout=5)
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            body = response.read()
            if response.status != 200:
                raise RuntimeError(f"{path}: {response.status} {body[:200]!r}")
            return json.loads(body)
        finally:
            connection.close()

    def generation(self) -> int:
        """Configurations loaded so far."""
        return int(self.admin("/api/v1/status")["generation"])

    def server(self, upstream: str, name: str) -> dict[str, Any]:
        """State of one server as the admin address shows it."""
        for group in self.admin("/api/v1/upstreams")["upstreams"]:
            for server in group["servers"]:
                if group["name"] == upstream and server["name"] == name:
                    return dict(server)
        raise RuntimeError(f"the admin address knows no server {upstream}/{name}")

    def reload(self) -> None:
        """Asks for a reload by SIGHUP; does not wait for it."""
        self.tree.process.send_signal(signal.SIGHUP)


class OpenWrk:
    """A wrk that runs until it is told to stop."""

    def __init__(self, url: str, directory: Path, connections: int, script: str = "", headers: Sequence[str] = ()):
        lua = directory / f"open-{connections}-{script or 'plain'}.lua"
        parts = ([LUA / f"{script}.lua"] if script else []) + [LUA / "report.lua"]
        lua.write_text("\n".join(part.read_text() for part in parts))
        command = ["wrk", "-t1", f"-c{connections}", "-d3600s", "--timeout", "10s", "-s", str(lua)]
        for header in headers:
            command += ["-H", header]
        self.process = subprocess.Popen([*command, url], stdout=subprocess.PIPE, text=True, cwd=ROOT)
        self.began = time.monotonic()

    def stop(self) -> Load:
        """What it did; wrk reports when it is interrupted."""
        self.process.send_signal(signal.SIGINT)
        try:
            output, _ = self.process.communicate(timeout=20)
        except subprocess.TimeoutExpired:
            self.kill()
            raise
        return parse_wrk(output)

    def kill(self) -> None:
        """Ends it without a report, if it still runs."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
