"""Tokens against cross-site request forgery in Starlette, FastAPI, Flask and Django."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fastapi import Depends, FastAPI, Form
from flask import Flask, render_template_string
from flask import session as flask_session
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from edgewise.contrib.flask import SessionInterface, protect_from_csrf
from edgewise.contrib.starlette import SessionMiddleware, csrf_protected, current_session
from edgewise.sessions import SessionSettings
from support.state_servers import SqliteServer

SETTINGS = SessionSettings(kind="stateless", state=None, secrets=("s" * 32,), secure=False)
FORM = "application/x-www-form-urlencoded"
Ask = Callable[..., tuple[int, bytes, str]]
"""(method, cookie, fields, content) -> status, content, cookie."""


def asgi(app: Any) -> Ask:
    """Return what asks an ASGI app for /."""

    def ask(method: str, cookie: str = "", fields: dict[str, str] | None = None, content: bytes = b"") -> Any:
        sent: list[Any] = []

        async def send(message: Any) -> None:
            sent.append(message)

        async def receive() -> Any:
            return {"type": "http.request", "body": content, "more_body": False}

        headers = {"host": "shop.example", "cookie": cookie, **(fields or {})}
        raw = [(name.encode(), value.encode()) for name, value in headers.items() if value]
        scope = {"type": "http", "method": method, "path": "/", "query_string": b"", "headers": raw}
        asyncio.run(app(scope, receive, send))
        set_cookie = dict(sent[0]["headers"]).get(b"set-cookie", b"").decode()
        body = b"".join(message.get("body", b"") for message in sent[1:])
        return sent[0]["status"], body, set_cookie.partition(";")[0]

    return ask


def starlette_app() -> Ask:
    async def page(request: Request) -> PlainTextResponse:
        await csrf_protected(request)
        return PlainTextResponse(current_session(request).csrf_token())

    app = Starlette(routes=[Route("/", page, methods=["GET", "POST", "DELETE"])])
    app.add_middleware(SessionMiddleware, settings=SETTINGS)
    return asgi(app)


def fastapi_app() -> Ask:
    app = FastAPI(dependencies=[Depends(csrf_protected)])
    app.add_middleware(SessionMiddleware, settings=SETTINGS)

    @app.get("/")
    async def page(request: Request) -> PlainTextResponse:
        return PlainTextResponse(current_session(request).csrf_token())

    @app.delete("/")
    async def delete() -> str:
        return "deleted"

    @app.post("/")
    async def post(csrf_token: str = Form("")) -> str:
        return csrf_token

    return asgi(app)


def flask_app() -> Ask:
    app = Flask("shop")
    app.session_interface = SessionInterface(SETTINGS)
    protect_from_csrf(app)

    @app.route("/", methods=["GET", "POST", "DELETE"])
    def page() -> str:
        assert flask_session is not None
        return render_template_string("{{ csrf_token() }}")

    def ask(method: str, cookie: str = "", fields: dict[str, str] | None = None, content: bytes = b"") -> Any:
        headers = {"Cookie": cookie, **(fields or {})}
        with app.test_client(use_cookies=False) as client:
            answer = client.open("/", method=method, headers=headers, data=content, base_url="http://shop.example")
        return answer.status_code, answer.data, answer.headers.get("Set-Cookie", "").partition(";")[0]

    return ask


@pytest.mark.parametrize("make", [starlette_app, fastapi_app, flask_app], ids=["starlette", "fastapi", "flask"])
def test_methods_that_change_something_need_the_sessions_token(make: Callable[[], Ask]) -> None:
    ask = make()
    status, page, cookie = ask("GET")
    token = page.decode()
    assert (status, len(token)) == (200, 86)
    other = ask("GET")[1].decode()
    for method in ("POST", "DELETE"):
        assert ask(method, cookie, {"x-csrf-token": token})[0] == 200
        for fields in ({}, {"x-csrf-token": other}, {"x-csrf-token": token[:-2]}, {"content-type": FORM}):
            assert ask(method, cookie, fields)[0] == 403, (method, fields)
        assert ask(method, "", {"x-csrf-token": token})[0] == 403, "a token without its session"
    form = b"a=1&csrf_token=" + token.encode()
    assert ask("POST", cookie, {"content-type": FORM, "content-length": str(len(form))}, form)[0] == 200
    forged = b"csrf_token=" + other.encode()
    assert ask("POST", cookie, {"content-type": FORM, "content-length": str(len(forged))}, forged)[0] == 403


DJANGO = """
import json, sys
import django
from django.conf import settings
from django.http import HttpResponse
from django.middleware.csrf import get_token
from django.urls import path
from edgewise.sessions import SessionSettings, StateSettings

settings.configure(
    SECRET_KEY="of a test", ALLOWED_HOSTS=["*"], ROOT_URLCONF=__name__, CSRF_USE_SESSIONS=True,
    MIDDLEWARE=["edgewise.contrib.django.SessionMiddleware", "django.middleware.csrf.CsrfViewMiddleware"],
    INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes"],
    DATABASES={}, SESSION_ENGINE="edgewise.contrib.django", SESSION_COOKIE_NAME="session",
    EDGEWISE_SESSIONS=SessionSettings(state=StateSettings(url=sys.argv[1])),
)
django.setup()
urlpatterns = [path("", lambda request: HttpResponse(get_token(request)))]
from django.test import Client

client, other = Client(enforce_csrf_checks=True), Client(enforce_csrf_checks=True)
token, foreign = client.get("/").content.decode(), other.get("/").content.decode()
statuses = [
    client.post("/", headers={"X-CSRFToken": token}).status_code,
    client.post("/", {"csrfmiddlewaretoken": token}).status_code,
    client.post("/").status_code,
    client.post("/", headers={"X-CSRFToken": foreign}).status_code,
]
print(json.dumps([statuses, token != client.get("/").content.decode()]))
"""


def test_djangos_own_tokens_live_in_the_session(tmp_path: Path) -> None:
    server = SqliteServer(tmp_path)
    server.start()
    try:
        command = [sys.executable, "-c", DJANGO, server.url]
        done = subprocess.run(command, capture_output=True, text=True, timeout=50, check=False)
    finally:
        server.kill()
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [[200, 200, 403, 403], True]
