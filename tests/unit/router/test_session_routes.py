"""What sessions make of routes: those without pay nothing, and none lets a client pass for the gateway."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from edgewise.config import load
from edgewise.contracts.table import Table
from edgewise.router.build import build
from edgewise.router.sessions import GatewaySessions

UPSTREAM = '[upstreams.app]\nservers = ["127.0.0.1:9001"]\n'
PLAIN = '[[routes]]\npath = "/plain/*"\nupstream = "app"\n'
HELD = '[[routes]]\npath = "/held/*"\nupstream = "app"\nsession = "optional"\n'
SEALED = '[sessions]\nmode = "sealed"\nsecrets = ["0123456789abcdef0123456789abcdef"]\n'


def table(directory: Path, toml: str, previous: Table | None = None) -> Table:
    file = directory / "edgewise.toml"
    file.write_text(UPSTREAM + toml)
    return build(load(file, environ={}), previous)


def removed(edits: Any) -> set[bytes]:
    return {name for action, name, _ in edits if action == "remove"}


def sessions_of(made: Table) -> GatewaySessions:
    assert isinstance(made.sessions, GatewaySessions)
    return made.sessions


def test_without_sessions_nothing_is_added(tmp_path: Path) -> None:
    made = table(tmp_path, PLAIN)
    [route] = made.routes
    assert made.sessions is None
    assert route.direct
    assert (route.request_filters, route.response_filters) == ((), ())
    assert (route.forward_edits, route.response_edits, route.stripped) == ((), (), frozenset())


def test_a_route_without_a_session_beside_others_runs_no_filter(tmp_path: Path) -> None:
    plain, held = table(tmp_path, PLAIN + HELD).routes
    assert plain.direct
    assert (plain.request_filters, plain.response_filters) == ((), ())
    assert not held.direct
    assert (len(held.request_filters), len(held.response_filters)) == (1, 1)


def test_no_route_lets_a_client_pass_for_the_gateway(tmp_path: Path) -> None:
    plain, held = table(tmp_path, PLAIN + HELD).routes
    assert plain.stripped == held.stripped > {b"x-edgewise-session", b"x-user", b"x-groups"}
    assert removed(plain.response_edits) == removed(held.response_edits) == {b"x-edgewise-session"}


def test_the_sessions_check_comes_before_a_routes_own_filters(tmp_path: Path) -> None:
    held = HELD + 'csrf = true\nfilters = ["support.idle_filters:BothWays"]\n'
    route = table(tmp_path, held).routes[0]
    names = [hook.__self__.__class__.__name__ for hook in route.request_filters]
    assert names[:2] == ["SameOrigin", "SessionFilter"]
    assert route.response_filters[-1].__self__.__class__.__name__ == "SessionFilter"


def test_stateful_sessions_bring_the_embedded_engine_and_sealed_ones_do_not(tmp_path: Path) -> None:
    assert sessions_of(table(tmp_path, HELD)).opening is not None
    assert sessions_of(table(tmp_path, HELD + SEALED)).opening is None


def test_a_reload_goes_on_with_sessions_that_stay_the_same(tmp_path: Path) -> None:
    first = table(tmp_path, HELD)
    second = table(tmp_path, HELD + PLAIN, first)
    third = table(tmp_path, HELD + '[sessions]\nidle = "1h"\n', second)
    assert sessions_of(second).held is sessions_of(first).held
    assert sessions_of(third).held is not sessions_of(first).held
    assert sessions_of(third).opening is sessions_of(first).opening


@pytest.mark.parametrize(("secure", "cookie"), [("true", "__Host-session"), ("false", "session")])
def test_the_cookies_name_says_how_it_is_protected(tmp_path: Path, secure: str, cookie: str) -> None:
    made = table(tmp_path, HELD + f"[sessions]\nsecure = {secure}\n")
    assert sessions_of(made).held.settings.cookie == cookie


def test_secrets_and_keys_that_cannot_be_used_are_named(tmp_path: Path) -> None:
    (tmp_path / "short").write_text("short\n")
    with pytest.raises(ValueError, match="32 characters"):
        table(tmp_path, HELD + '[sessions]\nmode = "sealed"\nsecret_files = ["short"]\n')
    with pytest.raises(ValueError, match=r"short: .*PEM"):
        table(tmp_path, HELD + '[identity]\nformat = "jwt"\njwt_keys = ["short"]\n')


def test_tokens_are_asked_by_the_sessions_filter_and_not_by_what_browsers_say(tmp_path: Path) -> None:
    [route] = table(tmp_path, HELD + 'csrf = "token"\n').routes
    assert len(route.request_filters) == 1
    made = table(tmp_path, HELD + 'csrf = "token"\n' + HELD.replace("/held", "/login"))
    assert sessions_of(made).form_tokens, "a login on another route begins a session without a secret"
    assert not sessions_of(table(tmp_path, HELD)).form_tokens
