"""Every attack of the lists ends without a session, whether the data is on the server, in the cookie or in a JWT."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from support.jwt_attacks import JWT_ATTACKS, JWT_KINDS
from support.session_attacks import ATTACKS, Attack, run_attack, server_in
from support.state_servers import SqliteServer


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SqliteServer]:
    server = server_in(tmp_path_factory.mktemp("attacks"))
    yield server
    server.kill()


@pytest.mark.parametrize("kind", ["stateful", "stateless", *JWT_KINDS])
@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.__name__)
def test_an_attack_gains_nothing(attack: Attack, kind: str, server: SqliteServer) -> None:
    assert run_attack(attack, kind, server)


@pytest.mark.parametrize("kind", JWT_KINDS)
@pytest.mark.parametrize("attack", JWT_ATTACKS, ids=lambda attack: attack.__name__)
def test_an_attack_on_tokens_gains_nothing(attack: Attack, kind: str, server: SqliteServer) -> None:
    assert run_attack(attack, kind, server)
