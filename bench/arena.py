"""Where a race takes place: a directory in memory, certificate, origins on the load core, proxies on the other."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from bench.peers import TEMPLATES, Peer, Running, render, start
from bench.ports import answering, free_port, listening
from bench.processes import Tree, cores, stopping, wait_until

ROOT = Path(__file__).parent.parent
BODY = '{"items": [' + ", ".join(f'{{"id": {n}, "name": "item {n}"}}' for n in range(8)) + '], "next": null}'
OPENSSL = (
    "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes "
    "-keyout key.pem -out cert.pem -days 2 -subj /CN=localhost"
)
API_KEY = "bench-0123456789abcdef0123456789abcdef"
"""Of the consumer `shop`; lua/gateway.lua has it too."""
BIG_SIZE = 8 * 1024 * 1024
LARGE_SIZE = 1024 * 1024
TEXT = json.dumps([{"id": n, "name": f"item {n}", "hash": hash(n * 1.5)} for n in range(400)]).encode()
"""What is compressed: some 20 KiB of JSON."""
ORDER = {
    "name": "customers/ada/orders",
    "customer": "Ada Lovelace",
    "revision": "7",
    "state": "AVAILABLE",
    "created": "2026-01-02T03:04:05Z",
    "tags": ["books", "maps"],
    "lines": [{"sku": "A-17", "count": 2, "price": 12.5}, {"sku": "B-4", "count": 1, "price": 3.75}],
    "gift": True,
}
"""What a call of bench.Shop/CreateOrder is answered with; lua/order.lua sends the same."""
MESSAGE = b"\0\0\0\0\x40" + b"edgewise" * 8
"""A gRPC message of 64 bytes behind its prefix: not compressed, length in four bytes."""


@dataclass
class Arena:
    """Directory, ports and processes of one run."""

    directory: Path
    trees: list[Tree]
    proxy_core: int
    load_core: int
    web_port: int = field(default_factory=free_port)
    echo_port: int = field(default_factory=free_port)
    grpc_origin_port: int = field(default_factory=free_port)
    started: int = 0

    def values(self) -> dict[str, object]:
        """What the templates may name."""
        return {
            "dir": self.directory,
            "web_port": self.web_port,
            "echo_port": self.echo_port,
            "grpc_origin_port": self.grpc_origin_port,
            "cert": self.directory / "cert.pem",
            "key": self.directory / "key.pem",
            "pem": self.directory / "both.pem",
            "api_key": API_KEY,
            "descriptors": self.directory / "shop.binpb",
            "body": BODY,
            "body_file": self.directory / "body.json",
            "files": self.directory / "files",
            "master": "on",
            "user": "user root root;" if os.getuid() == 0 else "",
        }

    @property
    def nginx(self) -> str:
        """nginx serves as origin beside its part as the yardstick; raises FileNotFoundError without it."""
        program = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
        if program is None:
            raise FileNotFoundError("nginx is not installed: run `make bench-install`")
        return program

    def start_origins(self) -> None:
        """The web and gRPC origin (nginx: a fixed body, 8 MiB from memory, a message) and the echo origin (Python)."""
        (self.directory / "big.bin").write_bytes(os.urandom(BIG_SIZE))
        for name, content in (("text", TEXT), ("large", os.urandom(LARGE_SIZE))):
            (self.directory / name).mkdir()
            (self.directory / name / "page.json").write_bytes(content)
        self.write_files()
        (self.directory / "message.bin").write_bytes(MESSAGE)
        self.write_orders()
        (self.directory / "body.json").write_text(BODY)
        configuration = self.directory / "origin.conf"
        configuration.write_text(render(TEMPLATES / "origin.conf", self.values()))
        web = self.helper([self.nginx, "-e", "stderr", "-c", str(configuration)], "origin")
        echo = self.helper([sys.executable, "-m", "bench.echo", str(self.echo_port)], "echo")
        wait_until(lambda: listening(self.web_port), 10, "the web origin", web)
        wait_until(lambda: listening(self.echo_port), 10, "the echo origin", echo)

    def write_files(self) -> None:
        """The directory whose files the proxies serve themselves."""
        files = self.directory / "files"
        files.mkdir()
        (files / "small.json").write_text(BODY)
        os.link(self.directory / "big.bin", files / "big.bin")

    def write_orders(self) -> None:
        """The descriptors of the service that JSON is translated for, and a framed message of its."""
        import google.api
        from google.protobuf import json_format, message_factory
        from grpc_tools import protoc  # as .[dev] has them

        from edgewise.protocols.protobuf.descriptors import files_of, make_pool

        descriptors = self.directory / "shop.binpb"
        common = Path(next(iter(google.api.__path__))).parent.parent
        paths = [f"-I{path}" for path in (TEMPLATES, common, Path(protoc.__file__).parent / "_proto")]
        options = [*paths, "--include_imports", f"--descriptor_set_out={descriptors}", "shop.proto"]
        if protoc.main(["protoc", *options]):
            raise RuntimeError("protoc failed")
        pool = make_pool(files_of(descriptors.read_bytes()))
        order = message_factory.GetMessageClass(pool.FindMessageTypeByName("bench.Order"))()
        content = json_format.ParseDict(ORDER, order).SerializeToString()
        (self.directory / "order.bin").write_bytes(b"\0" + len(content).to_bytes(4, "big") + content)

    def helper(self, command: list[str], name: str) -> Tree:
        """Starts a process beside the load."""
        output = self.directory / f"{name}.log"
        tree = Tree(command, core=self.load_core, cwd=ROOT, output=output, name=name)
        self.trees.append(tree)
        return tree

    def proxy(self, peer: Peer) -> Running:
        """Starts a proxy on its core and waits until its ports accept."""
        self.started += 1
        directory = self.directory / f"{self.started}-{peer.name.replace(' ', '-')}"
        ports = {name: free_port() for name in ("http_port", "https_port", "grpc_port", "admin_port")}
        running = start(peer, directory, {**self.values(), **ports}, self.proxy_core)
        self.trees.append(running.tree)
        wait_until(lambda: answering(running.http_port), 20, f"{peer.name} to answer", running.tree)
        if not peer.cache_only:
            wait_until(lambda: listening(running.https_port), 20, f"{peer.name} to listen for TLS", running.tree)
        return running

    def stop(self, running: Running) -> None:
        """Ends one proxy before the run does."""
        running.tree.stop()
        self.trees.remove(running.tree)


@contextlib.contextmanager
def open_arena() -> Iterator[Arena]:
    """An arena with its origins running; everything is ended and removed on leaving."""
    raise_file_limit()
    proxy_core, load_core = cores()
    os.sched_setaffinity(0, {load_core})
    memory = Path("/dev/shm")
    place = memory if os.access(memory, os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="edgewise-bench-", dir=place) as name, stopping([]) as trees:
        arena = Arena(Path(name), trees, proxy_core, load_core)
        write_certificate(arena.directory)
        arena.start_origins()
        yield arena


def write_certificate(directory: Path) -> None:
    """A self-signed P-256 certificate for localhost and shop.example.com."""
    subprocess.run(
        [*OPENSSL.split(), "-addext", "subjectAltName=DNS:localhost,DNS:shop.example.com,IP:127.0.0.1"],
        cwd=directory,
        check=True,
        capture_output=True,
    )
    both = (directory / "cert.pem").read_bytes() + (directory / "key.pem").read_bytes()
    (directory / "both.pem").write_bytes(both)


def raise_file_limit(wanted: int = 65536) -> None:
    """As many open files as allowed, up to `wanted`; the processes started later inherit it."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    for limit in (max(wanted, hard), hard):
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (min(wanted, limit), limit))
        except (ValueError, OSError):
            continue
        return
