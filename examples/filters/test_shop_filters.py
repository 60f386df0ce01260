"""Filters are plain code: their tests need no socket and no edgewise process."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from shop_filters import SecurityHeaders, refuse_bots

from edgewise.contracts.filters import Request, Response


def test_a_blocked_agent_is_refused() -> None:
    answer = refuse_bots(Request(headers=[("User-Agent", "BadBot/1.0")]))
    assert answer is not None
    assert (answer.status, answer.body) == (403, b"Not for robots.\n")


def test_other_agents_go_on_with_a_mark_for_the_app() -> None:
    request = Request(headers=[("User-Agent", "Mozilla/5.0")])
    assert refuse_bots(request) is None
    assert request.headers["x-checked"] == "yes"


def test_security_headers_are_added_but_the_apps_own_are_kept() -> None:
    response = Response(200, None, [("Referrer-Policy", "no-referrer")])
    asyncio.run(SecurityHeaders().response(Request(), response))
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert response.headers.get_all("Referrer-Policy") == ["no-referrer"]
