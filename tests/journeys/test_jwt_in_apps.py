"""JWT sessions in WSGI, ASGI and Flask apps: two cookies, refreshed on the way; tokens for clients without cookies."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import pytest
from flask import Flask
from flask import session as flask_session

from edgewise.contrib import asgi, wsgi
from edgewise.contrib.flask import SessionInterface
from edgewise.sessions import SessionGone, SessionSettings, StateSettings
from support.state_servers import SqliteServer

HOST = "shop.example"


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SessionSettings]:
    server = SqliteServer(tmp_path_factory.mktemp("jwt"))
    server.start()
    yield SessionSettings(
        kind="jwt", secrets=("s" * 32,), state=StateSettings(url=server.url), bearer=True, grace=0.001
    )
    server.kill()


class Answer(NamedTuple):
    status: int
    fields: list[tuple[str, str]]
    body: str

    @property
    def cookies(self) -> dict[str, str]:
        """The cookies that are set, "" for those that are removed."""
        pairs = [value.partition(";")[0].partition("=") for name, value in self.fields if name == "set-cookie"]
        return {name: value for name, _, value in pairs}


Ask = Callable[..., Answer]
"""(path, cookies, authorization) -> Answer."""


def act(path: str, session: Any) -> str:
    """Do what a path says, as the app; return who asks and how often."""
    if path == "/login":
        session.login("ann")
    elif path == "/logout":
        session.logout()
    elif path == "/count":
        session.change("seen", lambda seen: seen + 1, 0)
    return f"{session.user} {session.get('seen', 0)}"


def asgi_app(settings: SessionSettings) -> Ask:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        session, sessions = scope["session"], scope["edgewise.sessions"]
        try:
            if scope["path"] == "/token":
                session.login("ann")
                body = " ".join((await sessions.issue(session, HOST))[:2])
            elif scope["path"].startswith("/refresh/"):
                body = " ".join((await sessions.refresh(scope["path"].removeprefix("/refresh/"), HOST))[:2])
            else:
                body = act(scope["path"], session)
            status = 200
        except SessionGone:
            status, body = 401, ""
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body", "body": body.encode()})

    async def ask(path: str, cookies: str, authorization: str) -> Answer:
        sent: list[Any] = []

        async def send(message: Any) -> None:
            sent.append(message)

        async def receive() -> Any:
            return {"type": "http.request"}

        fields = {"host": HOST, "cookie": cookies, "authorization": authorization}
        raw = [(name.encode(), value.encode()) for name, value in fields.items() if value]
        scope = {"type": "http", "method": "POST", "path": path, "headers": raw}
        await asgi.SessionMiddleware(app, settings)(scope, receive, send)
        found = [(name.decode(), value.decode()) for name, value in sent[0]["headers"]]
        return Answer(sent[0]["status"], found, sent[1]["body"].decode())

    return lambda path, cookies="", authorization="": asyncio.run(ask(path, cookies, authorization))


def wsgi_app(settings: SessionSettings) -> Ask:
    def app(environ: Any, start_response: Any) -> list[bytes]:
        path, session, sessions = environ["PATH_INFO"], environ["edgewise.session"], environ["edgewise.sessions"]
        try:
            if path == "/token":
                session.login("ann")
                body = " ".join(sessions.issue(session, HOST)[:2])
            elif path.startswith("/refresh/"):
                body = " ".join(sessions.refresh(path.removeprefix("/refresh/"), HOST)[:2])
            else:
                body = act(path, session)
            status = "200 OK"
        except SessionGone:
            status, body = "401 Unauthorized", ""
        start_response(status, [])
        return [body.encode()]

    middleware = wsgi.SessionMiddleware(app, settings)

    def ask(path: str, cookies: str = "", authorization: str = "") -> Answer:
        started: list[Any] = []
        environ = {"HTTP_HOST": HOST, "HTTP_COOKIE": cookies, "HTTP_AUTHORIZATION": authorization, "PATH_INFO": path}
        content = middleware(environ, lambda *words: started.append(words))
        fields = [(name.lower(), value) for name, value in started[0][1]]
        return Answer(int(started[0][0][:3]), fields, b"".join(content).decode())

    return ask


def flask_app(settings: SessionSettings) -> Ask:
    app = Flask("shop")
    app.session_interface = interface = SessionInterface(settings)

    @app.post("/<path:path>")
    def page(path: str) -> Any:
        session: Any = flask_session
        session = session._get_current_object()
        try:
            if path == "token":
                session.login("ann")
                return " ".join(interface.sessions.issue(session, HOST)[:2])
            if path.startswith("refresh/"):
                return " ".join(interface.sessions.refresh(path.removeprefix("refresh/"), HOST)[:2])
        except SessionGone:
            return "", 401
        return act(f"/{path}", session)

    def ask(path: str, cookies: str = "", authorization: str = "") -> Answer:
        headers = {"Cookie": cookies, "Authorization": authorization}
        with app.test_client(use_cookies=False) as client:
            answer = client.post(path, headers=headers, base_url=f"https://{HOST}")
        return Answer(answer.status_code, [(name.lower(), value) for name, value in answer.headers], answer.text)

    return ask


@pytest.fixture(params=[asgi_app, wsgi_app, flask_app], ids=["asgi", "wsgi", "flask"])
def ask(request: pytest.FixtureRequest, settings: SessionSettings) -> Ask:
    made: Ask = request.param(settings)
    return made


def both(cookies: dict[str, str]) -> str:
    return "; ".join(f"{name}={value}" for name, value in cookies.items())


def test_an_access_token_that_is_over_is_refreshed_on_the_way(ask: Ask) -> None:
    cookies = ask("/login").cookies
    assert list(cookies) == ["__Host-session", "__Host-session-refresh"]
    read = ask("/read", both(cookies))
    assert (read.body, read.cookies) == ("ann 0", {})
    assert ("vary", "Cookie") in read.fields
    changed = ask("/count", both(cookies))
    assert (changed.body, list(changed.cookies)) == ("ann 1", ["__Host-session"])
    refresh = f"__Host-session-refresh={cookies['__Host-session-refresh']}"
    refreshed = ask("/count", refresh)
    assert refreshed.body == "ann 2"
    assert list(refreshed.cookies) == list(cookies)
    assert refreshed.cookies["__Host-session-refresh"] != cookies["__Host-session-refresh"]
    assert ask("/read", both(refreshed.cookies)).body == "ann 2"
    removed = ask("/logout", both(refreshed.cookies))
    assert removed.cookies == {"__Host-session": "", "__Host-session-refresh": ""}
    assert ask("/read", f"__Host-session-refresh={refreshed.cookies['__Host-session-refresh']}").body == " 0"


def test_a_client_without_cookies_gets_tokens_and_refreshes_them(ask: Ask) -> None:
    issued = ask("/token")
    assert issued.cookies == {}
    access, refresh = issued.body.split(" ")
    counted = ask("/count", "", f"Bearer {access}")
    assert (counted.body, counted.cookies) == ("ann 1", {})
    assert ("vary", "Authorization") in counted.fields
    renewed = ask(f"/refresh/{refresh}")
    assert ask("/read", "", f"Bearer {renewed.body.split(' ')[0]}").body == "ann 1"
    assert ask("/read", "", f"Bearer {refresh}").body == " 0"
    deadline = 1000
    while ask(f"/refresh/{refresh}").status == 200:  # within the grace of a millisecond
        deadline -= 1
        assert deadline
    assert ask(f"/refresh/{renewed.body.split(' ')[1]}").status == 401, "a token used twice left its family alive"
