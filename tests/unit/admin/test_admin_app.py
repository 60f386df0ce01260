from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from edgewise.admin.control import DiskStatus, NothingShared, PurgeResult, ReloadProblem, ServerState, server_state
from edgewise.contracts.shared import DRAINED, UNHEALTHY, EndpointState
from edgewise.contracts.state import StateUnavailable

Ask = Callable[..., Any]


def test_the_process_is_healthy_as_long_as_it_answers(ask: Ask, control: Any) -> None:
    control.ready = False
    assert ask("GET", "/healthz").json() == {"status": "ok"}


def test_readiness_follows_the_workers(ask: Ask, control: Any) -> None:
    assert ask("GET", "/readyz").status == 200
    control.ready = False
    answer = ask("GET", "/readyz")
    assert answer.status == 503
    assert answer.headers["content-type"] == "application/problem+json"


def test_status_names_workers_and_routes(ask: Ask) -> None:
    status = ask("GET", "/api/v1/status").json()
    assert (status["version"], status["generation"], status["ready"]) == ("1.2.3", 3, True)
    worker = {"index": 0, "pid": 4711, "uptime": 93784.0, "connections": 12, "requests": 99}
    assert status["workers"] == [{**worker, "cache_objects": 0, "cache_bytes": 0}]
    assert status["routes"] == [{"name": "shop", "target": "upstream shop", "requests": 0, "cache": {}}]


def test_upstreams_show_each_server_with_its_reason(ask: Ask) -> None:
    (upstream,) = ask("GET", "/api/v1/upstreams").json()["upstreams"]
    assert (upstream["name"], upstream["balance"]) == ("shop", "round_robin")
    first, second = upstream["servers"]
    assert (first["state"], first["active"], first["last_check"]) == ("healthy", 2, "2026-11-24T05:00:00Z")
    assert (second["state"], second["reason"], second["last_check"]) == ("unhealthy", "status 500 & more", None)


@pytest.mark.parametrize(("verb", "drained"), [("drain", True), ("undrain", False)])
@pytest.mark.parametrize("server", ["127.0.0.1:9001", "unix:/run/<b>.sock"])
def test_a_server_is_drained_by_its_name(ask: Ask, control: Any, verb: str, drained: bool, server: str) -> None:
    answer = ask("POST", f"/api/v1/upstreams/shop/servers/{server}/{verb}")
    assert answer.json() == {"server": f"shop/{server}", "drained": drained}
    assert control.drained == {f"shop/{server}": drained}


def test_a_server_that_is_not_there_cannot_be_drained(ask: Ask, control: Any) -> None:
    answer = ask("POST", "/api/v1/upstreams/shop/servers/127.0.0.1:1/drain")
    assert (answer.status, answer.json()["detail"]) == (404, "no server shop/127.0.0.1:1")
    assert control.drained == {}


def test_a_reload_answers_with_the_new_generation(ask: Ask) -> None:
    assert ask("POST", "/api/v1/reload").json() == {"generation": 4}


def test_a_bad_file_is_a_conflict_that_lists_every_problem(ask: Ask, control: Any) -> None:
    control.problems = (ReloadProblem("unknown key", "edgewise.toml", 7, "server.lisen", "", "listen"),)
    answer = ask("POST", "/api/v1/reload")
    assert answer.status == 409
    assert answer.headers["content-type"] == "application/problem+json"
    content = answer.json()
    assert (content["type"], content["title"], content["status"]) == ("about:blank", "Conflict", 409)
    assert content["generation"] == 3
    assert content["problems"][0]["nearest"] == "listen"


def test_metrics_are_prometheus_text(ask: Ask) -> None:
    answer = ask("GET", "/metrics")
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert answer.body == b"# TYPE up gauge\nup 1\n"


def test_the_configuration_in_force_can_be_read(ask: Ask) -> None:
    assert ask("GET", "/api/v1/config").json() == {"server": {"listen": ["127.0.0.1:8080"]}}


