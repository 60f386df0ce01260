"""A real ACME authority on loopback: Debian's pebble, with a name server by which every name is this machine."""

from __future__ import annotations

import json
import os
import shutil
import ssl
import subprocess
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from edgewise.tls.development import DevelopmentAuthority
from support.edgewise_process import free_port, wait_for_port

MISSING = "pebble and pebble-challtestsrv are not installed (Debian package: pebble)"
needs_pebble = pytest.mark.skipif(
    shutil.which("pebble") is None or shutil.which("pebble-challtestsrv") is None, reason=MISSING
)
EXTERNAL = ("kid-1", "6MCHzEJJNO-7jQI40yOuB6spGqy3LQTk81_BjFEYYegAdCiHH28P7o7Yeu2qIXFX")
"""Account that `external=True` knows: its key identifier and MAC key."""


class Pebble:
    """An authority that checks http-01 at `http_port` and tls-alpn-01 at `tls_port`; state ends with the process."""

    def __init__(
        self,
        directory: Path,
        http_port: int,
        tls_port: int,
        *,
        seconds: int = 7776000,
        external: bool = False,
        slow: bool = False,
    ) -> None:
        """`seconds` is the lifetime of certificates; `external`: accounts must be bound to `EXTERNAL`.

        `slow`: wait a few seconds before a challenge is checked.
        """
        self._pace = {"PEBBLE_VA_SLEEPTIME": "4"} if slow else {"PEBBLE_VA_NOSLEEP": "1"}
        directory.mkdir(exist_ok=True)
        self._directory = directory
        authority = DevelopmentAuthority("pebble's own")
        self.ca_file = authority.write(directory, "pebble-ca")
        certificate, key = authority.issue(["127.0.0.1", "localhost"]).write(directory, "pebble")
        self.port, self.management, self.dns = free_port(), free_port(), free_port()
        self.url = f"https://127.0.0.1:{self.port}/dir"
        settings = {
            "listenAddress": f"127.0.0.1:{self.port}",
            "managementListenAddress": f"127.0.0.1:{self.management}",
            "certificate": certificate,
            "privateKey": key,
            "httpPort": http_port,
            "tlsPort": tls_port,
            "ocspResponderURL": "",
            "externalAccountBindingRequired": external,
            "externalAccountMACKeys": dict([EXTERNAL]),
            "certificateValidityPeriod": seconds,
        }
        (directory / "pebble.json").write_text(json.dumps({"pebble": settings}))
        self._processes: list[subprocess.Popen[bytes]] = []
        self.start()

    def start(self) -> None:
        """Start, or start again with nothing remembered."""
        off = [flag for name in ("http01", "https01", "tlsalpn01") for flag in (f"-{name}", "")]
        names = ["-defaultIPv6", "", "-dns01", f"127.0.0.1:{self.dns}", "-management", f"127.0.0.1:{free_port()}"]
        config = str(self._directory / "pebble.json")
        with (self._directory / "pebble.log").open("ab") as log:
            for command in (
                ["pebble-challtestsrv", *off, *names],
                ["pebble", "-config", config, "-dnsserver", f"127.0.0.1:{self.dns}"],
            ):
                environ = {**os.environ, **self._pace, "PEBBLE_AUTHZREUSE": "0"}
                self._processes.append(subprocess.Popen(command, stdout=log, stderr=log, env=environ))
        wait_for_port(self.port, lambda: all(process.poll() is None for process in self._processes))

    @property
    def log(self) -> str:
        """What pebble wrote."""
        return (self._directory / "pebble.log").read_text(errors="replace")

    def root(self) -> str:
        """Return the root certificate (PEM) of this run."""
        return self._manage("roots/0").decode()

    def status(self, serial: int) -> dict[str, Any]:
        """Return what pebble knows of a certificate it issued."""
        found: dict[str, Any] = json.loads(self._manage(f"cert-status-by-serial/{serial:x}"))
        return found

    def _manage(self, path: str) -> bytes:
        context = ssl.create_default_context(cafile=self.ca_file)
        with urllib.request.urlopen(f"https://127.0.0.1:{self.management}/{path}", context=context) as answer:
            content: bytes = answer.read()
            return content

    def signal(self, number: int) -> None:
        """Send a signal to both processes."""
        for process in self._processes:
            process.send_signal(number)

    def stop(self) -> None:
        """End both processes."""
        for process in self._processes:
            process.kill()
            process.wait()
        self._processes.clear()
