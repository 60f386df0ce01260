"""Consumers on real sockets: API keys and passwords, by file and at run time, revoked at once on two workers."""

from __future__ import annotations

import base64
import hashlib
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import bcrypt
import pytest
from argon2 import PasswordHasher

from support.edgewise_process import COMMAND, EdgewiseProcess, wait_until
from support.origin import Origin, OriginConnection
from support.raw_http import RawClient, get

PLAIN = "a-plain-key-of-mobile"
HASHED = "another-key-of-mobile"
TOML = """
[server]
listen = ["127.0.0.1:$PORT"]
admin = "127.0.0.1:$ADMIN_PORT"
workers = 2
[state]
url = "sqlite:state"
[consumers.mobile]
api_keys = ["PLAIN", "sha256:HASHED"]
passwords = ["ARGON2", "BCRYPT"]
groups = ["apps"]
scopes = ["read"]
[upstreams.app]
servers = ["ORIGIN"]
[[routes]]
path = "/keys"
upstream = "app"
auth = { api_keys = "consumers" }
[[routes]]
path = "/hidden"
upstream = "app"
auth = { api_keys = { query = "key", realm = "shop", hide = true } }
[[routes]]
path = "/bearer"
upstream = "app"
auth = { api_keys = { header = "Authorization", scheme = "Bearer", hide = true } }
[[routes]]
path = "/cookie"
upstream = "app"
auth = { api_keys = { header = false, cookie = "key" } }
[[routes]]
path = "/basic"
upstream = "app"
auth = { basic = { hide = true } }
[[routes]]
path = "/file"
upstream = "app"
auth = { basic = { users = "users", realm = "the shop" } }
[[routes]]
path = "/any"
upstream = "app"
auth = { api_keys = "consumers", basic = "consumers" }
[[routes]]
path = "/all"
upstream = "app"
auth = { api_keys = "consumers", basic = "consumers", require = "all" }
"""


def echo(connection: OriginConnection) -> None:
    """Answers with the head that came."""
    while True:
        head = connection.read_request()
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(head), head))


@pytest.fixture(scope="module")
def edgewise(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EdgewiseProcess]:
    directory, server = tmp_path_factory.mktemp("consumers"), Origin(echo)
    values = {
        "PLAIN": PLAIN,
        "HASHED": hashlib.sha256(HASHED.encode()).hexdigest(),
        "ARGON2": PasswordHasher(time_cost=1, memory_cost=1024).hash("sesame").replace("$", "$$"),
        "BCRYPT": bcrypt.hashpw(b"open", bcrypt.gensalt(4)).decode().replace("$", "$$"),
        "ORIGIN": server.address,
    }
    toml = TOML
    for name, value in values.items():
        toml = toml.replace(name, value)
    (directory / "users").write_text(htpasswd("alice", "first"))
    running = EdgewiseProcess(toml, directory)
    yield running
    running.stop()
    server.stop()
    assert "Traceback" not in running.log, running.log


def htpasswd(name: str, password: str, option: str = "-apr1") -> str:
    """Return a line as `htpasswd` writes it."""
    made = subprocess.run(
        ["openssl", "passwd", option, password], capture_output=True, text=True, check=True, timeout=60
    )
    return f"{name}:{made.stdout.strip()}\n"


def ask(node: EdgewiseProcess, target: str, *fields: str) -> Any:
    with node.client() as client:
        return client.ask(get(target, "shop.example", *fields))


def pair(name: str, password: str) -> str:
    return "Authorization: Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()


def command(node: EdgewiseProcess, *words: str, told: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [COMMAND, "consumers", *words, "-c", str(node.config)],
        input=told, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


def made_key(node: EdgewiseProcess, name: str) -> tuple[str, str]:
    """Return id and text of a new key."""
    made = json.loads(command(node, "key", name, "--json").stdout)
    return made["id"], made["key"]


def statuses(node: EdgewiseProcess, target: str, *fields: str, times: int = 12) -> set[int]:
    """Ask on so many connections, which both workers take."""
    return {ask(node, target, *fields).status for _ in range(times)}


# ---- what comes with requests ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("target", "fields"),
    [
        ("/keys", (f"X-API-Key: {PLAIN}",)),
        ("/keys", (f"x-api-key: {HASHED}", "Cookie: a=b")),
        ("/hidden", (f"X-API-Key: {PLAIN}",)),
        (f"/hidden?a=1&key={PLAIN}&b=2", ()),
        ("/bearer", (f"Authorization: Bearer {PLAIN}",)),
        ("/cookie", (f"Cookie: a=b; key={PLAIN}",)),
        ("/basic", (pair("mobile", "sesame"),)),
        ("/basic", (pair("mobile", "open"),)),
        ("/file", (pair("alice", "first"),)),
        ("/any", (f"X-API-Key: {PLAIN}",)),
        ("/any", (pair("mobile", "sesame"),)),
        ("/all", (pair("mobile", "sesame"), f"X-API-Key: {PLAIN}")),
    ],
)
def test_who_has_the_credential_is_let_in(edgewise: EdgewiseProcess, target: str, fields: tuple[str, ...]) -> None:
    for _ in range(2):
        assert ask(edgewise, target, *fields).status == 200