def test_an_unknown_path_is_a_problem(ask: Ask) -> None:
    answer = ask("GET", "/api/v1/nothing")
    assert answer.status == 404
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["title"] == "Not Found"


def test_a_wrong_method_is_a_problem_that_names_the_right_ones(ask: Ask) -> None:
    answer = ask("GET", "/api/v1/reload")
    assert (answer.status, answer.headers["allow"]) == (405, "POST")
    assert answer.json()["status"] == 405


def test_the_page_shows_states_and_escapes_what_it_shows(ask: Ask) -> None:
    answer = ask("GET", "/")
    text = answer.body.decode()
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert "unix:/run/&lt;b&gt;.sock" in text
    assert "status 500 &amp; more" in text
    assert "1 d 2 h" in text
    assert "<b>" not in text


def test_the_page_loads_nothing_and_runs_nothing(ask: Ask) -> None:
    answer = ask("GET", "/")
    text = answer.body.decode()
    assert "://" not in text
    assert "<script" not in text
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("default-src 'none';")
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy


def test_no_answer_is_kept_or_sniffed(ask: Ask) -> None:
    for path in ("/", "/metrics", "/api/v1/status", "/nothing"):
        headers = ask("GET", path).headers
        assert headers["cache-control"] == "no-store"
        assert headers["x-content-type-options"] == "nosniff"


def test_a_defect_is_a_problem_that_tells_nothing_of_the_inside(ask: Ask, control: Any) -> None:
    control.defect = "inside"
    answer = ask("GET", "/metrics")
    assert answer.status == 500
    assert answer.headers["content-type"] == "application/problem+json"
    assert b"inside" not in answer.body


QUIET = EndpointState(0, 0, 0, 0, 0, 0, 0)


@pytest.mark.parametrize(
    ("flags", "figures", "state", "reason"),
    [
        (0, QUIET, "healthy", ""),
        (0, QUIET._replace(ejected=1), "ejected", "by 1 of 2 workers"),
        (UNHEALTHY, QUIET._replace(ejected=1), "unhealthy", "status 500"),
        (DRAINED | UNHEALTHY, QUIET._replace(active=3), "draining", "3 requests under way"),
        (DRAINED, QUIET, "drained", "by the operator"),
    ],
)
def test_a_servers_state_follows_from_flags_and_figures(
    flags: int, figures: EndpointState, state: ServerState, reason: str
) -> None:
    found, why = server_state(flags, figures, 2, "status 500")
    assert found == state
    assert why.endswith(reason)


def test_certificates_are_shown_with_their_ends_and_errors(ask: Ask) -> None:
    first, second = ask("GET", "/api/v1/certificates").json()["certificates"]
    assert (first["name"], first["not_after"]) == ("shop.test", "2027-01-01T00:00:00Z")
    assert (second["not_after"], second["failures"], second["last_error"]) == (None, 2, "<rate limited>")
    page = ask("GET", "/").body
    assert b"shop.test" in page
    assert b"&lt;rate limited&gt;" in page


@pytest.mark.parametrize(("query", "revoke"), [("", False), ("revoke=true", True)])
def test_a_certificate_is_renewed_on_demand(ask: Ask, control: Any, query: str, revoke: bool) -> None:
    assert ask("POST", "/api/v1/certificates/shop.test/renew", query=query).json()["revoke"] is revoke
    assert control.renewed == [("shop.test", revoke)]


def test_a_certificate_that_is_not_kept_cannot_be_renewed(ask: Ask) -> None:
    assert ask("POST", "/api/v1/certificates/other.test/renew").status == 404


