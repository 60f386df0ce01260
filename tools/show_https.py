"""Shows automatic HTTPS against a real ACME authority on loopback: `python tools/show_https.py [DIRECTORY]`.

Needs Debian's package `pebble` (pebble and pebble-challtestsrv), curl and openssl. Nothing leaves this machine.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from edgewise.tls.development import DevelopmentAuthority

EDGEWISE = str(Path(sys.executable).with_name("edgewise"))
NAME = "shop.example.com"
CONFIG = """\
[server]
listen = ["127.0.0.1:{http}"]
tls_listen = ["127.0.0.1:{https}"]
admin = "127.0.0.1:{admin}"
workers = 2
[tls]
directory = "state"
redirect = true
hsts = "1y"
[tls.acme]
directory = "{url}"
ca_file = "{ca}"
challenges = {challenges}
retry = "2s"
[[routes]]
host = "shop.example.com"
respond = {{ body = "hello over TLS\\n" }}
"""


def ports(count: int) -> list[int]:
    """Return free ports, all of them different."""
    probes = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    found = [probe.getsockname()[1] for probe in probes]
    for probe in probes:
        probe.close()
    return found


def wait(condition: Callable[[], object], what: str, seconds: float = 60.0) -> None:
    """Wait for something to come true."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            if condition():
                return
        except (OSError, ValueError):
            pass
        time.sleep(0.1)
    sys.exit(f"waited in vain until {what}")


def listening(port: int) -> bool:
    """Does something accept connections there?"""
    socket.create_connection(("127.0.0.1", port), 1).close()
    return True


def title(text: str) -> None:
    """Print a heading."""
    print(f"\n== {text}", flush=True)


def shell(command: str) -> None:
    """Run a command as one would type it, and show both."""
    print(f"$ {command}")
    result = subprocess.run(command, shell=True, capture_output=True, text=True, check=False)
    print((result.stdout + result.stderr).rstrip(), flush=True)


class Site:
    """One edgewise and the pebble it orders from."""

    def __init__(self, directory: Path, challenges: list[str], *, lifetime: int = 7776000, checked: int = 0) -> None:
        self.directory = directory
        directory.mkdir(parents=True)
        self.http, self.https, self.admin, self.acme, self.manage, self.dns, spare = ports(7)
        authority = DevelopmentAuthority("pebble's own")
        self.ca = authority.write(directory, "pebble-ca")
        cert, key = authority.issue(["127.0.0.1"]).write(directory, "pebble")
        pebble = {
            "listenAddress": f"127.0.0.1:{self.acme}",
            "managementListenAddress": f"127.0.0.1:{self.manage}",
            "certificate": cert,
            "privateKey": key,
            "httpPort": checked or self.http,
            "tlsPort": self.https,
            "certificateValidityPeriod": lifetime,
        }
        (directory / "pebble.json").write_text(json.dumps({"pebble": pebble}))
        self.environ = {**os.environ, "PEBBLE_VA_NOSLEEP": "1"}
        self.pebble: list[subprocess.Popen[bytes]] = []
        self.start_pebble(spare)
        url = f"https://127.0.0.1:{self.acme}/dir"
        self.serve(url, self.ca, challenges)

    def start_pebble(self, spare: int = 0) -> None:
        """Start the authority and a name server by which every name is this machine."""
        names = [
            "-dns01",
            f"127.0.0.1:{self.dns}",
            "-defaultIPv6",
            "",
            "-management",
            f"127.0.0.1:{spare or ports(1)[0]}",
        ]
        off = ["-http01", "", "-https01", "", "-tlsalpn01", ""]
        config = str(self.directory / "pebble.json")
        for command in (
            ["pebble-challtestsrv", *names, *off],
            ["pebble", "-config", config, "-dnsserver", f"127.0.0.1:{self.dns}"],
        ):
            log = (self.directory / "pebble.log").open("ab")
            self.pebble.append(subprocess.Popen(command, stdout=log, stderr=log, env=self.environ))
        wait(lambda: listening(self.acme), "pebble listens")

    def stop_pebble(self) -> None:
        """Kill the authority."""
        for process in self.pebble:
            process.kill()
            process.wait()
        self.pebble.clear()

    def serve(self, url: str, ca: str, challenges: list[str]) -> None:
        """Start edgewise."""
        values = {"http": self.http, "https": self.https, "admin": self.admin, "url": url, "ca": ca}
        (self.directory / "edgewise.toml").write_text(CONFIG.format(**values, challenges=json.dumps(challenges)))
        log = (self.directory / "edgewise.log").open("ab")
        self.edgewise = subprocess.Popen([EDGEWISE, "run"], cwd=self.directory, stdout=log, stderr=log)
        wait(lambda: listening(self.admin) and listening(self.https), "edgewise serves")

    def state(self) -> dict[str, str]:
        """Return what the admin address shows of the certificate."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.admin}/api/v1/certificates") as answer:
            found: dict[str, str] = json.load(answer)["certificates"][0]
            return found

    def issued(self) -> None:
        """Wait for the certificate and keep the root of this run's authority in root.pem."""
        wait(lambda: self.state()["not_after"] and not self.state()["failures"], "there is a certificate")
        context = ssl.create_default_context(cafile=self.ca)
        with urllib.request.urlopen(f"https://127.0.0.1:{self.manage}/roots/0", context=context) as answer:
            (self.directory / "root.pem").write_bytes(answer.read())

    def curl(self) -> None:
        """Ask over TLS, trusting the authority's root alone."""
        where = f"--resolve {NAME}:{self.https}:127.0.0.1 https://{NAME}:{self.https}/"
        shell(f"curl -sSi --cacert {self.directory}/root.pem {where} | grep -iE '^HTTP|^strict|hello'")

    def serial(self) -> str:
        """Return the serial of the certificate that is served."""
        command = f"openssl s_client -connect 127.0.0.1:{self.https} -servername {NAME} </dev/null 2>/dev/null"
        result = subprocess.run(f"{command} | openssl x509 -noout -serial", shell=True, capture_output=True, text=True)
        return result.stdout.strip().removeprefix("serial=")

    def command(self, line: str) -> None:
        """Run a command of edgewise in the site's directory."""
        shell(f"cd {self.directory} && {EDGEWISE} {line}")

    def status(self) -> None:
        """Show the part of the status that is about certificates."""
        shell(f"cd {self.directory} && {EDGEWISE} status | sed -n '/^CERTIFICATE/,$p'")

    def log(self, pattern: str) -> None:
        """Show the last lines of the log that match."""
        shell(f"grep -hE '{pattern}' {self.directory}/edgewise.log | tail -3")

    def stop(self) -> None:
        """Stop both."""
        self.edgewise.terminate()
        self.edgewise.wait()
        self.stop_pebble()


