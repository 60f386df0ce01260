"""Nodes that run one published configuration: real nodes on a real NATS, the command line as an operator uses it."""

from __future__ import annotations

import asyncio
import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from support.edgewise_process import COMMAND, EdgewiseProcess, wait_until
from support.raw_http import RawClient, get
from support.state_servers import NatsServer

pytestmark = [pytest.mark.gate, pytest.mark.timeout(300)]
KEY = "0123456789abcdef0123456789abcdef"
OTHER_KEY = "f" * 32
OWN = """[server]
listen = ["127.0.0.1:$PORT"]
admin = "127.0.0.1:$ADMIN_PORT"
workers = 1
[state]
url = "NATS"
local_copy = "off"
patience = "1s"
[cluster]
key = "KEY"
"""
SAYS = """
[[routes]]
respond = {{ body = "{0}" }}
"""
PATIENCE = 60.0
Start = Callable[..., EdgewiseProcess]


class Nodes:
    """Starts nodes that follow, each with a state directory of its own."""

    def __init__(self, start: Start, nats: NatsServer, directory: Path) -> None:
        self._start, self._nats, self._directory = start, nats, directory
        self._states: dict[int, dict[str, str]] = {}

    def start(self, rest: str = SAYS.format("own file"), *, key: str = KEY) -> EdgewiseProcess:
        """Start a node whose file says `rest` beside what is its own."""
        env = {"STATE_DIRECTORY": str(self._directory / f"state-{len(self._states)}")}
        server = self._start(OWN.replace("NATS", self._nats.url).replace("KEY", key) + rest, env=env)
        self._states[server.port] = env
        return server

    def again(self, server: EdgewiseProcess) -> EdgewiseProcess:
        """Start a node that was stopped; it is the caller's to stop."""
        ports = (server.port, server.tls_port, server.admin_port)
        return EdgewiseProcess(server.config.read_text(), server.directory, env=self._states[server.port], ports=ports)


@pytest.fixture
def nodes(edgewise_server: Start, nats: NatsServer, tmp_path: Path) -> Nodes:
    return Nodes(edgewise_server, nats, tmp_path)