@pytest.mark.parametrize(
    ("target", "fields", "detail", "challenges"),
    [
        ("/keys", (), "The request has no credentials.", ['ApiKey realm="edgewise"']),
        ("/keys", ("X-API-Key: of-nobody-0123456789",), "The API key is not valid.", ['ApiKey realm="edgewise"']),
        ("/keys", (f"Authorization: ApiKey {PLAIN}",), "The request has no credentials.", ['ApiKey realm="edgewise"']),
        (
            "/keys",
            (f"X-API-Key: {PLAIN}", f"X-API-Key: {PLAIN}"),
            "The request has more than one API key.",
            ['ApiKey realm="edgewise"'],
        ),
        ("/hidden?key=of-nobody-0123456789", (), "The API key is not valid.", ['ApiKey realm="shop"']),
        ("/bearer", (f"X-API-Key: {PLAIN}",), "The request has no credentials.", ['Bearer realm="edgewise"']),
        ("/cookie", (f"X-API-Key: {PLAIN}",), "The request has no credentials.", ['ApiKey realm="edgewise"']),
        (
            "/basic",
            (pair("mobile", "wrong"),),
            "The name or the password is not right.",
            ['Basic realm="edgewise", charset="UTF-8"'],
        ),
        (
            "/basic",
            (pair("nobody", "sesame"),),
            "The name or the password is not right.",
            ['Basic realm="edgewise", charset="UTF-8"'],
        ),
        (
            "/file",
            ("Authorization: Basic bm8gY29sb24=",),
            "The credentials are not those of basic authentication.",
            ['Basic realm="the shop", charset="UTF-8"'],
        ),
        (
            "/any",
            (),
            "The request has no credentials.",
            ['ApiKey realm="edgewise"', 'Basic realm="edgewise", charset="UTF-8"'],
        ),
        (
            "/all",
            (pair("mobile", "sesame"),),
            "The request lacks one of the credentials that are needed.",
            ['ApiKey realm="edgewise"', 'Basic realm="edgewise", charset="UTF-8"'],
        ),
    ],
)
def test_whoever_has_none_is_told_what_is_missing(
    edgewise: EdgewiseProcess, target: str, fields: tuple[str, ...], detail: str, challenges: list[str]
) -> None:
    answer = ask(edgewise, target, *fields)
    assert answer.status == 401
    assert answer.all("www-authenticate") == challenges
    assert answer.get("content-type") == "application/problem+json"
    assert answer.get("cache-control") == "no-store"
    problem = json.loads(answer.body)
    assert problem.pop("request_id")
    assert problem == {"title": "Unauthorized", "status": 401, "detail": detail, "policy": "auth"}


@pytest.mark.parametrize(
    ("target", "fields"),
    [
        (f"/hidden?a=1&key={PLAIN}&%6bey={PLAIN}x&b=2", (f"X-API-Key: {PLAIN}",)),
        (f"/hidden?k%65y={PLAIN}", ()),
        ("/hidden", (f"X-API-Key: {PLAIN}",)),
        ("/hidden", (f"x-api-key: {PLAIN}", "Cookie: a=b")),
        ("/bearer", (f"Authorization: Bearer {PLAIN}",)),
        ("/bearer", ("Cookie: a=b", f"Authorization: Bearer {PLAIN}")),
        ("/bearer", (f"Authorization: Bearer {PLAIN}", "Cookie: a=b")),
        ("/basic", (pair("mobile", "sesame"),)),
    ],
)
def test_a_hidden_credential_does_not_reach_the_upstream(
    edgewise: EdgewiseProcess, target: str, fields: tuple[str, ...]
) -> None:
    for others in ((), ("Cookie: a=b",)):  # what is known of a head without the credential is not taken for one with
        ask(edgewise, target.partition("?")[0], *others)
    for _ in range(3):
        head = ask(edgewise, target, *fields).body
        assert head.startswith(b"GET /")
        assert PLAIN.encode() not in head
        assert b"uthorization" not in head
        if "a=1" in target:
            assert head.startswith(b"GET /hidden?a=1&b=2 HTTP/1.1\r\n")


