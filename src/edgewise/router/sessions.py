"""Sessions of the configuration to the filters of routes; the engine they are kept in is opened once a worker."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any

from edgewise.contracts.state import StateUnavailable
from edgewise.gateway.same_origin import SameOrigin
from edgewise.sessions import SessionSettings, StateSettings
from edgewise.sessions.directory import GATEWAY
from edgewise.sessions.form_tokens import FormTokens
from edgewise.sessions.gateway import HeldSessions, Requirement, SessionFilter
from edgewise.sessions.identity import CONTROL
from edgewise.state.opening import Options, embedded_directory, open_engine

if TYPE_CHECKING:
    from edgewise.config.schema import Config
    from edgewise.config.schema import Route as RouteSpec
    from edgewise.config.state import State
    from edgewise.contracts.plan import Route
    from edgewise.contracts.state import StateEngine
    from edgewise.contracts.table import Table

_MOST_SECRET = 4096
Edits = tuple[tuple[str, bytes, bytes], ...]


class EngineOpening:
    """Opens the engine when first asked; later configurations go on with it, as [state] changes only at a restart."""

    def __init__(self, state: State) -> None:
        self._state = state
        self.waits = embedded_directory(state.url) is None
        self._task: asyncio.Task[StateEngine] | None = None

    async def __call__(self) -> StateEngine:
        """Return the engine. Raises StateError, and tries again when asked again."""
        if self._task is None or (self._task.done() and (self._task.cancelled() or self._task.exception() is not None)):
            self._task = asyncio.get_running_loop().create_task(self._open())
        return await asyncio.shield(self._task)

    async def _open(self) -> StateEngine:
        """Without a copy on this node: what was revoked elsewhere must not live on in it."""
        options = replace(Options.of(self._state, Path()), local_copy=None)
        engine = await open_engine(self._state.url, options)
        if not self.waits:
            await _readable(engine, self._state.patience)
        return engine


async def _readable(engine: StateEngine, patience: float) -> None:
    """Wait for the files of an embedded engine, which its writer makes when edgewise starts for the first time."""
    deadline = monotonic() + patience
    while True:
        try:
            await engine.get(GATEWAY)
            return
        except StateUnavailable:
            if monotonic() > deadline:
                await engine.close()
                raise
        await asyncio.sleep(0.02)


@dataclass(frozen=True)
class GatewaySessions:
    """What routes with `session` share."""

    held: HeldSessions
    opening: EngineOpening | None
    secure: bool
    """Is the cookie for https alone?"""
    form_tokens: bool
    """Do routes want tokens of their sessions?"""
    told: bool
    """Do apps say who logs in? Where all log in at a provider, they do not."""

    def hooks(self, route: RouteSpec) -> tuple[list[Callable[..., Any]], list[Callable[..., Any]]]:
        """Return the request hooks that go before a route's own, and the response hooks that go after them."""
        if route.session is None:
            return [], []
        csrf = FormTokens(SameOrigin(secure=self.secure).request).check if route.csrf == "token" else None
        requirement = Requirement(route.session == "required", route.login, csrf)
        made = SessionFilter(self.held, requirement, form_tokens=self.form_tokens)
        return [made.request], [made.response]

    def protect(self, route: Route) -> None:
        """Let nobody pass for the gateway: no client on a route that does not check, no upstream towards clients."""
        if not self.told:
            return
        route.response_edits = (("remove", CONTROL.lower().encode(), b""), *route.response_edits)
        route.stripped |= {CONTROL.lower().encode()}


def gateway_sessions(config: Config, previous: Table | None) -> GatewaySessions | None:
    """Return what the routes with sessions share; None where there are no such routes.

    What did not change is that of `previous`. Raises ValueError or OSError for secrets and keys that cannot be used.
    """
    if not config.holds_sessions():
        return None
    before = previous.sessions if previous is not None else None
    opening = EngineOpening(config.state) if config.state is not None else None
    if isinstance(before, GatewaySessions):
        opening = before.opening or opening
    settings = _settings(config, revocable=opening is not None)
    if isinstance(before, GatewaySessions) and before.held.settings == settings and before.opening is opening:
        held = before.held
    else:
        held = HeldSessions(settings, opening, waits=opening is not None and opening.waits)
    told = any(route.session is not None for route in config.routes)
    form_tokens = any(route.csrf == "token" for route in config.routes)
    return GatewaySessions(held, opening, is_secure(config), form_tokens, told)


def request_checks(config: Config, route: RouteSpec) -> list[Callable[..., Any]]:
    """Return the hook that refuses requests of other sites by what browsers say, where the route wants it."""
    return [SameOrigin(secure=is_secure(config)).request] if route.csrf is True else []


def is_secure(config: Config) -> bool:
    """Is the cookie for https alone?"""
    return bool(config.server.tls_listen) if config.sessions.secure is None else config.sessions.secure


def _settings(config: Config, *, revocable: bool) -> SessionSettings:
    spec = config.sessions
    return SessionSettings(
        kind="stateful" if spec.mode == "stateful" else "stateless",
        state=StateSettings() if revocable else None,
        namespace=GATEWAY,
        secrets=(*spec.secrets, *(read_secret(Path(name)) for name in spec.secret_files)),
        idle=spec.idle,
        absolute=spec.lifetime,
        cookie=spec.cookie or "",
        secure=is_secure(config),
        same_site=spec.same_site,
    )


def read_secret(path: Path) -> str:
    """Return the secret in a file, without the line break at its end. Raises OSError or ValueError."""
    with path.open("rb") as file:
        data = file.read(_MOST_SECRET + 1)
    if len(data) > _MOST_SECRET:
        raise ValueError(f"{path} is too long for a secret")
    return data.rstrip(b"\r\n").decode()
