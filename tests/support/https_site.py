"""An edgewise that gets its certificates by itself, and how a browser would see it."""

from __future__ import annotations

import errno
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
from pathlib import Path
from typing import Any

from cryptography import x509

from support.edgewise_process import COMMAND, EdgewiseProcess, wait_until
from support.raw_http import RawClient, RawResponse, get

TOML = """
[server]
listen = ["127.0.0.1:$PORT"]
tls_listen = ["127.0.0.1:$TLS_PORT"]
admin = "127.0.0.1:$ADMIN_PORT"
workers = WORKERS
[tls]
directory = "$DIR/state"
TLS
[[routes]]
host = [HOSTS]
respond = { body = "secure" }
"""
NAME = "shop.example.com"


class HttpsSite:
    """Starts edgewise with `tls` (lines of the [tls] table and below) for `hosts`."""

    def __init__(
        self, directory: Path, tls: str, *, hosts: tuple[str, ...] = (NAME,), workers: int = 1, ports: Any = None
    ) -> None:
        directory.mkdir(exist_ok=True)
        self.toml = TOML.replace("WORKERS", str(workers)).replace("TLS\n", tls + "\n")
        self.toml = self.toml.replace("HOSTS", ", ".join(f'"{host}"' for host in hosts))
        self._directory = directory
        self.state = directory / "state"
        self.start(ports)

    def start(self, ports: Any = None) -> None:
        """Start, or start again with the state that is there."""
        self.edgewise = EdgewiseProcess(self.toml, self._directory, ports=ports)

    def kill(self) -> None:
        """Kill every process at once; return once none of them listens any more."""
        for pid in self.edgewise.tree():
            os.kill(pid, signal.SIGKILL)
        self.edgewise.process.wait()
        ports = (self.edgewise.port, self.edgewise.tls_port, self.edgewise.admin_port)
        wait_until(lambda: all(_refuses(port) for port in ports), "the workers are gone", 60.0)

    def certificates(self) -> dict[str, dict[str, Any]]:
        """Return what the admin address shows of the certificates, by name."""
        found = json.loads(self.edgewise.admin("/api/v1/certificates"))["certificates"]
        return {each["name"]: each for each in found}

    def wait_issued(self, *names: str) -> None:
        """Wait until these names have certificates and nothing failed since."""
        names = names or (NAME,)

        def issued() -> bool:
            found = self.certificates()
            return all(found[name]["not_after"] and not found[name]["failures"] for name in names)

        wait_until(issued, f"{', '.join(names)} have certificates; the log:\n{self.edgewise.log[-3000:]}")

    def wait_failures(self, count: int, name: str = NAME) -> dict[str, Any]:
        """Wait until so many attempts failed; return what the admin address shows."""
        wait_until(lambda: self.certificates()[name]["failures"] >= count, f"{count} attempts failed")
        return self.certificates()[name]

    def command(self, *arguments: str) -> str:
        """Run a command of edgewise against this one; return what it printed."""
        words = [COMMAND, *arguments, "-c", str(self.edgewise.config)]
        environ = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        result = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False, env=environ)
        assert result.returncode == 0, result.stderr
        return result.stdout

    def served(self, name: str = NAME) -> x509.Certificate:
        """Return the certificate that a new connection is shown, trusted or not."""
        with self.connect(name, trust=None) as client:
            assert isinstance(client.sock, ssl.SSLSocket)
            shown = client.sock.getpeercert(True)
        assert shown
        return x509.load_der_x509_certificate(shown)

    def connect(self, name: str = NAME, trust: str | None = None, **options: Any) -> RawClient:
        """Open a TLS connection that asks for `name`; verified by the authority `trust` (PEM) where one is given."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        if trust is None:
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        else:
            context.load_verify_locations(cadata=trust)
        return RawClient(("127.0.0.1", self.edgewise.tls_port), tls=context, server_name=name, **options)

    def ask(self, name: str = NAME, trust: str | None = None) -> RawResponse:
        """GET / over TLS."""
        with self.connect(name, trust) as client:
            return client.ask(get("/", name))

    def ask_plain(self, target: str = "/", name: str = NAME) -> RawResponse:
        """GET without TLS."""
        with self.edgewise.client() as client:
            return client.ask(get(target, name))

    def control_pid(self) -> int:
        """Return the process id of the control process."""
        workers = {worker["pid"] for worker in json.loads(self.edgewise.admin("/api/v1/status"))["workers"]}
        (pid,) = set(self.edgewise.tree()[1:]) - workers
        return pid

    def stop(self) -> None:
        """Stop edgewise; nothing may have crashed."""
        self.edgewise.stop()
        assert "Traceback" not in self.edgewise.log, self.edgewise.log


def _refuses(port: int) -> bool:
    with socket.socket() as sock:
        return sock.connect_ex(("127.0.0.1", port)) == errno.ECONNREFUSED