def test_what_is_not_hidden_goes_on(edgewise: EdgewiseProcess) -> None:
    assert PLAIN.encode() in ask(edgewise, "/keys", f"X-API-Key: {PLAIN}").body


def test_neither_keys_nor_passwords_are_in_the_log_or_in_the_configuration_that_is_shown(
    edgewise: EdgewiseProcess,
) -> None:
    ask(edgewise, "/keys", "X-API-Key: of-nobody-0123456789")
    ask(edgewise, "/hidden?key=of-nobody-0123456789")
    wait_until(lambda: any(line["path"] == "/hidden" for line in edgewise.access_log), "both are in the log")
    text = json.dumps(edgewise.access_log)
    shown = edgewise.admin("/api/v1/config").decode() + edgewise.admin("/api/v1/consumers").decode()
    for secret in ("of-nobody-0123456789", PLAIN, hashlib.sha256(HASHED.encode()).hexdigest(), "$argon2", "$2b$"):
        assert secret not in text + shown + edgewise.log


# ---- at run time -----------------------------------------------------------------------------------------------------


def test_a_key_works_and_is_revoked_on_both_workers_at_once(edgewise: EdgewiseProcess) -> None:
    added = command(edgewise, "add", "partner", "--group", "partners", "--scope", "orders:read", "--claim", "plan=gold")
    assert added.returncode == 0, added.stderr
    first, key = made_key(edgewise, "partner")
    second, other = made_key(edgewise, "partner")
    for text in (key, other):
        assert statuses(edgewise, "/keys", f"X-API-Key: {text}") == {200}
    shown = command(edgewise, "show", "partner").stdout
    assert first in shown
    assert second in shown
    assert "plan: gold" in shown
    assert key not in shown + command(edgewise, "list", "--json").stdout
    assert "partners" in command(edgewise, "list").stdout
    revoked = command(edgewise, "revoke", first)
    assert revoked.stdout == f"{first} of partner is revoked\n"
    assert statuses(edgewise, "/keys", f"X-API-Key: {key}") == {401}
    assert statuses(edgewise, "/keys", f"X-API-Key: {other}") == {200}
    assert command(edgewise, "revoke", first).returncode == 1
    assert command(edgewise, "revoke", "partner").stdout.endswith("; 1 were API keys\n")
    assert statuses(edgewise, "/keys", f"X-API-Key: {other}") == {401}
    assert command(edgewise, "remove", "partner").stdout == "removed partner\n"
    assert command(edgewise, "show", "partner").returncode == 1


def test_a_password_works_until_there_is_another_one(edgewise: EdgewiseProcess) -> None:
    command(edgewise, "add", "bob")
    assert command(edgewise, "password", "bob", told="first secret\n").stdout == "the password of bob is set\n"
    assert statuses(edgewise, "/basic", pair("bob", "first secret")) == {200}
    command(edgewise, "password", "bob", told="second secret\n")
    assert statuses(edgewise, "/basic", pair("bob", "first secret"), times=6) == {401}
    assert statuses(edgewise, "/basic", pair("bob", "second secret")) == {200}
    command(edgewise, "revoke", "bob")
    assert statuses(edgewise, "/basic", pair("bob", "second secret")) == {401}


def test_a_password_is_not_asked_for_in_vain_and_never_plain(edgewise: EdgewiseProcess) -> None:
    command(edgewise, "add", "carol")
    refused = post(edgewise, "/api/v1/consumers/carol/password", {"hash": "plain text"})
    assert refused.status == 400
    assert b"plain text" not in refused.body
    assert command(edgewise, "password", "carol", told="\n").returncode == 1
    printed = subprocess.run([COMMAND, "consumers", "hash"], input="x\n", capture_output=True, text=True, check=True)
    assert printed.stdout.startswith("$argon2id$")


