"""`edgewise sessions`: a user's sessions end on three nodes that share NATS, and those of apps beside them."""

from __future__ import annotations

import asyncio
import json
import subprocess
from typing import Any

import pytest

from edgewise.contracts.state import StateEngine
from edgewise.sessions import SessionSettings, SessionStore
from edgewise.sessions.stateful import StatefulSessions
from edgewise.sessions.tokens import TokenSessions
from journeys.conftest import StartEdgewise, StartOrigin
from support.edgewise_process import COMMAND, EdgewiseProcess, wait_until
from support.origin import OriginConnection
from support.raw_http import get
from support.state_servers import NatsServer

NODE = """
[state]
url = "NATS"
[sessions]
secure = true
MODE
[upstreams.app]
servers = ["ORIGIN"]
[[routes]]
path = "/login"
upstream = "app"
session = "optional"
[[routes]]
path = "/*"
upstream = "app"
session = "required"
"""
MODES = {"stateful": "", "sealed": f'mode = "sealed"\nsecrets = ["{"s" * 32}"]'}


def app(connection: OriginConnection) -> None:
    """Logs in whoever asks for /login."""
    while True:
        path = connection.read_request().split(b" ")[1]
        told = b'X-Edgewise-Session: {"user": "alice"}\r\n' if path == b"/login" else b""
        connection.send(b"HTTP/1.1 200 OK\r\n%bContent-Length: 0\r\n\r\n" % told)


def ask(node: EdgewiseProcess, path: str, cookie: str = "") -> Any:
    with node.client() as client:
        return client.ask(get(path, "shop.example", *([f"Cookie: {cookie}"] if cookie else [])))


def log_in(node: EdgewiseProcess) -> str:
    """Return the cookie of a new session of alice's, once the node has its engine."""
    answer = wait_until(lambda: next((one for one in [ask(node, "/login")] if one.status == 200), None), "a login")
    cookie: str = answer.get("Set-Cookie").partition(";")[0]
    return cookie


def command(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([COMMAND, *words], capture_output=True, text=True, timeout=60, check=False)


def statuses(nodes: list[EdgewiseProcess], cookie: str) -> list[int]:
    return [ask(node, "/none", cookie).status for node in nodes]


def wait_for(nodes: list[EdgewiseProcess], cookie: str, status: int) -> None:
    """Wait until every node answers so."""
    wait_until(lambda: statuses(nodes, cookie) == [status] * len(nodes), f"every node answers {status}")


@pytest.fixture(params=MODES)
def nodes(
    request: pytest.FixtureRequest, edgewise_server: StartEdgewise, origin: StartOrigin, nats: NatsServer
) -> list[EdgewiseProcess]:
    toml = NODE.replace("NATS", nats.url).replace("ORIGIN", origin(app).address).replace("MODE", MODES[request.param])
    return [edgewise_server(toml) for _ in range(3)]


def test_a_users_sessions_end_on_every_node(nodes: list[EdgewiseProcess], request: pytest.FixtureRequest) -> None:
    cookies = [log_in(node) for node in nodes]
    for cookie in cookies:
        wait_for(nodes, cookie, 200)
    config = str(nodes[1].config)
    listed = json.loads(command("sessions", "list", "alice", "--json", "-c", config).stdout)
    stateful = "sealed" not in request.node.name
    assert [one["namespace"] for one in listed] == (["gateway"] * 3 if stateful else [])
    if stateful:
        assert "NAMESPACE" in command("sessions", "list", "alice", "-c", config).stdout
        ended = command("sessions", "revoke", "--id", listed[0]["id"], "-c", config)
        assert ended.stdout == "the session of alice is ended\n"
        wait_until(
            lambda: sorted(statuses(nodes, cookie) for cookie in cookies) == [[200] * 3, [200] * 3, [401] * 3],
            "one session ended on every node",
        )
        assert command("sessions", "revoke", "--id", listed[0]["id"], "-c", config).returncode == 1
    done = command("sessions", "revoke", "alice", "-c", config)
    assert done.stdout.startswith("every session of alice is ended; ")
    for cookie in cookies:
        wait_for(nodes, cookie, 401)
    again = log_in(nodes[0])
    wait_for(nodes, again, 200)
    assert "Traceback" not in "".join(node.log for node in nodes)


def test_every_worker_learns_of_it_from_the_embedded_engine(
    edgewise_server: StartEdgewise, origin: StartOrigin
) -> None:
    toml = NODE.replace("NATS", "sqlite:state").replace("ORIGIN", origin(app).address).replace("MODE", "")
    server = '[server]\nlisten = ["127.0.0.1:$PORT"]\nadmin = "127.0.0.1:$ADMIN_PORT"\nworkers = 2\n'
    node = edgewise_server(server + toml)
    first, second = log_in(node), log_in(node)
    for cookie in (first, second):
        wait_for([node] * 12, cookie, 200)
    [handle, _] = [one["id"] for one in json.loads(node.admin("/api/v1/sessions?user=alice"))["sessions"]]
    node.admin(f"/api/v1/sessions/revoke?id={handle}", "POST")
    wait_until(lambda: [ask(node, "/none", one).status for one in (first, second)] == [200, 401], "the later one ended")
    assert command("sessions", "revoke", "alice", "-c", str(node.config)).returncode == 0
    for cookie in (first, second):
        wait_for([node] * 12, cookie, 401)


@pytest.mark.parametrize("kind", ["stateful", "jwt"])
def test_an_apps_sessions_end_too(kind: str, edgewise_server: StartEdgewise, nats: NatsServer) -> None:
    node = edgewise_server(f'[state]\nurl = "{nats.url}"\n[[routes]]\nrespond = {{ body = "hello" }}\n')

    async def run() -> None:
        engine: StateEngine = await nats.make()
        secrets: Any = {"secrets": ("s" * 32,)} if kind == "jwt" else {}
        settings = SessionSettings(kind=kind, **secrets)  # type: ignore[arg-type]
        store: SessionStore = (StatefulSessions if kind == "stateful" else TokenSessions)(settings, engine)
        session = await store.open(None)
        session.login("alice", "a phone")
        token = await store.commit(session)
        assert (await store.open(token)).user == "alice"
        listed = await asyncio.to_thread(command, "sessions", "list", "alice", "-c", str(node.config))
        assert "a phone" in listed.stdout, listed
        await asyncio.to_thread(command, "sessions", "revoke", "alice", "-c", str(node.config))
        deadline = asyncio.get_running_loop().time() + 20
        while (await store.open(token)).user:
            assert asyncio.get_running_loop().time() < deadline
            await asyncio.sleep(0.05)
        await engine.close()

    asyncio.run(run())


def test_without_an_engine_the_command_says_so(edgewise_server: StartEdgewise) -> None:
    node = edgewise_server('[[routes]]\nrespond = { body = "hello" }\n')
    done = command("sessions", "revoke", "alice", "-c", str(node.config))
    assert done.returncode == 1
    assert "no [state] table" in done.stderr
    assert command("sessions", "revoke", "-c", str(node.config)).returncode == 2
