"""Sessions in ASGI, WSGI, Starlette, Flask: when they are written, and what comes of a lost engine."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask import session as flask_session
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from edgewise.contrib import asgi, starlette, wsgi
from edgewise.contrib.flask import SessionInterface
from edgewise.sessions import SessionSettings, StateSettings
from support.state_servers import SqliteServer

ORIGIN = [(b"host", b"shop.example")]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SqliteServer]:
    server = SqliteServer(tmp_path_factory.mktemp("glue"))
    server.start()
    yield server
    server.kill()


@pytest.fixture
def settings(server: SqliteServer) -> SessionSettings:
    return SessionSettings(state=StateSettings(url=server.url))


@pytest.fixture
def lost(tmp_path: Path) -> SessionSettings:
    """Settings of an engine that is not there."""
    return SessionSettings(state=StateSettings(url=f"sqlite:{tmp_path / 'none'}", patience=0.1))


class Asgi:
    """Calls an ASGI app as a server does."""

    def __init__(self, app: Any, settings: SessionSettings) -> None:
        self.app = asgi.SessionMiddleware(app, settings)

    async def ask(self, cookie: str = "", kind: str = "http") -> list[Any]:
        """Return the messages that the app sent."""
        sent: list[Any] = []

        async def send(message: Any) -> None:
            sent.append(message)

        async def receive() -> Any:
            return {"type": f"{kind}.connect"}

        headers = ORIGIN + ([(b"cookie", cookie.encode())] if cookie else [])
        await self.app({"type": kind, "method": "GET", "path": "/", "headers": headers}, receive, send)
        return sent


def cookie_of(head: Any) -> str:
    """Return the cookie that an ASGI message sets, "" for none."""
    value: bytes = dict(head["headers"]).get(b"set-cookie", b"")
    return value.decode().partition(";")[0]


async def start(send: Any, kind: str = "http.response.start") -> None:
    await send({"type": kind, "status": 200, "headers": []})


async def body(send: Any, content: bytes = b"") -> None:
    await send({"type": "http.response.body", "body": content})


def test_an_app_that_does_not_look_at_its_session_has_answers_that_do_not_vary(settings: SessionSettings) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await start(send)
        await body(send)

    assert asyncio.run(Asgi(app, settings).ask())[0]["headers"] == []


def test_what_changes_while_content_streams_is_written_where_there_was_a_cookie(settings: SessionSettings) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        session = scope["session"]
        session.setdefault("begun", True)
        await start(send)
        seen = session.change("seen", lambda seen: seen + 1, 0)
        await body(send, b"%d" % seen)

    async def run() -> list[bytes]:
        site = Asgi(app, settings)
        first = await site.ask()
        cookie = cookie_of(first[0])
        return [(await site.ask(cookie))[1]["body"] for _ in range(2)]

    assert asyncio.run(run()) == [b"2", b"3"]


def test_an_app_that_fails_before_it_answers_changes_nothing(settings: SessionSettings) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        session = scope["session"]
        fails = "a" in session
        session["a"] = session.get("a", 0) + 1
        if fails and session["a"] == 2:
            session["b"] = 1
            raise RuntimeError
        await start(send)
        await body(send, str(dict(session)).encode())

    async def run() -> None:
        site = Asgi(app, settings)
        cookie = cookie_of((await site.ask())[0])
        for _ in range(2):
            with pytest.raises(RuntimeError):
                await site.ask(cookie)

    asyncio.run(run())


def test_a_websocket_has_its_session_and_may_begin_one_as_it_is_accepted(settings: SessionSettings) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        scope["session"].setdefault("a", 1)
        await start(send, "websocket.accept")
        scope["session"]["a"] += 1
        await send({"type": "websocket.close"})
        assert scope["session"]["a"] < 4

    async def run() -> str:
        site = Asgi(app, settings)
        cookie = cookie_of((await site.ask(kind="websocket"))[0])
        await site.ask(cookie, kind="websocket")
        return cookie

    assert asyncio.run(run()).startswith("__Host-session=")


@pytest.mark.parametrize("cookie", ["", f"__Host-session={'A' * 43}"])
def test_a_lost_engine_is_answered_with_503_over_asgi(lost: SessionSettings, cookie: str) -> None:
    """Reading where there is a cookie, writing where there is none."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        scope["session"]["a"] = 1
        await start(send)
        await body(send, b"not to be seen")

    head, content = asyncio.run(Asgi(app, lost).ask(cookie))
    assert (head["status"], content["body"]) == (503, asgi.LOST)
    if cookie:
        [closed] = asyncio.run(Asgi(app, lost).ask(cookie, "websocket"))
        assert closed == {"type": "websocket.close", "code": 1013}


def test_an_engine_that_comes_back_is_found_again(tmp_path: Path) -> None:
    server = SqliteServer(tmp_path)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        scope["session"]["a"] = 1
        await start(send)
        await body(send)

    async def run() -> list[int]:
        site = Asgi(app, SessionSettings(state=StateSettings(url=server.url, patience=0.2)))
        statuses = [(await site.ask())[0]["status"]]
        server.start()
        deadline = asyncio.get_running_loop().time() + 20
        while statuses[-1] != 200 and asyncio.get_running_loop().time() < deadline:
            statuses.append((await site.ask())[0]["status"])
            await asyncio.sleep(0.05)
        return statuses

    try:
        statuses = asyncio.run(run())
    finally:
        server.kill()
    assert (statuses[0], statuses[-1]) == (503, 200)


