"""Lines of the decision log: who asked for what, and what became of it."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from edgewise.contracts.identity import Identity
from edgewise.contracts.plan import Route
from edgewise.contracts.policies import POLICIES
from edgewise.telemetry.decision_log import DecisionLog


def exchange(identity: Identity | None = None, *, refused: str = "", failure: str = "", rule: str | None = None) -> Any:
    route = Route("orders", 0)
    route.rule = None if rule is None else lambda identity, method: rule
    head = SimpleNamespace(method=b"POST", host=b"shop.example", path=b'/orders/"\xff\n')
    return SimpleNamespace(
        ended=100.0,
        request_id="0" * 32,
        route=route,
        plan=SimpleNamespace(request=head),
        client=SimpleNamespace(client_ip=lambda: "192.0.2.7"),
        identity=identity,
        refused=POLICIES.index(refused) + 1 if refused else 0,
        failure=failure,
    )


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "decisions.log"


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text("ascii").splitlines()]


def test_refusals_say_why(path: Path) -> None:
    log = DecisionLog(str(path), all=False)
    log.done(exchange(refused="auth", failure="The request has no credentials."))
    log.done(exchange(Identity("alice", "jwt", consumer="acme"), refused="authorize", failure="no rule allows POST"))
    log.done(exchange(Identity("alice", "jwt"), rule="1"))
    log.close()
    first, second = lines(path)
    assert first.pop("ts").endswith("Z")
    assert first == {
        "request_id": "0" * 32,
        "route": "orders",
        "method": "POST",
        "host": "shop.example",
        "path": '/orders/"\xff\n',
        "client": "192.0.2.7",
        "outcome": "refused",
        "policy": "auth",
        "reason": "The request has no credentials.",
    }
    assert (second["user"], second["consumer"], second["auth"]) == ("alice", "acme", "jwt")
    assert (second["policy"], second["reason"]) == ("authorize", "no rule allows POST")


def test_what_was_allowed_is_written_where_that_is_wanted_with_its_rule(path: Path) -> None:
    log = DecisionLog(str(path), all=True)
    log.done(exchange(Identity("alice", "jwt"), rule="writers"))
    log.done(exchange(Identity("bob", "jwt")))
    log.done(exchange(None))
    log.tick(0.0)
    allowed, without_rules, nobody = lines(path)
    assert (allowed["outcome"], allowed["rule"], "policy" in allowed) == ("allowed", "writers", False)
    assert (without_rules["outcome"], "rule" in without_rules) == ("allowed", False)
    assert (nobody["outcome"], "user" in nobody) == ("unverified", False)
    log.close()


def test_what_other_policies_refused_before_is_no_decision(path: Path) -> None:
    log = DecisionLog(str(path), all=True)
    log.done(exchange(refused="ip", failure="not from there"))
    log.done(exchange(Identity("alice", "jwt"), refused="rate-limit", failure="too many"))
    log.close()
    [line] = lines(path)
    assert (line["user"], line["outcome"]) == ("alice", "allowed")


def test_after_rotation_lines_go_to_the_new_file(path: Path) -> None:
    log = DecisionLog(str(path), all=False)
    log.done(exchange(refused="auth"))
    log.tick(0.0)
    path.rename(path.with_suffix(".1"))
    log.reopen()
    log.done(exchange(refused="auth"))
    log.close()
    assert len(lines(path)) == len(lines(path.with_suffix(".1"))) == 1
