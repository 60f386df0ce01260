from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgewise.balancer import make_policy
from edgewise.balancer.sticky import Sticky, sticky_token
from edgewise.contracts.endpoint import Endpoint, Move, Upstream
from edgewise.contracts.exchange import Exchange
from edgewise.testing.balancing import make_endpoints, make_exchange

SECRET = b"0123456789abcdef"
ENDPOINTS = make_endpoints(3)


def _policy(secret: bytes = SECRET, *, secure: bool = False, max_age: float | None = None) -> Sticky:
    policy = Sticky(make_policy("round_robin", rand=lambda: 0.0), secret, secure=secure, max_age=max_age)
    policy.update(ENDPOINTS)
    return policy


def _with_cookie(value: str, tried: tuple[Endpoint, ...] = ()) -> Exchange:
    return make_exchange(headers=[("Cookie", f"theme=dark; ew={value}")], tried=tried)


def _issued(exchange: Exchange) -> str:
    found = re.match(rb"Set-Cookie: ew=([A-Za-z0-9_-]{22});", exchange.set_cookie)
    assert found
    return found[1].decode()


def test_a_new_client_is_given_a_cookie_and_comes_back_to_its_endpoint() -> None:
    policy = _policy()
    first = make_exchange()
    chosen = policy.pick(first)
    for _ in range(5):
        again = _with_cookie(_issued(first))
        assert policy.pick(again) is chosen
        assert again.set_cookie == b""


def test_the_cookie_survives_a_restart_with_the_same_secret() -> None:
    first = make_exchange()
    chosen = _policy().pick(first)
    assert chosen is not None
    restarted = Sticky(make_policy("round_robin"), SECRET)
    restarted.update(make_endpoints(3)[::-1])
    again = restarted.pick(_with_cookie(_issued(first)))
    assert again is not None
    assert again.key == chosen.key


def test_the_client_falls_over_to_another_endpoint_and_stays_there() -> None:
    policy = _policy()
    token = sticky_token(SECRET, ENDPOINTS[0].key).decode()
    policy.update(ENDPOINTS[1:])
    moved = _with_cookie(token)
    chosen = policy.pick(moved)
    assert chosen in ENDPOINTS[1:]
    policy.update(ENDPOINTS)
    assert policy.pick(_with_cookie(_issued(moved))) is chosen


def test_a_retry_leaves_the_endpoint_and_issues_a_cookie_for_the_new_one() -> None:
    policy = _policy()
    retry = _with_cookie(sticky_token(SECRET, ENDPOINTS[0].key).decode(), tried=(ENDPOINTS[0],))
    chosen = policy.pick(retry)
    assert chosen in ENDPOINTS[1:]
    assert chosen is not None
    assert _issued(retry) == sticky_token(SECRET, chosen.key).decode()


def test_a_retry_that_ends_where_the_cookie_points_issues_none() -> None:
    policy = _policy()
    retry = _with_cookie(sticky_token(SECRET, ENDPOINTS[0].key).decode(), tried=ENDPOINTS)
    retry.set_cookie = b"Set-Cookie: ew=from-the-attempt-before\r\n"
    policy.update(ENDPOINTS[:1])
    assert policy.pick(retry) is ENDPOINTS[0]
    assert retry.set_cookie == b""


@given(st.data())
def test_a_tampered_cookie_is_no_cookie(data: st.DataObject) -> None:
    token = sticky_token(SECRET, ENDPOINTS[1].key).decode()
    place = data.draw(st.integers(0, 21))
    letter = data.draw(st.sampled_from("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"))
    tampered = token[:place] + letter + token[place + 1 :]
    exchange = _with_cookie(tampered)
    chosen = _policy().pick(exchange)
    if tampered != token:
        assert chosen is ENDPOINTS[0], "the wrapped policy must choose"
        assert _issued(exchange)


@given(st.text(st.characters(min_codepoint=32, max_codepoint=255), max_size=60))
def test_no_made_up_cookie_names_an_endpoint(value: str) -> None:
    exchange = _with_cookie(value)
    assert _policy().pick(exchange) is ENDPOINTS[0]
    assert _issued(exchange)


def test_a_cookie_signed_with_another_secret_is_no_cookie() -> None:
    other = make_exchange()
    _policy(b"another secret, as long").pick(other)
    exchange = _with_cookie(_issued(other))
    _policy().pick(exchange)
    assert exchange.set_cookie


