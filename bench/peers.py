"""The proxies that race: where each is found, how it is configured (bench/templates) and started."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

from bench.processes import Tree

HERE = Path(__file__).parent
TEMPLATES = HERE / "templates"
SOURCE = HERE.parent / "src"
COMPILED = HERE.parent / "build" / "compiled"
"""Where `make compiled` puts edgewise (docs/building.md)."""
PLACES = [HERE / ".peers" / "bin", Path(sys.executable).parent]


@dataclass(frozen=True)
class Peer:
    """One proxy with one configuration. `command` and `version` follow the program's path in the argument list."""

    name: str
    program: str
    templates: tuple[str, ...]
    command: tuple[str, ...]
    version: tuple[str, ...]
    env: dict[str, str] = field(default_factory=dict)
    options: dict[str, str] = field(default_factory=dict)
    request_id: bool = True
    logs_to_output: bool = False
    main: bool = True
    variant: bool = False
    cache_only: bool = False
    """Speaks plain HTTP/1.1 and takes part in the rows that name it."""
    needs: Path = HERE

    def find(self) -> str | None:
        """The program's path: bench/.peers and this interpreter's environment first, then PATH and /usr/sbin.

        None where it is not installed, or what the peer `needs` is not there.
        """
        if not self.needs.exists():
            return None
        for place in PLACES:
            if (place / self.program).is_file():
                return str(place / self.program)
        return shutil.which(self.program) or shutil.which(self.program, path="/usr/sbin:/usr/local/sbin")

    def describe(self) -> str:
        """The version the program itself tells; edgewise also how it was built."""
        program = self.find()
        assert program is not None
        done = subprocess.run(
            [program, *self.version],
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
            env={**os.environ, **self.env},
        )
        match = re.search(r"\d+\.\d+(\.\d+)?(, compiled|, pure Python)?", done.stdout + done.stderr)
        return match.group().replace("pure Python", "not compiled") if match else "?"


_SINGLE_GO_THREAD = {"GOMAXPROCS": "1"}
_EDGEWISE = {
    "program": "edgewise",
    "templates": ("edgewise.toml",),
    "command": ("run", "-c", "@dir@/edgewise.toml"),
    "version": ("--version",),
    # A path that the caller gives leads to the edgewise to be measured.
    "env": {"PYTHONPATH": str(COMPILED)} if COMPILED.is_dir() and "PYTHONPATH" not in os.environ else {},
}

PEERS = {
    peer.name: peer
    for peer in (
        Peer("edgewise", **_EDGEWISE),  # type: ignore[arg-type]
        Peer("edgewise-pure", needs=COMPILED, **{**_EDGEWISE, "env": {"PYTHONPATH": str(SOURCE)}}),  # type: ignore[arg-type]
        Peer("nginx", "nginx", ("nginx.conf",), ("-e", "stderr", "-c", "@dir@/nginx.conf"), ("-v",)),
        Peer("haproxy", "haproxy", ("haproxy.cfg",), ("-f", "@dir@/haproxy.cfg"), ("-v",), logs_to_output=True),
        Peer(
            "envoy",
            "envoy",
            ("envoy.yaml",),
            (
                "-c",
                "@dir@/envoy.yaml",
                "--concurrency",
                "1",
                "--disable-hot-restart",
                "--file-flush-interval-msec",
                "1000",
                "--log-level",
                "error",
            ),
            ("--version",),
            main=False,
        ),
        Peer(
            "traefik",
            "traefik",
            ("traefik.yml", "traefik-routes.yml"),
            ("--configfile=@dir@/traefik.yml",),
            ("version",),
            env=_SINGLE_GO_THREAD,
            request_id=False,
            main=False,
        ),
        Peer(
            "caddy",
            "caddy",
            ("Caddyfile",),
            ("run", "--config", "@dir@/Caddyfile", "--adapter", "caddyfile"),
            ("version",),
            env=_SINGLE_GO_THREAD,
            main=False,
        ),
        Peer(
            "varnish",
            "varnishd",
            ("varnish.vcl",),
            (
                "-F",
                "-j",
                "none",
                "-f",
                "@dir@/varnish.vcl",
                "-a",
                "127.0.0.1:@http_port@",
                "-n",
                "@dir@/varnish",
                "-s",
                "malloc,256m",
                "-p",
                "thread_pools=1",
            ),
            ("-V",),
            cache_only=True,
        ),
        Peer(
            "edgewise without memo",
            options={"server_options": "memo_entries = 0"},
            variant=True,
            **_EDGEWISE,  # type: ignore[arg-type]
        ),
    )
}


GATEWAYS = ("edgewise", "edgewise-pure", "nginx", "envoy")
"""Those that are set up to check keys, limit their use and speak CORS."""

TRANSCODERS = ("edgewise", "edgewise-pure", "envoy")
"""Those that are set up to translate JSON to gRPC."""

CACHES = ("edgewise", "edgewise-pure", "nginx", "varnish")
"""Those that are set up to cache."""


@dataclass
class Running:
    """A started proxy and the ports it listens on."""

    peer: Peer
    tree: Tree
    directory: Path
    log: Path
    http_port: int
    https_port: int
    grpc_port: int

    @property
    def name(self) -> str:
        return self.peer.name


def render(template: Path, values: dict[str, object]) -> str:
    """The template with each @name@ replaced; raises KeyError on a name without a value."""
    return re.sub(r"@(\w+)@", lambda match: str(values[match[1]]), template.read_text())


def start(peer: Peer, directory: Path, values: dict[str, object], core: int) -> Running:
    """Writes the configuration into `directory` and starts the proxy there; does not wait until it listens."""
    program = peer.find()
    if program is None:
        raise FileNotFoundError(f"{peer.program} is not installed: run `make bench-install`")
    directory.mkdir(parents=True, exist_ok=True)
    output = directory / "output.log"
    log = output if peer.logs_to_output else directory / "access.log"
    merged = {"server_options": "", "route_options": "", **values, **peer.options, "dir": directory, "log": log}
    for name in peer.templates:
        (directory / name).write_text(render(TEMPLATES / name, merged))
    places = {"@dir@": str(directory), "@http_port@": str(values["http_port"])}
    command = [program, *peer.command]
    for name, place in places.items():
        command = [argument.replace(name, place) for argument in command]
    tree = Tree(command, core=core, cwd=directory, output=output, name=peer.name, env=peer.env)
    ports = (int(str(values[name])) for name in ("http_port", "https_port", "grpc_port"))
    return Running(peer, tree, directory, log, *ports)