def test_many_requests_with_the_same_password_are_verified_once_and_all_let_in(edgewise: EdgewiseProcess) -> None:
    command(edgewise, "add", "dave")
    command(edgewise, "password", "dave", told="of dave\n")
    clients = [edgewise.client() for _ in range(40)]
    for client in clients:
        client.send(get("/basic", "shop.example", pair("dave", "of dave")))
    assert {client.read().status for client in clients} == {200}
    for client in clients:
        client.close()


def test_a_reload_forgets_nobody(edgewise: EdgewiseProcess) -> None:
    command(edgewise, "add", "gina")
    _, key = made_key(edgewise, "gina")
    text, seen = edgewise.config.read_text(), set()

    def other(status: int) -> bool:
        seen.update(statuses(edgewise, "/keys", f"X-API-Key: {key}", times=2))
        return statuses(edgewise, "/keys", "X-API-Key: of-another-0123456789", times=6) == {status}

    edgewise.config.write_text(f'{text}\n[consumers.another]\napi_keys = ["of-another-0123456789"]\n')
    edgewise.reload()
    wait_until(lambda: other(200), "the consumer that came into the file is known")
    edgewise.config.write_text(text)
    edgewise.reload()
    wait_until(lambda: other(401), "the consumer that left the file is not")
    assert seen == {200}


def post(node: EdgewiseProcess, path: str, values: Any = None, *fields: str) -> Any:
    content = b"" if values is None else json.dumps(values).encode()
    lines = "".join(f"{field}\r\n" for field in fields)
    head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{node.admin_port}\r\n{lines}Content-Length: {len(content)}\r\n\r\n"
    with RawClient(("127.0.0.1", node.admin_port)) as client:
        return client.ask(head.encode() + content)


def test_what_the_admin_address_refuses(edgewise: EdgewiseProcess) -> None:
    path = "/api/v1/consumers"
    assert post(edgewise, path, {"name": "erin"}).status == 201
    assert post(edgewise, path, {"name": "erin"}).status == 409
    in_file = post(edgewise, path, {"name": "mobile"})
    assert (in_file.status, b"configuration" in in_file.body) == (409, True)
    assert post(edgewise, f"{path}/mobile/keys").status == 409
    assert post(edgewise, f"{path}/mobile/remove").status == 409
    assert post(edgewise, f"{path}/nobody/keys").status == 404
    assert post(edgewise, f"{path}/nobody/remove").status == 404
    assert post(edgewise, f"{path}/revoke?name=nobody").status == 404
    assert post(edgewise, f"{path}/revoke?id=k-000000000000").status == 404
    assert post(edgewise, f"{path}/revoke").status == 400
    for bad in ({"name": "a b"}, {"name": "x", "groups": ["a,b"]}, {"name": "x", "scopes": ["a b"]}, {"n": 1}, []):
        assert post(edgewise, path, bad).status == 400
    assert post(edgewise, path, {"name": "evil"}, "Origin: http://evil.example").status == 403
    assert command(edgewise, "add", "erin").returncode == 1
    assert "configuration" in command(edgewise, "key", "mobile").stderr


# ---- files -----------------------------------------------------------------------------------------------------------


def test_changes_of_a_file_of_users_are_seen(edgewise: EdgewiseProcess) -> None:
    users = Path(edgewise.directory) / "users"
    for option in ("-apr1", "-5", "-6"):
        users.write_text(htpasswd("alice", "first") + htpasswd("frank", f"of frank {option}", option))
        wait_until(
            lambda option=option: statuses(edgewise, "/file", pair("frank", f"of frank {option}"), times=6) == {200},  # type: ignore[misc]
            f"frank is let in by {option}",
        )
    users.write_text(htpasswd("alice", "second"))
    for name, password, status in (("frank", "of frank -6", 401), ("alice", "first", 401), ("alice", "second", 200)):
        wait_until(
            lambda name=name, password=password, status=status: statuses(  # type: ignore[misc]
                edgewise, "/file", pair(name, password), times=6
            ) == {status},
            f"{name} gets {status}",
        )  # fmt: skip
    users.unlink()
    wait_until(lambda: statuses(edgewise, "/file", pair("alice", "second"), times=6) == {401}, "nobody is let in")
    users.write_text(htpasswd("alice", "first"))
    wait_until(lambda: statuses(edgewise, "/file", pair("alice", "first"), times=6) == {200}, "alice is let in again")
