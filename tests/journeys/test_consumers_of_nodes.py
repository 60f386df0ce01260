"""Consumers on two nodes that share NATS, after restarts, and while the engine is lost."""

from __future__ import annotations

import json
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

from journeys.conftest import StartEdgewise
from support.edgewise_process import COMMAND, EdgewiseProcess, wait_until
from support.raw_http import get
from support.state_servers import NatsServer, ValkeyServer

TOML = """
[server]
listen = ["127.0.0.1:$PORT"]
admin = "127.0.0.1:$ADMIN_PORT"
workers = 2
[state]
url = "URL"
[[routes]]
path = "/key"
respond = { body = "hello" }
auth = { api_keys = "consumers" }
[[routes]]
path = "/basic"
respond = { body = "hello" }
auth = { basic = "consumers" }
"""


def command(node: EdgewiseProcess, *words: str, told: str = "") -> str:
    """Return what the command prints; it must succeed."""
    done = subprocess.run(
        [COMMAND, "consumers", *words, "-c", str(node.config)],
        input=told, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def made_key(node: EdgewiseProcess, name: str) -> tuple[str, str]:
    made = json.loads(command(node, "key", name, "--json"))
    return made["id"], made["key"]


def ask(node: EdgewiseProcess, key: str) -> Any:
    with node.client() as client:
        return client.ask(get("/key", "shop.example", f"X-API-Key: {key}"))


def statuses(node: EdgewiseProcess, key: str) -> set[int]:
    """Ask on several connections, which both workers take."""
    return {ask(node, key).status for _ in range(10)}


def test_a_key_of_one_node_works_on_the_other_until_it_is_revoked_there(
    edgewise_server: StartEdgewise, nats: NatsServer
) -> None:
    nodes = [edgewise_server(TOML.replace("URL", nats.url)) for _ in range(2)]
    command(nodes[0], "add", "partner")
    identifier, key = made_key(nodes[0], "partner")
    _, other = made_key(nodes[0], "partner")
    assert statuses(nodes[0], key) == {200}
    wait_until(lambda: statuses(nodes[1], key) == {200}, "the other node knows the key")
    wait_until(lambda: statuses(nodes[1], other) == {200}, "the other node knows the other key")
    command(nodes[1], "revoke", identifier)
    assert statuses(nodes[1], key) == {401}
    wait_until(lambda: statuses(nodes[0], key) == {401}, "the first node knows that it is revoked")
    assert statuses(nodes[0], other) == {200}

    nats.signal(signal.SIGSTOP)
    try:
        wait_until(lambda: "consumers cannot be followed" in nodes[0].log, "the engine is missed", 30)
        assert statuses(nodes[0], other) == {200}
        assert statuses(nodes[0], key) == {401}
    finally:
        nats.signal(signal.SIGCONT)
    wait_until(lambda: "consumers are followed again" in nodes[0].log, "the engine is back", 30)
    command(nodes[1], "remove", "partner")
    wait_until(lambda: statuses(nodes[0], other) == {401}, "the first node knows that the consumer is gone")


@pytest.mark.parametrize("engine", ["sqlite", "redis"])
def test_consumers_are_there_after_a_restart(engine: str, edgewise_server: StartEdgewise, tmp_path: Path) -> None:
    server = ValkeyServer(tmp_path)
    if engine == "redis":
        server.start()
    url = server.url if engine == "redis" else f"sqlite:{tmp_path / 'state'}"
    try:
        first = edgewise_server(TOML.replace("URL", url))
        command(first, "add", "partner")
        identifier, key = made_key(first, "partner")
        revoked, gone = made_key(first, "partner")
        command(first, "revoke", revoked)
        first.stop()
        second = edgewise_server(TOML.replace("URL", url))
        assert statuses(second, key) == {200}
        assert statuses(second, gone) == {401}
        assert identifier in command(second, "show", "partner")
        second.write_config(TOML.replace("URL", url) + '[consumers.partner]\napi_keys = ["of-the-file-0123456789"]\n')
        second.reload()
        wait_until(lambda: statuses(second, "of-the-file-0123456789") == {200}, "the file's consumer is known")
        assert statuses(second, key) == {401}  # the name is the file's now
        second.stop()
    finally:
        server.kill()


def test_while_the_engine_never_answered_credentials_cannot_be_verified(
    edgewise_server: StartEdgewise, nats: NatsServer
) -> None:
    nats.kill()
    toml = TOML.replace("URL", nats.url).replace("workers = 2", "workers = 1")
    node = edgewise_server(toml + '[consumers.mobile]\napi_keys = ["of-the-file-0123456789"]\n')
    assert ask(node, "of-the-file-0123456789").status == 200
    answer = ask(node, "of-nobody-0123456789")
    assert (answer.status, answer.get("retry-after")) == (503, "1")
    assert json.loads(answer.body)["detail"] == "Credentials cannot be verified at the moment."
    nats.start()
    wait_until(lambda: ask(node, "of-nobody-0123456789").status == 401, "it is known who has keys", 30)


def test_without_a_state_table_the_command_says_so(edgewise_server: StartEdgewise) -> None:
    node = edgewise_server(
        '[consumers.mobile]\napi_keys = ["of-the-file-0123456789"]\n[[routes]]\nrespond = { body = "hello" }\n'
        'auth = { api_keys = "consumers" }\n'
    )
    done = subprocess.run(
        [COMMAND, "consumers", "add", "partner", "-c", str(node.config)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "no [state] table" in done.stderr
    assert [one["name"] for one in json.loads(command(node, "list", "--json"))] == ["mobile"]