class Wsgi:
    """Calls a WSGI app as a server does."""

    def __init__(self, app: Any, settings: SessionSettings) -> None:
        self.app = wsgi.SessionMiddleware(app, settings)

    def ask(self, cookie: str = "") -> tuple[str, dict[str, str], bytes]:
        """Return status, fields and content."""
        started: list[Any] = []

        def start_response(status: str, fields: Any, exc_info: Any = None) -> Callable[[bytes], None]:
            started.append((status, dict(fields)))
            return lambda chunk: None

        content = self.app({"HTTP_HOST": "shop.example", "HTTP_COOKIE": cookie}, start_response)
        joined = b"".join(content)
        if hasattr(content, "close"):
            content.close()
        [(status, fields)] = started
        return status, fields, joined


def counting(environ: Any, start_response: Any) -> list[bytes]:
    seen = environ["edgewise.session"].change("seen", lambda seen: seen + 1, 0)
    start_response("200 OK", [])
    return [b"%d" % seen]


def counting_late(environ: Any, start_response: Any) -> Iterable[bytes]:
    environ["edgewise.session"].setdefault("begun", True)
    start_response("200 OK", [])
    yield b"%d" % environ["edgewise.session"].change("seen", lambda seen: seen + 1, 0)


def test_wsgi_apps_in_many_threads_lose_no_write(settings: SessionSettings) -> None:
    site = Wsgi(counting, settings)
    cookie = site.ask()[1]["Set-Cookie"].partition(";")[0]

    def ask() -> None:
        for _ in range(10):
            site.ask(cookie)

    threads = [threading.Thread(target=ask) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert site.ask(cookie)[2] == b"62"


def test_what_changes_while_content_is_iterated_is_written_over_wsgi_too(settings: SessionSettings) -> None:
    site = Wsgi(counting_late, settings)
    cookie = site.ask()[1]["Set-Cookie"].partition(";")[0]
    assert [site.ask(cookie)[2] for _ in range(3)] == [b"2", b"3", b"4"]


@pytest.mark.parametrize("app", [counting, counting_late])
@pytest.mark.parametrize("cookie", ["", f"__Host-session={'A' * 43}"])
def test_a_lost_engine_is_answered_with_503_over_wsgi(lost: SessionSettings, app: Any, cookie: str) -> None:
    status, fields, content = Wsgi(app, lost).ask(cookie)
    assert (status, content) == ("503 Service Unavailable", wsgi.LOST)
    assert "Set-Cookie" not in fields


def test_stateless_sessions_need_no_engine() -> None:
    sealed = SessionSettings(kind="stateless", secrets=("s" * 32,), state=None)
    site = Wsgi(counting, sealed)
    cookie = ""
    for seen in (b"1", b"2", b"3"):
        _, fields, content = site.ask(cookie)
        assert content == seen
        cookie = fields["Set-Cookie"].partition(";")[0]


def test_starlettes_request_session_is_the_session(settings: SessionSettings) -> None:
    async def page(request: Request) -> PlainTextResponse:
        request.session["a"] = request.session.get("a", 0) + 1
        assert starlette.current_session(request) is request.session
        return PlainTextResponse(str(request.session["a"]))

    async def run() -> list[bytes]:
        site = Asgi(Starlette(routes=[Route("/", page)]), settings)
        first = await site.ask()
        second = await site.ask(cookie_of(first[0]))
        return [first[1]["body"], second[1]["body"]]

    assert asyncio.run(run()) == [b"1", b"2"]


def flask_app(settings: SessionSettings) -> Any:
    app = Flask(__name__)
    app.session_interface = SessionInterface(settings)

    @app.get("/")
    def page() -> str:
        from flask import flash, get_flashed_messages
        from markupsafe import Markup

        before = get_flashed_messages(with_categories=True)
        flash(Markup("<b>saved</b>"), "good")
        return str([list(message) for message in before])

    @app.get("/quiet")
    def quiet() -> str:
        return "quiet"

    @app.get("/clear")
    def clear() -> str:
        flask_session.clear()
        return "cleared"

    return app.test_client(use_cookies=False)


def test_flask_flashes_messages(settings: SessionSettings) -> None:
    client = flask_app(settings)
    first = client.get("/")
    cookie = first.headers["Set-Cookie"].partition(";")[0]
    assert first.text == "[]"
    assert client.get("/", headers={"Cookie": cookie}).text == "[['good', '<b>saved</b>']]"
    client.get("/clear", headers={"Cookie": cookie})
    assert client.get("/", headers={"Cookie": cookie}).text == "[]"
    assert "Set-Cookie" not in client.get("/quiet", headers={"Cookie": cookie}).headers


@pytest.mark.parametrize("cookie", ["", f"__Host-session={'A' * 43}"])
def test_a_lost_engine_is_answered_with_503_by_flask(lost: SessionSettings, cookie: str) -> None:
    client = flask_app(lost)
    assert client.get("/", headers={"Cookie": cookie}).status_code == 503
    assert client.get("/quiet").status_code == 200
