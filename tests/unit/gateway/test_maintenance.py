"""Maintenance: 503 for all but those who may look."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from edgewise.contracts.policies import Denial
from edgewise.gateway.maintenance import Bypass, Maintenance
from edgewise.protocols.http1 import parse_request_head

SECRET = "a-secret-of-the-team"


def ask(made: Maintenance, *lines: str, ip: str = "192.0.2.1") -> Denial | None:
    head = "\r\n".join(("GET / HTTP/1.1", "Host: shop.example", *lines, "\r\n")).encode()
    exchange: Any = SimpleNamespace(
        plan=SimpleNamespace(request=parse_request_head(head, 100)), client=SimpleNamespace(client_ip=lambda: ip)
    )
    outcome = made.check(exchange)
    assert outcome is None or isinstance(outcome, Denial)
    return outcome


def test_clients_are_told_when_to_come_again() -> None:
    refused = ask(Maintenance("Back at noon.", 600))
    assert refused is not None
    assert (refused.status, refused.policy, refused.detail) == (503, "maintenance", "Back at noon.")
    assert refused.fields == ((b"Retry-After", b"600"),)
    assert refused.page is None


def test_browsers_get_the_page_and_programs_the_problem() -> None:
    made = Maintenance("m", 1, page=b"<h1>Soon</h1>")
    page = ask(made, "Accept: text/html,application/xhtml+xml;q=0.9")
    assert page is not None
    assert page.page == (b"text/html; charset=utf-8", b"<h1>Soon</h1>")
    problem = ask(made, "Accept: application/json")
    assert problem is not None
    assert problem.page is None


def test_networks_that_are_named_pass() -> None:
    made = Maintenance("m", 1, allowed=lambda ip: ip == "192.0.2.9")
    assert ask(made, ip="192.0.2.9") is None
    assert ask(made, ip="192.0.2.10") is not None


@pytest.mark.parametrize(
    ("line", "passes"),
    [
        (f"X-Bypass: {SECRET}", True),
        (f"Cookie: theme=dark; bypass={SECRET}; b=c", True),
        (f"X-Bypass: {SECRET}x", False),
        ("X-Bypass: ", False),
        (f"Cookie: bypass={SECRET}x", False),
        (f"Cookie: xbypass={SECRET}", False),
        (f"Cookie: theme={SECRET}", False),
        (f"X-Other: {SECRET}", False),
    ],
)
def test_the_secret_passes_by_its_field_or_its_cookie(line: str, passes: bool) -> None:
    made = Maintenance("m", 1, bypass=Bypass(SECRET, "X-Bypass", "bypass"))
    assert (ask(made, line) is None) is passes
