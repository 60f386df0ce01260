"""How long a user's sessions live on after they were revoked: three edgewise nodes that share one NATS server.

    python tools/revoke_everywhere.py [--tries 150] [--most 0.2]

For each try a user logs in at one node and is known to all; then the admin address of the next node ends every session
of that user, while each of the three is asked again and again, until it refuses. What counts is the time from sending
that request until the last node has refused. Measured are sessions that the gateway holds, in the engine and sealed in
cookies, and those of an app that each node runs, in the engine and in JWTs. The exit code is 1 where the 99th
percentile of one is above --most seconds.
"""

from __future__ import annotations

import argparse
import http.client
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from support.edgewise_process import EdgewiseProcess, wait_until
from support.origin import Origin, OriginConnection
from support.raw_http import RawClient, get
from support.state_servers import NatsServer

NODES = 3
PAUSE = 0.002
"""Seconds between two questions to a node: so much is a result too large at most."""
NODE = """
[state]
url = "NATS"
[sessions]
secure = true
MODE
[upstreams.app]
servers = ["ORIGIN"]
[[routes]]
path = "/login/*"
upstream = "app"
session = "optional"
[[routes]]
path = "/page"
upstream = "app"
session = "required"
"""
SEALED = f'mode = "sealed"\nsecrets = ["{"s" * 32}"]'
RUN = """
[state]
url = "NATS"
[upstreams.app]
app = "site_app:app"
[[routes]]
upstream = "app"
"""
APP = """
from edgewise.contrib.asgi import SessionMiddleware
from edgewise.sessions import SessionSettings

async def answer(scope, receive, send):
    session = scope.get("session")
    if session is None:
        return
    if scope["path"].startswith("/login/"):
        session.login(scope["path"].rpartition("/")[2])
    status = 200 if session.user else 401
    await send({"type": "http.response.start", "status": status, "headers": [(b"content-length", b"0")]})
    await send({"type": "http.response.body", "body": b""})

app = SessionMiddleware(answer, SessionSettings(SETTINGS))
"""
"""An app with sessions of its own."""
KINDS = {
    "gateway, stateful": NODE.replace("MODE", ""),
    "gateway, sealed": NODE.replace("MODE", SEALED),
    "app, stateful": APP.replace("SETTINGS", ""),
    "app, JWT": APP.replace("SETTINGS", 'kind="jwt", secrets=("s" * 32,)'),
}


def app(connection: OriginConnection) -> None:
    """Logs in at /login/NAME whom that names."""
    while True:
        path = connection.read_request().split(b" ")[1]
        told = b""
        if path.startswith(b"/login/"):
            told = b'X-Edgewise-Session: {"user": "%b"}\r\n' % path.rpartition(b"/")[2]
        connection.send(b"HTTP/1.1 200 OK\r\n%bContent-Length: 0\r\n\r\n" % told)


@contextmanager
def cluster(directory: Path, kind: str) -> Iterator[list[EdgewiseProcess]]:
    """Run NATS, the app and the nodes."""
    with ExitStack() as stack:
        (directory / "nats").mkdir(parents=True)
        nats = NatsServer(directory / "nats")
        nats.start()
        stack.callback(nats.kill)
        origin = Origin(app)
        stack.callback(origin.stop)
        toml = RUN if kind.startswith("app") else KINDS[kind]
        toml = toml.replace("NATS", nats.url).replace("ORIGIN", origin.address)
        nodes = []
        for number in range(NODES):
            (directory / f"node-{number}").mkdir()
            (directory / f"node-{number}" / "site_app.py").write_text(KINDS[kind] if kind.startswith("app") else "")
            nodes.append(EdgewiseProcess(toml, directory / f"node-{number}"))
            stack.callback(nodes[-1].stop)
        yield nodes


def log_in(node: EdgewiseProcess, user: str) -> str:
    """Return the cookie of a new session."""

    def cookie() -> str | None:
        with node.client() as client:
            answer = client.ask(get(f"/login/{user}", "shop.example"))
        return "; ".join(line.partition(";")[0] for line in answer.all("Set-Cookie")) if answer.status == 200 else None

    found: str = wait_until(cookie, "a login")
    return found


def one_try(nodes: list[EdgewiseProcess], clients: list[RawClient], number: int) -> float:
    """Return the seconds from asking one node to revoke until every node has refused."""
    user = f"user-{number}"
    head = get("/page", "shop.example", f"Cookie: {log_in(nodes[number % NODES], user)}")
    for client in clients:
        wait_until(lambda client=client: client.ask(head).status == 200, "the session is known")  # type: ignore[misc]
    refused = [0.0] * NODES
    asking = threading.Barrier(NODES + 1)

    def ask(place: int) -> None:
        asking.wait()
        while clients[place].ask(head).status != 401:
            time.sleep(PAUSE)
        refused[place] = time.monotonic()

    threads = [threading.Thread(target=ask, args=(place,)) for place in range(NODES)]
    for thread in threads:
        thread.start()
    admin = http.client.HTTPConnection("127.0.0.1", nodes[(number + 1) % NODES].admin_port, timeout=20)
    admin.connect()
    asking.wait()
    time.sleep(0.05)
    begun = time.monotonic()
    admin.request("POST", f"/api/v1/sessions/revoke?user={user}")
    answer = admin.getresponse()
    assert answer.status == 200, answer.read()
    admin.close()
    for thread in threads:
        thread.join()
    return max(refused) - begun


def measure(kind: str, tries: int) -> list[float]:
    """Return the seconds of every try, sorted."""
    with tempfile.TemporaryDirectory(prefix="edgewise-revoke-") as name, ExitStack() as stack:
        nodes = stack.enter_context(cluster(Path(name), kind))
        clients = [stack.enter_context(node.client()) for node in nodes]
        one_try(nodes, clients, -1)  # opens the engine everywhere
        return sorted(one_try(nodes, clients, number) for number in range(tries))


def main() -> int:
    """Measure each kind; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--tries", type=int, default=150)
    parser.add_argument("--most", type=float, default=0.2)
    arguments = parser.parse_args()
    late = 0
    for kind in KINDS:
        times = measure(kind, arguments.tries)
        median, p99 = times[len(times) // 2], times[min(len(times) - 1, int(len(times) * 0.99))]
        late += p99 > arguments.most
        print(
            f"{kind}: {len(times)} tries on {NODES} nodes: median {median * 1000:.0f} ms, "
            f"p99 {p99 * 1000:.0f} ms, longest {times[-1] * 1000:.0f} ms",
            flush=True,
        )
    return 1 if late else 0


if __name__ == "__main__":
    sys.exit(main())
