"""The admin API's part in consumers: they are listed, added, given credentials, and lose them."""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from edgewise.admin.content import content, json_answer
from edgewise.admin.control import Configured, ConsumerControl, NothingShared, TooMany
from edgewise.admin.problems import problem
from edgewise.contracts.state import StateError

Handler = Callable[["ConsumerApi", Request], Awaitable[Response]]


class _Added(msgspec.Struct, forbid_unknown_fields=True):
    """A consumer to add."""

    name: str
    groups: list[str] = []
    scopes: list[str] = []
    claims: dict[str, str] = {}


class _Key(msgspec.Struct, forbid_unknown_fields=True):
    label: str = ""


class _Password(msgspec.Struct, forbid_unknown_fields=True):
    hash: str


def consumer_routes(control: Callable[[], ConsumerControl]) -> list[Route]:
    """Return the routes of consumers."""
    api = ConsumerApi(control)
    one = "/api/v1/consumers/{name}"
    return [
        Route("/api/v1/consumers", api.consumers),
        Route("/api/v1/consumers", api.add, methods=["POST"]),
        Route("/api/v1/consumers/revoke", api.revoke, methods=["POST"]),
        Route(one, api.show),
        Route(f"{one}/keys", api.add_key, methods=["POST"]),
        Route(f"{one}/password", api.set_password, methods=["POST"]),
        Route(f"{one}/remove", api.remove, methods=["POST"]),
    ]


def _refusing(handler: Handler) -> Handler:
    """Put in words why an operation did not take place, or who has not heard of it."""

    @functools.wraps(handler)
    async def handle(api: ConsumerApi, request: Request) -> Response:
        try:
            return await handler(api, request)
        except (NothingShared, Configured, TooMany) as error:
            return problem(409, str(error))
        except (msgspec.DecodeError, ValueError) as error:
            return problem(400, str(error))
        except TimeoutError:
            return problem(504, "it is kept, but not every worker has said that it goes by it")
        except StateError as error:
            detail = f"the state engine does not answer; repeat it to be sure that it is in force: {error}"
            return problem(503, detail, headers={"Retry-After": "1"})

    return handle


class ConsumerApi:
    """One method an operation."""

    def __init__(self, control: Callable[[], ConsumerControl]) -> None:
        self._control = control

    @_refusing
    async def consumers(self, request: Request) -> Response:
        return json_answer({"consumers": await self._control().consumers()})

    @_refusing
    async def show(self, request: Request) -> Response:
        name = request.path_params["name"]
        found = await self._control().consumer(name)
        return _none(name) if found is None else json_answer(found)

    @_refusing
    async def add(self, request: Request) -> Response:
        asked = msgspec.json.decode(await content(request), type=_Added)
        made = await self._control().add(asked.name, asked.groups, asked.scopes, asked.claims)
        if made is None:
            return problem(409, f"there is a consumer {asked.name} already")
        return json_answer(made, 201)

    @_refusing
    async def add_key(self, request: Request) -> Response:
        name = request.path_params["name"]
        asked = msgspec.json.decode(await content(request) or b"{}", type=_Key)
        made = await self._control().add_key(name, asked.label)
        if made is None:
            return _none(name)
        return json_answer({"consumer": name, "id": made[0], "key": made[1]}, 201)

    @_refusing
    async def set_password(self, request: Request) -> Response:
        name = request.path_params["name"]
        asked = msgspec.json.decode(await content(request), type=_Password)
        if not await self._control().set_password(name, asked.hash):
            return _none(name)
        return json_answer({"consumer": name})

    @_refusing
    async def revoke(self, request: Request) -> Response:
        name, identifier = request.query_params.get("name", ""), request.query_params.get("id", "")
        if bool(name) == bool(identifier):
            return problem(400, "either name or id says what is revoked")
        if identifier:
            owner = await self._control().revoke_key(identifier)
            if owner is None:
                return problem(404, "there is no API key of that id")
            return json_answer({"consumer": owner, "keys": 1})
        revoked = await self._control().revoke(name)
        return _none(name) if revoked is None else json_answer({"consumer": name, "keys": revoked})

    @_refusing
    async def remove(self, request: Request) -> Response:
        name = request.path_params["name"]
        return json_answer({"consumer": name}) if await self._control().remove(name) else _none(name)


def _none(name: str) -> Response:
    return problem(404, f"there is no consumer {name}")
