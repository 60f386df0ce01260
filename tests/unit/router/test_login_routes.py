"""Where logins are answered: on the hosts of routes that ask for them, before other routes, behind what comes first."""

from __future__ import annotations

from pathlib import Path

from edgewise.config import load
from edgewise.contracts.plan import Route
from edgewise.contracts.table import Refusal, Table
from edgewise.gateway.oidc.way import LoginWay
from edgewise.http.head import plain_head
from edgewise.router.build import build
from edgewise.router.explain import explain

HEAD = """
[upstreams.app]
servers = ["127.0.0.1:9001"]
[oidc.staff]
issuer = "https://login.example"
client_id = "edge"
[oidc.customers]
issuer = "https://login.example"
client_id = "edge"
callback = "/signed-in"
"""
ASKS = '[[routes]]\nname = "staff"\nhost = "app.example"\npath = "/*"\nupstream = "app"\nauth = { oidc = "staff" }\n'
OTHER = '[[routes]]\nname = "other"\nhost = "www.example"\npath = "/*"\nupstream = "app"\n'
ANY = '[[routes]]\nname = "any"\npath = "/shop/*"\nupstream = "app"\nauth = { oidc = "customers" }\n'


def table(directory: Path, toml: str, previous: Table | None = None) -> Table:
    file = directory / "edgewise.toml"
    file.write_text(HEAD + toml)
    return build(load(file, environ={}), previous)


def found(made: Table, host: str, path: str) -> Route | None:
    answer = made.match(plain_head(path=path.encode(), host=host.encode()))
    return None if isinstance(answer, Refusal) else answer[0]


def name(made: Table, host: str, path: str) -> str | None:
    route = found(made, host, path)
    return None if route is None else route.name


def test_the_paths_are_answered_on_the_hosts_that_ask(tmp_path: Path) -> None:
    made = table(tmp_path, ASKS + OTHER + ANY)
    for path in ("login", "callback", "logout", "backchannel-logout"):
        assert name(made, "app.example", f"/oauth2/staff/{path}") == "(oidc staff)"
        assert name(made, "www.example", f"/oauth2/staff/{path}") == "other"
        assert name(made, "else.example", f"/oauth2/staff/{path}") is None
    assert name(made, "app.example", "/oauth2/staff/callback/x") == "staff"
    assert name(made, "else.example", "/signed-in") == "(oidc customers)"
    assert name(made, "else.example", "/oauth2/customers/callback") is None
    assert name(made, "www.example", "/signed-in") == "other"  # its own route for everything goes first


def test_without_a_route_that_asks_there_is_nothing(tmp_path: Path) -> None:
    made = table(tmp_path, OTHER)
    assert name(made, "www.example", "/oauth2/staff/callback") == "other"
    assert made.sessions is None
    assert made.own_routes == ()
    [route] = made.routes
    assert route.direct


def test_what_comes_before_the_question_who_asks_holds_for_logins_too(tmp_path: Path) -> None:
    rules = '[policies]\nip = { allow = ["10.0.0.0/8"] }\n'
    made = table(tmp_path, rules + ASKS)
    route = found(made, "app.example", "/oauth2/staff/callback")
    assert route is not None
    assert len(route.policies) == 2
    bare = found(table(tmp_path, ASKS), "app.example", "/oauth2/staff/callback")
    assert bare is not None
    assert len(bare.policies) == 1


def test_policies_of_a_host_hold_for_its_logins(tmp_path: Path) -> None:
    asks = '[hosts."app.example"]\nauth = { oidc = "staff" }\nip = { allow = ["10.0.0.0/8"] }\n'
    made = table(tmp_path, asks + '[[routes]]\npath = "/*"\nupstream = "app"\n')
    route = found(made, "app.example", "/oauth2/staff/callback")
    assert route is not None
    assert (route.name, len(route.policies)) == ("(oidc staff)", 2)
    assert name(made, "www.example", "/oauth2/staff/callback") == "*/*"
    assert route in made.own_routes


def test_the_whole_server_may_ask(tmp_path: Path) -> None:
    made = table(tmp_path, '[policies]\nauth = { oidc = "staff" }\n[[routes]]\npath = "/*"\nupstream = "app"\n')
    assert name(made, "whatever.example", "/oauth2/staff/callback") == "(oidc staff)"


def test_logins_go_on_over_a_reload_and_begin_anew_with_other_settings(tmp_path: Path) -> None:
    def way(made: Table) -> LoginWay:
        check = made.routes[0].policies[0]
        [one] = check.__self__._ways  # type: ignore[attr-defined]
        assert isinstance(one, LoginWay)
        return one

    first = table(tmp_path, ASKS)
    second = table(tmp_path, ASKS, first)
    third = table(tmp_path, ASKS.replace("app.example", "new.example") + "[sessions]\nidle = '1h'\n", second)
    assert way(second)._refreshing is way(first)._refreshing
    assert way(third)._refreshing is not way(first)._refreshing


def test_the_token_field_is_no_clients_to_send(tmp_path: Path) -> None:
    assert b"authorization" not in table(tmp_path, ASKS).routes[0].stripped
    file = tmp_path / "edgewise.toml"
    file.write_text(
        HEAD.replace('client_id = "edge"\n', 'client_id = "edge"\npass_token = "Authorization"\n', 1) + ASKS
    )
    assert b"authorization" in build(load(file, environ={})).routes[0].stripped


def test_explain_says_where_a_login_is_answered(tmp_path: Path) -> None:
    file = tmp_path / "edgewise.toml"
    file.write_text(HEAD + ASKS)
    text = explain(load(file, environ={}), "GET", "https://app.example/oauth2/staff/callback?code=x")
    assert "route     (oidc staff)\nanswer    made at the edge" in text
