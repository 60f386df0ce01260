"""Basic authentication: credentials read as RFC 7617 says, passwords verified few at a time and not twice."""

from __future__ import annotations

import asyncio
import base64
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import bcrypt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgewise.contracts.identity import Identity
from edgewise.contracts.policies import Denial
from edgewise.gateway import basic, passwords
from edgewise.gateway.basic import BasicAuthenticator, decoded
from edgewise.gateway.consumers import Consumer, Consumers
from edgewise.gateway.htpasswd import HtpasswdUsers
from edgewise.protocols.http1 import parse_request_head


def hashed(password: bytes) -> str:
    return bcrypt.hashpw(password, bcrypt.gensalt(4)).decode()


SESAME = hashed(b"sesame")


def exchange(*values: bytes) -> Any:
    lines = b"".join(b"Authorization: %b\r\n" % value for value in values)
    request = parse_request_head(b"GET / HTTP/1.1\r\nHost: a\r\n%b\r\n" % lines)
    return SimpleNamespace(plan=SimpleNamespace(request=request))


def pair(name: str, password: bytes) -> bytes:
    return b"Basic " + base64.b64encode(name.encode() + b":" + password)


async def outcome(way: BasicAuthenticator, *values: bytes) -> Any:
    found = way.authenticate(exchange(*values))
    return await found if asyncio.isfuture(found) else found


class Users(Consumers):
    """Consumers whose passwords can change, and who counts how often they are asked for."""

    def __init__(self, **users: str) -> None:
        super().__init__(Consumer(name, passwords=[text]) for name, text in users.items())

    def change(self, name: str, text: str | None) -> None:
        self._named.pop(name)
        if text is not None:
            self._named[name] = Consumer(name, passwords=[text])


def way(users: Any, remember: float = 300.0) -> BasicAuthenticator:
    return BasicAuthenticator(users, "shop", remember)


def test_a_name_with_its_password_is_let_in() -> None:
    async def run() -> None:
        one = way(Users(alice=SESAME))
        assert one.challenge == b'Basic realm="shop", charset="UTF-8"'
        found = await outcome(one, pair("alice", b"sesame"))
        assert isinstance(found, Identity)
        assert (found.name, found.method, found.consumer) == ("alice", "basic", "alice")
        assert one.authenticate(exchange(pair("alice", b"sesame"))) is found  # at once, this time
        assert await outcome(one, b"bAsIc " + pair("alice", b"sesame")[6:]) is found

    asyncio.run(run())


@pytest.mark.parametrize(
    ("values", "detail"),
    [
        ((pair("alice", b"wrong"),), "The name or the password is not right."),
        ((pair("alice", b""),), "The name or the password is not right."),
        ((pair("nobody", b"sesame"),), "The name or the password is not right."),
        ((pair("alice", b"x" * 1500),), "The name or the password is not right."),
        ((b"Basic " + b"A" * 5000,), "The credentials are not those of basic authentication."),
        ((b"Basic !!!!",), "The credentials are not those of basic authentication."),
        ((pair("", b"sesame"),), "The credentials are not those of basic authentication."),
        ((pair("alice", b"ses\nme"),), "The credentials are not those of basic authentication."),
        ((pair("alice", b"sesame"),) * 2, "The request has more than one Authorization."),
    ],
)
def test_what_is_not_right_is_refused(values: tuple[bytes, ...], detail: str) -> None:
    found = asyncio.run(outcome(way(Users(alice=SESAME)), *values))
    assert isinstance(found, Denial)
    assert (found.status, found.detail) == (401, detail)


@pytest.mark.parametrize("values", [(), (b"Bearer abc",), (b"Basically abc",), (b"Digest a=b",)])
def test_credentials_of_other_kinds_are_left_to_other_ways(values: tuple[bytes, ...]) -> None:
    assert asyncio.run(outcome(way(Users(alice=SESAME)), *values)) is None


def test_what_was_verified_holds_no_longer_than_the_password() -> None:
    async def run() -> None:
        users = Users(alice=SESAME)
        one = way(users)
        assert isinstance(await outcome(one, pair("alice", b"sesame")), Identity)
        users.change("alice", hashed(b"another"))
        assert isinstance(await outcome(one, pair("alice", b"sesame")), Denial)
        assert isinstance(await outcome(one, pair("alice", b"another")), Identity)
        users.change("alice", None)
        assert isinstance(await outcome(one, pair("alice", b"another")), Denial)

    asyncio.run(run())