def command(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([COMMAND, *words], capture_output=True, text=True, timeout=120, check=False)


def apply(server: EdgewiseProcess, text: str, *words: str) -> subprocess.CompletedProcess[str]:
    """Publish a text as the operator of `server` would."""
    source = server.directory / "publish.toml"
    source.write_text(text)
    return command("cluster", "apply", str(source), "-c", str(server.config), *words)


def status(server: EdgewiseProcess) -> dict[str, Any]:
    result = command("cluster", "status", "--json", "-c", str(server.config))
    return json.loads(result.stdout) if result.returncode == 0 else {}


def standings(server: EdgewiseProcess) -> list[list[Any]]:
    return [node["standing"] for node in status(server).get("nodes", ())]


def answer(server: EdgewiseProcess) -> bytes:
    with server.client() as client:
        return client.ask(get("/")).body


def is_ready(server: EdgewiseProcess) -> bool:
    with RawClient(("127.0.0.1", server.admin_port)) as client:
        return client.ask(get("/readyz", host=f"127.0.0.1:{server.admin_port}")).status == 200


def await_answer(server: EdgewiseProcess, body: bytes) -> None:
    wait_until(lambda: answer(server) == body, f"{body!r} is answered", PATIENCE)


def test_a_configuration_published_once_runs_at_every_node_which_all_say_so(nodes: Nodes) -> None:
    servers = [nodes.start() for _ in range(3)]
    wait_until(lambda: len(standings(servers[0])) == 3, "three nodes are listed", PATIENCE)
    assert [answer(server) for server in servers] == [b"own file"] * 3
    result = apply(servers[0], '[server]\nlisten = ["127.0.0.1:1"]\n' + SAYS.format("first"))
    assert result.returncode == 0, (result.stdout, result.stderr, servers[0].log)
    assert "each node's own, not published: server.listen" in result.stdout
    assert result.stdout.count("version 1") == 4, result.stdout
    assert [answer(server) for server in servers] == [b"first"] * 3
    assert [one[:3] for one in standings(servers[1])] == [[1, 1, "applied"]] * 3
    assert len({node["config"] for node in status(servers[0])["nodes"]}) == 1


def test_a_file_that_cannot_be_used_here_is_not_published(nodes: Nodes) -> None:
    server = nodes.start()
    wait_until(lambda: standings(server), "the node is listed", PATIENCE)
    mistaken = apply(server, '[[routes]]\nupstream = "shop"\n')
    assert mistaken.returncode == 1
    assert 'publish.toml:2: routes[0].upstream: there is no upstream "shop"' in mistaken.stderr
    no_filter = apply(server, '[[routes]]\nrespond = { body = "x" }\nfilters = ["nothing_of_this_name:check"]\n')
    assert no_filter.returncode == 1
    assert "cannot be used here, so it is not published" in no_filter.stderr
    assert apply(server, SAYS.format("good"), "--dry-run").returncode == 0
    assert status(server)["published"] == 0
    assert answer(server) == b"own file"


def test_a_node_that_cannot_use_a_version_refuses_it_with_its_reason_and_goes_on_as_before(nodes: Nodes) -> None:
    able, unable = nodes.start(), nodes.start()
    wait_until(lambda: len(standings(able)) == 2, "two nodes are listed", PATIENCE)
    assert apply(able, SAYS.format("first")).returncode == 0
    (able.directory / "page.html").write_text("page")
    text = SAYS.format("second") + '[[routes]]\npath = "/page"\nstatic = { root = "pages" }\n'
    (able.directory / "pages").mkdir()
    result = apply(able, text)
    assert result.returncode == 1, result.stdout
    assert "version 1, refuses 2: configuration version 2: routes[1].static" in result.stdout
    assert (answer(able), answer(unable)) == (b"second", b"first")
    assert "configuration version 2" in unable.log
    assert "refuses 2" in command("cluster", "status", "-c", str(able.config)).stdout
    (unable.directory / "pages").mkdir()
    unable.reload()  # tries again what was refused
    await_answer(unable, b"second")
    wait_until(lambda: [one[:3] for one in standings(able)] == [[2, 2, "applied"]] * 2, "both run version 2", PATIENCE)


def test_two_operators_cannot_overwrite_each_other_unknowingly_and_an_earlier_version_comes_back(nodes: Nodes) -> None:
    one, two = nodes.start(), nodes.start()
    wait_until(lambda: len(standings(one)) == 2, "two nodes are listed", PATIENCE)
    assert apply(one, SAYS.format("of one"), "--expect", "0").returncode == 0
    late = apply(two, SAYS.format("of two"), "--expect", "0")
    assert late.returncode == 1
    assert "the newest version is 1, not 0" in late.stderr
    assert apply(two, SAYS.format("of two"), "--expect", "1").returncode == 0
    assert [answer(one), answer(two)] == [b"of two"] * 2
    back = command("cluster", "rollback", "1", "-c", str(two.config))
    assert back.returncode == 0, back.stderr
    assert "version 3 is published" in back.stdout
    assert [answer(one), answer(two)] == [b"of one"] * 2
    shown = command("cluster", "versions", "-c", str(one.config)).stdout.splitlines()
    assert [line.split()[0] for line in shown[1:]] == ["3", "2", "1"]
    assert shown[1].endswith("restores 1")
    assert json.loads(command("cluster", "show", "2", "-c", str(one.config)).stdout) == {
        "routes": [{"respond": {"body": "of two"}}]
    }


def test_a_node_starts_without_the_engine_with_the_version_it_had_and_catches_up_later(
    nodes: Nodes, nats: NatsServer
) -> None:
    first, second = nodes.start(), nodes.start()
    wait_until(lambda: len(standings(first)) == 2, "two nodes are listed", PATIENCE)
    assert apply(first, SAYS.format("kept")).returncode == 0
    second.stop()
    nats.kill()
    assert answer(first) == b"kept", "a node cut off serves on"
    again = nodes.again(second)
    try:
        assert answer(again) == b"kept"
        nats.start()
        wait_until(lambda: len(standings(first)) == 2, "both are listed again", PATIENCE)
        assert apply(first, SAYS.format("newer")).returncode == 0
        assert answer(again) == b"newer"
        late = nodes.start()
        wait_until(lambda: is_ready(late), "the node that starts later is ready", PATIENCE)
        assert answer(late) == b"newer", "ready is who runs what is published"
        assert "edgewise_cluster_version 2" in late.admin("/metrics").decode()
    finally:
        again.stop()


def test_a_node_without_the_key_follows_nothing_and_what_is_forged_is_refused(nodes: Nodes, nats: NatsServer) -> None:
    ours, others = nodes.start(), nodes.start(key=OTHER_KEY)
    wait_until(lambda: len(standings(ours)) == 2, "two nodes are listed", PATIENCE)
    assert apply(ours, SAYS.format("ours")).returncode == 0, "nodes with another key are not waited for"
    assert (answer(ours), answer(others)) == (b"ours", b"own file")
    assert "own file, has another key" in command("cluster", "status", "-c", str(ours.config)).stdout

    async def forge() -> None:
        engine = await nats.make()
        found = await engine.entries("configuration/")
        topic = found[0].key.split("/")[1]
        await engine.set(found[0].key, b'[{"number":2,"id":"2-x","at":0,"by":"mallory"}]')
        await engine.publish(f"configuration-{topic}", b"")
        await engine.close()

    asyncio.run(forge())
    wait_until(lambda: "was not sealed with this key" in ours.log, "the forgery is in the log", PATIENCE)
    shown = command("cluster", "status", "-c", str(ours.config)).stdout
    assert "warning: what is at configuration/" in shown
    assert "): version 1" in shown
    assert answer(ours) == b"ours"


def test_the_nodes_own_file_still_decides_what_is_its_own(nodes: Nodes) -> None:
    server = nodes.start()
    wait_until(lambda: standings(server), "the node is listed", PATIENCE)
    assert apply(server, SAYS.format("common")).returncode == 0
    text = server.config.read_text()
    server.config.write_text(text.replace("access.log", "own.log").replace("own file", "changed file"))
    server.reload()
    wait_until(lambda: (server.directory / "own.log").exists(), "the log of the own file is written", PATIENCE)
    assert answer(server) == b"common"
