from __future__ import annotations

import functools
from typing import Any

import pytest

from edgewise.server.app_process import AppError, as_asgi, interface_of, load_app


async def asgi(scope: Any, receive: Any, send: Any) -> None:
    """An ASGI app."""
    await send(sorted(name for name, _ in scope["headers"]))


def wsgi(environ: Any, start_response: Any) -> list[bytes]:
    """A WSGI app."""
    return []


class AsgiObject:
    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """An ASGI app."""

    def method(self, environ: Any, start_response: Any) -> list[bytes]:
        """A WSGI app."""
        return []


class WsgiObject:
    def __call__(self, environ: Any, start_response: Any) -> list[bytes]:
        """A WSGI app."""
        return []


def returns_a_coroutine(scope: Any, receive: Any, send: Any) -> Any:
    """An ASGI app that is no coroutine function, as decorators make them."""
    return asgi(scope, receive, send)


@pytest.mark.parametrize(
    ("app", "expected"),
    [
        (asgi, "asgi"),
        (functools.partial(asgi), "asgi"),
        (AsgiObject(), "asgi"),
        (AsgiObject, "asgi"),
        (returns_a_coroutine, "asgi"),
        (wsgi, "wsgi"),
        (WsgiObject(), "wsgi"),
        (AsgiObject().method, "wsgi"),
    ],
)
def test_the_kind_of_an_app_follows_from_how_it_is_called(app: Any, expected: str) -> None:
    assert interface_of(app) == expected


def test_frameworks_are_told_apart() -> None:
    from starlette.applications import Starlette

    assert interface_of(Starlette()) == "asgi"


def test_an_app_is_found_by_module_and_attribute() -> None:
    assert load_app("os.path:join") is __import__("os").path.join
    assert load_app("collections:OrderedDict.fromkeys")


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("nowhere_to_be_found:app", "no module named 'nowhere_to_be_found'"),
        ("os.nowhere:app", "no module named 'os.nowhere'"),
        ("os:nowhere", "module 'os' has no attribute 'nowhere'"),
        ("os:sep", "os:sep is str, not an application"),
        ("os", "is not MODULE:ATTRIBUTE"),
    ],
)
def test_what_is_no_app_is_named(target: str, expected: str) -> None:
    with pytest.raises(AppError, match=expected):
        load_app(target)


def test_a_declared_interface_is_not_guessed_at() -> None:
    assert as_asgi(wsgi, "asgi") is wsgi


def test_an_asgi_app_is_run_as_it_is() -> None:
    assert as_asgi(asgi, "auto") is asgi
