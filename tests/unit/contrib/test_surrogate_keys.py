"""The tags of what a request used, on its answer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Any

from edgewise.contrib.surrogate_keys import NOT_KEPT, AsgiSurrogateKeys, WsgiSurrogateKeys, key_fields
from edgewise.contrib.tags import Collected, Unit, record


def fields_of_wsgi(*tags: str) -> list[tuple[str, str]]:
    def app(_environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        record(*tags)
        start_response("200 OK", [("A", "b")])
        return [b""]

    found: list[tuple[str, str]] = []
    WsgiSurrogateKeys(app)({}, lambda status, fields: found.extend(fields))
    return found


def test_a_wsgi_answer_has_the_tags_that_were_used_before_it() -> None:
    assert fields_of_wsgi() == [("A", "b")]
    assert fields_of_wsgi("b:2", "a") == [("A", "b"), ("Surrogate-Key", "a b:2")]


def test_an_asgi_answer_has_the_tags_that_were_used_before_it() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        record("a")
        await send({"type": "http.response.start", "status": 200, "headers": [(b"a", b"b")]})
        await send({"type": "http.response.body", "body": b""})

    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        raise AssertionError

    asyncio.run(AsgiSurrogateKeys(app)({"type": "http"}, receive, send))
    assert sent[0]["headers"] == [(b"a", b"b"), (b"surrogate-key", b"a")]
    assert sent[1]["type"] == "http.response.body"


def test_what_a_field_cannot_carry_keeps_an_answer_out_of_the_cache() -> None:
    for tags in (["a b"], ["a,b"], ["\u00e9"], [f"tag-{number}" for number in range(1000)], ["x" * 5000]):
        assert fields_of_wsgi(*tags) == [("A", "b"), NOT_KEPT]


def test_rows_become_their_table_where_they_do_not_fit() -> None:
    used = Collected(1000)
    used.add(["product:*", *(f"product:{'x' * 60}-{number}" for number in range(100))])
    assert key_fields(used) == [("Surrogate-Key", "product")]


def test_what_may_yet_be_rolled_back_keeps_an_answer_out_of_the_cache() -> None:
    used, unit = Collected(), Unit()
    used.depend(unit)
    assert key_fields(used) == [NOT_KEPT]
    unit.committed = True
    assert key_fields(used) == []