def test_a_users_sessions_are_listed_and_ended(ask: Ask, control: Any) -> None:
    listed = ask("GET", "/api/v1/sessions", query="user=a%2Fb&namespace=shop&namespace=blog").json()
    assert listed["user"] == "a/b"
    [session] = listed["sessions"]
    assert (session["namespace"], session["label"], session["expires_in"]) == ("gateway", "a phone", 60.0)
    assert ask("POST", "/api/v1/sessions/revoke", query="user=a%2Fb").json() == {"user": "a/b", "ended": 1}
    assert control.asked == [("a/b", ["shop", "blog"]), ("a/b", [])]
    handle = session["id"]
    ended = ask("POST", "/api/v1/sessions/revoke", query=f"id={handle}").json()
    assert ended == {"user": "alice", "id": handle, "ended": 1}


@pytest.mark.parametrize(
    ("method", "path", "query", "status"),
    [
        ("GET", "/api/v1/sessions", "", 400),
        ("GET", "/api/v1/sessions", f"user={'x' * 1025}", 400),
        ("POST", "/api/v1/sessions/revoke", "", 400),
        ("POST", "/api/v1/sessions/revoke", f"user=a&id={'a' * 64}", 400),
        ("POST", "/api/v1/sessions/revoke", f"id={'b' * 64}", 404),
        ("POST", "/api/v1/sessions/revoke", "id=../x", 404),
        ("GET", "/api/v1/sessions/revoke", "user=a", 405),
        ("DELETE", "/api/v1/sessions", "user=a", 405),
    ],
)
def test_what_is_not_asked_rightly_ends_nothing(ask: Ask, method: str, path: str, query: str, status: int) -> None:
    assert ask(method, path, query=query).status == status


@pytest.mark.parametrize(
    ("error", "status"),
    [(StateUnavailable("no answer"), 503), (NothingShared("no engine"), 409), (ValueError("x"), 400)],
)
def test_where_sessions_cannot_be_asked_for_the_answer_says_why(
    ask: Ask, control: Any, error: Exception, status: int
) -> None:
    control.lost = error
    for method, path in (("GET", "/api/v1/sessions"), ("POST", "/api/v1/sessions/revoke")):
        answer = ask(method, path, query="user=a")
        assert answer.status == status
        assert str(error) in answer.json()["detail"]


def test_a_page_of_another_site_ends_no_session(ask: Ask, control: Any) -> None:
    answer = ask("POST", "/api/v1/sessions/revoke", query="user=a", origin="https://evil.example")
    assert (answer.status, control.asked) == (403, [])


@pytest.mark.parametrize(
    ("result", "told"),
    [
        (PurgeResult(3), {"objects": 3}),
        (PurgeResult(3, on_disk=5), {"objects": 3, "on_disk": 5, "estimated": False}),
        (PurgeResult(0, on_disk=5000, estimated=True), {"objects": 0, "on_disk": 5000, "estimated": True}),
    ],
)
def test_a_dry_run_tells_what_is_in_memory_and_on_disk(
    ask: Ask, control: Any, result: PurgeResult, told: dict[str, object]
) -> None:
    control.purged = result
    answer = ask("POST", "/api/v1/cache/purge", content=b'{"all": true, "dry_run": true}')
    assert answer.json() == {"purges": 1, "soft": False, "nodes": 1, "dry_run": True, **told}


def test_a_purge_that_the_disk_did_not_take_is_a_failure(ask: Ask, control: Any) -> None:
    control.purged = PurgeResult(kept=False)
    answer = ask("POST", "/api/v1/cache/purge", content=b'{"tags": ["a"]}')
    assert answer.status == 507
    assert "may return by a restart" in answer.json()["detail"]


def test_the_status_tells_of_answers_on_disk(ask: Ask, control: Any) -> None:
    assert ask("GET", "/api/v1/status").json()["cache_disk"] is None
    control.disk = DiskStatus(1000, 900, 3, 2, 5000)
    assert ask("GET", "/api/v1/status").json()["cache_disk"] == {
        "most": 1000,
        "bytes": 900,
        "objects": 3,
        "evictions": 2,
        "written": 5000,
    }