class Limiter(BaseHTTPRequestHandler):
    """An authority that has had enough of our orders."""

    orders = 0

    def do_GET(self) -> None:
        """The directory."""
        base = f"https://{self.headers['Host']}"
        self.reply(200, {name: f"{base}/{name}" for name in ("newNonce", "newAccount", "newOrder")})

    def do_POST(self) -> None:
        """An account for everybody, a certificate for nobody."""
        self.rfile.read(int(self.headers["Content-Length"]))
        if self.path != "/newOrder":
            self.reply(200, {}, Location=f"https://{self.headers['Host']}/account")
            return
        Limiter.orders += 1
        kind = "urn:ietf:params:acme:error:rateLimited"
        self.reply(429, {"type": kind, "detail": "too many new orders recently"}, Retry_After="3600")

    def reply(self, status: int, content: object, **headers: str) -> None:
        """Answer with JSON."""
        body = json.dumps(content).encode()
        self.send_response(status)
        for name, value in {"Replay_Nonce": "bm9uY2U", "Content_Length": str(len(body)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: object) -> None:
        """Say nothing."""


class Impostor(BaseHTTPRequestHandler):
    """Another server at the place where the authority looks."""

    def do_GET(self) -> None:
        """Know of no challenge."""
        self.send_error(404)

    def log_message(self, format: str, *arguments: object) -> None:
        """Say nothing."""


def show_issue_and_renewal(directory: Path) -> None:
    """Issue by each challenge, files, redirect; then renew, revoke, and an authority that is down for a while."""
    for challenge in ("http-01", "tls-alpn-01"):
        title(f"a certificate by {challenge}")
        site = Site(directory / challenge, [challenge])
        site.issued()
        site.log("certificate issued")
        site.curl()
        if challenge == "http-01":
            site.stop()
    title("what is on disk, and plain HTTP")
    shell(f"cd {site.directory} && find state -printf '%M %u %p\\n' | sort -k3")
    shell(f"curl -si -H 'Host: {NAME}' 'http://127.0.0.1:{site.http}/cart?id=1' | grep -iE '^HTTP|^location'")
    title("revoke and reissue")
    before = site.serial()
    site.command(f"renew {NAME} --revoke")
    wait(lambda: "is revoked" in (site.directory / "edgewise.log").read_text(), "the old one is revoked")
    site.log("issued|revoked")
    print(f"serial before: {before}\nserial now:    {site.serial()}")
    old = f"https://127.0.0.1:{site.manage}/cert-status-by-serial/{before.lower().lstrip('0')}"
    shell(f"curl -s --cacert {site.ca} {old} | grep -oE '\"(Status|Reason)\": ?[^,]*'")
    title("the authority is down for a while")
    before = site.serial()
    site.stop_pebble()
    site.command(f"renew {NAME}")
    wait(lambda: int(site.state()["failures"]) >= 2, "two attempts failed")
    site.status()
    print(f"still served: {site.serial() == before}")
    site.curl()
    site.start_pebble()
    wait(lambda: not site.state()["failures"], "it is issued by itself")
    print(f"authority back, new certificate served: {site.serial() != before}")
    site.log("next attempt|issued")
    title("kill -9 of every process in the middle of a renewal, and a start while the authority is away")
    before = site.serial()
    site.stop_pebble()
    site.environ = {**os.environ, "PEBBLE_VA_SLEEPTIME": "4", "PEBBLE_AUTHZREUSE": "0"}  # time to be in the middle of
    site.start_pebble()
    site.command(f"renew {NAME}")
    wait(lambda: list((site.directory / "state" / "challenges").iterdir()), "a challenge is under way")
    children = Path(f"/proc/{site.edgewise.pid}/task/{site.edgewise.pid}/children").read_text().split()
    for pid in [site.edgewise.pid, *map(int, children)]:
        os.kill(pid, 9)
    site.edgewise.wait()
    site.stop_pebble()
    site.serve(f"https://127.0.0.1:{site.acme}/dir", site.ca, ["tls-alpn-01"])
    print(f"served after the start: {'the old certificate' if site.serial() == before else 'another one'}")
    site.stop()


def show_renewal_ahead(directory: Path) -> None:
    """Certificates of 15 seconds: renewed by themselves while a client asks all the time."""
    title("renewed ahead of its end (certificates of 15 s), with a client that asks all the time")
    site = Site(directory / "renewal", ["tls-alpn-01"], lifetime=15)
    site.issued()
    shown: set[bytes | None] = set()
    asked = failed = 0
    context = ssl.create_default_context(cafile=str(site.directory / "root.pem"))
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        asked += 1
        try:
            with socket.create_connection(("127.0.0.1", site.https), 10) as plain:
                sock = context.wrap_socket(plain, server_hostname=NAME)
                sock.sendall(f"GET / HTTP/1.1\r\nHost: {NAME}\r\nConnection: close\r\n\r\n".encode())
                failed += not sock.recv(65536).startswith(b"HTTP/1.1 200")
                shown.add(sock.getpeercert(True))
        except OSError as error:
            failed += 1
            print(error)
        time.sleep(0.02)
    print(f"{asked} verified connections and requests in 30 s, {failed} failed; {len(shown)} certificates were shown")
    site.stop()


def show_failures(directory: Path) -> None:
    """A challenge whose answer is somebody else's, and an authority that limits."""
    title("a wrong answer to the challenge: the authority is led to another server")
    impostor = ThreadingHTTPServer(("127.0.0.1", 0), Impostor)
    threading.Thread(target=impostor.serve_forever, daemon=True).start()
    site = Site(directory / "wrong", ["http-01"], checked=impostor.server_address[1])
    wait(lambda: site.state()["failures"], "an attempt failed")
    site.status()
    shell(f"openssl s_client -connect 127.0.0.1:{site.https} -servername {NAME} </dev/null 2>/dev/null | grep subject=")
    shell(f"curl -s http://127.0.0.1:{site.admin}/metrics | grep '^edgewise_tls'")
    title("an authority that limits: waited for as long as it says, over a restart too")
    limiter = ThreadingHTTPServer(("127.0.0.1", 0), Limiter)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(site.directory / "pebble.pem", site.directory / "pebble.key")
    limiter.socket = context.wrap_socket(limiter.socket, server_side=True)
    threading.Thread(target=limiter.serve_forever, daemon=True).start()
    url = f"https://127.0.0.1:{limiter.server_address[1]}/directory"
    shutil.rmtree(site.directory / "state")
    for attempt in ("first start", "second start"):
        site.edgewise.terminate()
        site.edgewise.wait()
        site.serve(url, site.ca, ["http-01"])
        wait(lambda: site.state()["failures"], "the order was refused")
        now = time.strftime("%H:%M:%S", time.gmtime())
        print(f"{attempt}, now {now}: {Limiter.orders} order(s) reached the authority so far")
        site.status()
    site.stop()


def main() -> None:
    """Show everything."""
    missing = [each for each in ("pebble", "pebble-challtestsrv", "curl", "openssl") if shutil.which(each) is None]
    if missing:
        sys.exit(f"missing: {', '.join(missing)}")
    directory = Path(sys.argv[1] if len(sys.argv) > 1 else tempfile.mkdtemp(prefix="edgewise-https-"))
    show_issue_and_renewal(directory)
    show_renewal_ahead(directory)
    show_failures(directory)


if __name__ == "__main__":
    main()