def test_passwords_are_verified_again_after_a_while_and_once_for_all_that_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    verified: list[bytes] = []
    now = 1000.0

    def matching(hashes: tuple[str, ...], password: bytes) -> str | None:
        verified.append(password)
        return hashes[0]

    monkeypatch.setattr(passwords, "matching", matching)
    monkeypatch.setattr(basic, "monotonic", lambda: now)

    async def run() -> None:
        nonlocal now
        one = way(Users(alice=SESAME), remember=60.0)
        await asyncio.gather(*(outcome(one, pair("alice", b"sesame")) for _ in range(20)))
        assert len(verified) == 1
        now += 59.0
        await outcome(one, pair("alice", b"sesame"))
        assert len(verified) == 1
        now += 2.0
        await outcome(one, pair("alice", b"sesame"))
        assert len(verified) == 2

    asyncio.run(run())


def test_beyond_those_that_wait_requests_are_told_to_come_again(monkeypatch: pytest.MonkeyPatch) -> None:
    go = threading.Event()

    def matching(hashes: tuple[str, ...], password: bytes) -> None:
        go.wait(30)

    monkeypatch.setattr(passwords, "matching", matching)

    async def run() -> None:
        one = way(Users(alice=SESAME))
        waiting = [one.authenticate(exchange(pair("alice", b"%d" % number))) for number in range(32)]
        busy = one.authenticate(exchange(pair("alice", b"sesame")))
        assert isinstance(busy, Denial)
        assert (busy.status, busy.fields) == (503, ((b"Retry-After", b"1"),))
        joined = one.authenticate(exchange(pair("alice", b"0")))
        go.set()
        found = await asyncio.gather(*waiting, joined)  # type: ignore[arg-type]
        assert {denial.status for denial in found} == {401}
        await asyncio.sleep(0)
        assert isinstance(await outcome(one, pair("alice", b"x")), Denial)

    asyncio.run(run())


def test_for_a_name_that_nobody_has_as_much_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, ...]] = []

    def matching(hashes: tuple[str, ...], password: bytes) -> str:
        asked.append(hashes)
        return hashes[0]

    monkeypatch.setattr(passwords, "matching", matching)
    found = asyncio.run(outcome(way(Users(alice=SESAME)), pair("nobody", b"sesame")))
    assert isinstance(found, Denial)
    assert asked == [(SESAME,)]


def test_a_client_that_goes_away_leaves_the_others_to_wait() -> None:
    async def run() -> None:
        one = way(Users(alice=SESAME))
        first = asyncio.ensure_future(one.authenticate(exchange(pair("alice", b"sesame"))))  # type: ignore[arg-type]
        second = asyncio.ensure_future(one.authenticate(exchange(pair("alice", b"sesame"))))  # type: ignore[arg-type]
        first.cancel()
        assert isinstance(await second, Identity)

    asyncio.run(run())


@given(st.text(st.characters(exclude_categories=["C"], exclude_characters=":"), min_size=1), st.binary())
def test_name_and_password_come_back_as_they_were_sent(name: str, password: bytes) -> None:
    found = decoded(base64.b64encode(name.encode() + b":" + password))
    if any(byte < 32 or byte == 127 for byte in password):
        assert found is None
    else:
        assert found == (name, password)


@given(st.binary(max_size=60))
def test_whatever_comes_as_credentials_is_read_or_is_none(value: bytes) -> None:
    found = decoded(value)
    assert found is None or (found[0] and isinstance(found[1], bytes))


def test_a_file_of_users_is_read_again_when_it_changes(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = tmp_path / "users"
    file.write_text(f"# of the shop\n\nalice:{SESAME}:a comment\nalice:{hashed(b'second line')}\n")
    users = HtpasswdUsers(file)
    assert users.hashes("alice") == (SESAME,)
    found = users.identity("alice", "basic")
    assert found is not None
    assert (found.name, found.consumer) == ("alice", None)
    assert users.identity("alice", "basic") is found
    file.write_text(f"bob:{SESAME}\ncarol:plain\n")
    users.look()
    assert users.hashes("alice") == users.hashes("carol") == ()
    assert users.identity("alice", "basic") is None
    assert users.hashes("bob") == users.decoy() == (SESAME,)
    assert "line 2: no hash that is known" in caplog.text
    assert "plain" not in caplog.text
    file.unlink()
    users.look()
    users.look()
    assert users.hashes("bob") == users.decoy() == ()
    assert caplog.text.count("nobody is let in") == 1
