"""`edgewise cluster status` and `edgewise state copy` with real engines and real nodes."""

from __future__ import annotations

import asyncio
import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

from edgewise.state.nodes import Node
from support.edgewise_process import COMMAND, EdgewiseProcess, wait_until
from support.raw_http import get
from support.state_servers import NatsServer, SqliteServer, ValkeyServer

HELLO = '[[routes]]\nrespond = { body = "hello" }\n'


def command(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([COMMAND, *words], capture_output=True, text=True, timeout=60, check=False)


def cluster(server: EdgewiseProcess) -> dict[str, Any]:
    """Return what `edgewise cluster status --json` says, {} where it cannot."""
    result = command("cluster", "status", "--json", "-c", str(server.config))
    return json.loads(result.stdout) if result.returncode == 0 else {}


def test_nodes_that_share_nats_see_each_other_and_those_that_leave_go(
    edgewise_server: Callable[..., EdgewiseProcess], nats: NatsServer, tmp_path: Path
) -> None:
    toml = f'[state]\nurl = "{nats.url}"\nlocal_copy = "$DIR/copy"\n{HELLO}'
    servers = [edgewise_server(toml) for _ in range(3)]
    wait_until(lambda: len(cluster(servers[0]).get("nodes", ())) == 3, "three nodes are listed")
    assert len({Node(**node).config for node in cluster(servers[1])["nodes"]}) == 1
    text = command("cluster", "status", "-c", str(servers[0].config)).stdout
    assert text.startswith("nats 2.")
    assert "one server keeps each stream" in text
    servers[2].stop()
    wait_until(lambda: len(cluster(servers[0]).get("nodes", ())) == 2, "the node that stopped is gone from the list")


def test_plain_proxying_goes_on_while_the_engine_is_lost(
    edgewise_server: Callable[..., EdgewiseProcess], nats: NatsServer
) -> None:
    server = edgewise_server(f'[state]\nurl = "{nats.url}"\npatience = "200ms"\n{HELLO}')
    wait_until(lambda: cluster(server).get("nodes"), "the node is listed")
    nats.kill()
    with server.client() as client:
        for _request in range(50):
            assert client.ask(get("/")).body == b"hello"
    wait_until(lambda: "the engine of shared state is lost" in server.log, "the loss is in the log")
    result = command("cluster", "status", "-c", str(server.config))
    assert result.returncode == 1
    nats.start()
    wait_until(lambda: "answers again" in server.log, "the return is in the log")


def test_a_node_starts_while_the_engine_is_away(edgewise_server: Callable[..., EdgewiseProcess]) -> None:
    server = edgewise_server(f'[state]\nurl = "nats://127.0.0.1:1"\npatience = "200ms"\nlocal_copy = "off"\n{HELLO}')
    with server.client() as client:
        assert client.ask(get("/")).body == b"hello"
    wait_until(lambda: "shared state cannot be used" in server.log, "the loss is in the log")


def test_state_is_copied_by_command(nats: NatsServer, tmp_path: Path) -> None:
    source = SqliteServer(tmp_path)
    source.start()

    async def fill() -> None:
        engine = await source.make()
        await asyncio.gather(*(engine.set(f"session/{number}", b"s", 600.0) for number in range(500)))
        await engine.add("logins", 3)
        await engine.close()

    asyncio.run(fill())
    first = command("state", "copy", source.url, nats.url)
    assert first.returncode == 0, first.stderr
    assert first.stdout.splitlines()[1].split() == ["keys", "500", "500", "0", "500"]
    assert first.stdout.splitlines()[3].split() == ["counters", "1", "1", "0", "1"]
    back = command("state", "copy", nats.url, f"sqlite:{tmp_path}/new")
    assert back.returncode == 0, back.stderr
    assert back.stdout.splitlines()[1].split() == ["keys", "500", "500", "0", "500"]
    source.kill()
    again = command("state", "copy", source.url, nats.url)
    assert again.returncode == 0, "an embedded engine is read without a writer"
    assert again.stdout.splitlines()[1].split() == ["keys", "500", "0", "500", "500"]


def test_a_copy_that_cannot_be_done_says_why(tmp_path: Path) -> None:
    missing = command("state", "copy", f"sqlite:{tmp_path}/none", f"sqlite:{tmp_path}/new")
    assert missing.returncode == 1
    assert "there is no state in" in missing.stderr
    assert not (tmp_path / "none").exists()
    (tmp_path / "cache").mkdir()
    cache = ValkeyServer(tmp_path / "cache", "--maxmemory", "50mb", "--maxmemory-policy", "allkeys-lru")
    cache.start()
    refused = command("state", "copy", f"sqlite:{tmp_path}/none", cache.url)
    cache.kill()
    assert refused.returncode == 1
    assert "drops keys when its memory is full" in refused.stderr
    assert command("state", "copy", "mysql://x", f"sqlite:{tmp_path}/y").returncode == 1