def test_the_cookie_is_kept_from_scripts_and_other_sites() -> None:
    exchange = make_exchange()
    _policy(secure=True, max_age=3600.0).pick(exchange)
    token = _issued(exchange)
    attributes = "Path=/; Max-Age=3600; HttpOnly; SameSite=Lax; Secure"
    assert exchange.set_cookie == f"Set-Cookie: ew={token}; {attributes}\r\n".encode()


def test_the_cookie_does_not_tell_the_address() -> None:
    assert b"server" not in sticky_token(SECRET, "shop/server-0")


def test_without_endpoints_no_cookie_is_issued() -> None:
    policy = _policy()
    policy.update(())
    exchange = make_exchange()
    assert policy.pick(exchange) is None
    assert exchange.set_cookie == b""


def _moved(endpoints: tuple[Endpoint, ...]) -> dict[str, int]:
    """Return how many clients were moved for which reason."""
    counts = {move.name.lower(): sum(one.moved[move] for one in endpoints) for move in Move}
    return {reason: count for reason, count in counts.items() if count}


class TestMoves:
    """Clients that leave their endpoint are counted where they go, with the reason."""

    def policy(self, endpoints: tuple[Endpoint, ...]) -> Upstream:
        return Upstream("test", list(endpoints), Sticky(make_policy("round_robin", rand=lambda: 0.0), SECRET))

    @pytest.mark.parametrize(
        ("change", "reason"),
        [
            ({"drained": True}, "drained"),
            ({"health": False}, "unhealthy"),
            ({"ejected": True}, "ejected"),
            ({"drained": True, "health": False}, "drained"),
        ],
    )
    def test_an_endpoint_that_takes_no_requests(self, change: dict[str, bool], reason: str) -> None:
        endpoints = make_endpoints(3)
        upstream = self.policy(endpoints)
        for name, value in change.items():
            setattr(endpoints[0], name, value)
        upstream.changed()
        moved = _with_cookie(sticky_token(SECRET, endpoints[0].key).decode())
        chosen = upstream.pick(moved)
        assert _moved(endpoints) == {reason: 1}
        assert chosen is not None
        assert sum(chosen.moved) == 1
        upstream.pick(_with_cookie(_issued(moved)))
        assert _moved(endpoints) == {reason: 1}, "a client that has its new cookie counts again"

    def test_an_endpoint_that_was_removed_and_one_that_never_was(self) -> None:
        endpoints = make_endpoints(3)
        upstream = self.policy(endpoints)
        upstream.endpoints = list(endpoints[1:])
        upstream.changed()
        upstream.pick(_with_cookie(sticky_token(SECRET, endpoints[0].key).decode()))
        upstream.pick(_with_cookie("A" * 22))
        assert _moved(endpoints) == {"gone": 2}

    def test_a_backup_that_is_not_needed_any_more(self) -> None:
        first, backup = (*make_endpoints(1), Endpoint("test/backup", ("127.0.0.1", 1), backup=True))
        first.health = False
        upstream = self.policy((first, backup))
        first.health = True
        upstream.changed()
        assert upstream.pick(_with_cookie(sticky_token(SECRET, backup.key).decode())) is first
        assert _moved((first, backup)) == {"backup": 1}

    def test_a_first_attempt_that_failed_and_not_those_after_it(self) -> None:
        endpoints = make_endpoints(3)
        upstream = self.policy(endpoints)
        token = sticky_token(SECRET, endpoints[0].key).decode()
        for tried in ((endpoints[0],), endpoints[:2]):
            upstream.pick(_with_cookie(token, tried=tried))
        upstream.pick(_with_cookie("A" * 22, tried=endpoints[:1]))
        assert _moved(endpoints) == {"failed": 1}

    def test_who_is_new_stays_or_only_hedges_is_not_moved(self) -> None:
        endpoints = make_endpoints(3)
        upstream = self.policy(endpoints)
        token = sticky_token(SECRET, endpoints[0].key).decode()
        upstream.pick(make_exchange())
        upstream.pick(_with_cookie(token))
        twin = _with_cookie(token, tried=endpoints[:1])
        twin.primary = make_exchange()
        upstream.pick(twin)
        upstream.endpoints = []
        upstream.changed()
        assert upstream.pick(_with_cookie(token)) is None
        assert _moved(endpoints) == {}

    def test_endpoints_that_come_and_go_are_remembered_within_a_bound(self) -> None:
        policy = _policy()
        for number in range(1500):
            policy.update((Endpoint(f"test/pod-{number}", ("127.0.0.1", 1)),))
        assert len(policy._seen) == 1024


def test_an_empty_secret_is_refused() -> None:
    with pytest.raises(ValueError, match="needs a secret"):
        Sticky(make_policy("round_robin"), b"")
