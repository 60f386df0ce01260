"""From the URL of an engine to the engine."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from edgewise.contracts.state import StateError

if TYPE_CHECKING:
    from edgewise.config.state import State
    from edgewise.state.transfer import Portable

VARIABLE = "EDGEWISE_STATE_URL"
"""Environment variable in which edgewise tells the apps that it runs where state is."""


@dataclass(frozen=True)
class Options:
    """What may be said of an engine beside its URL; the keys of [state]."""

    patience: float = 2.0
    """Seconds that a call waits for an engine that does not answer."""
    full: bool = False
    replicas: int = 1
    local_copy: Path | None = None
    """Directory of this node's copy; None for none."""
    allow_eviction: bool = False

    @classmethod
    def of(cls, state: State, state_directory: Path) -> Options:
        """Return what a configuration says; what is kept on disk by default is in `state_directory`."""
        name = f"state-copy-{hashlib.sha256(state.url.encode()).hexdigest()[:8]}"  # another engine, another copy
        copy = Path(state.local_copy) if state.local_copy else state_directory / name
        return cls(
            state.patience,
            state.sync == "full",
            state.replicas,
            None if state.local_copy == "off" else copy,
            state.allow_eviction,
        )


def embedded_directory(url: str) -> Path | None:
    """Return the directory of an embedded engine; None for the URL of another engine."""
    scheme, _, rest = url.partition(":")
    return Path(rest) if scheme == "sqlite" else None


def shared_by_nodes(url: str) -> bool:
    """Can several nodes use this engine?"""
    return embedded_directory(url) is None


def url_from_environment(environ: Mapping[str, str] = os.environ) -> str:
    """Return where the edgewise that runs this process keeps state. Raises StateError."""
    url = environ.get(VARIABLE)
    if not url:
        raise StateError(
            f"no state: name an engine by its URL, or run the app by an edgewise with a [state] table ({VARIABLE})"
        )
    return url


async def open_engine(url: str, options: Options = Options()) -> Portable:
    """Return a client of the engine, on the running event loop; close it before the loop ends.

    Raises StateError where the engine's extra is not installed, or the server must not be used as it is set up, and
    StateUnavailable where it does not answer. The embedded engine is not waited for.
    """
    scheme = url.partition(":")[0]
    if (directory := embedded_directory(url)) is not None:
        from edgewise.state.sqlite.engine import SqliteEngine

        return SqliteEngine(directory, patience=options.patience)
    if scheme in ("redis", "rediss"):
        _require("hiredis", "redis", url)
        from edgewise.state.redis.engine import open_redis

        return await open_redis(url, patience=options.patience, allow_eviction=options.allow_eviction)
    if scheme in ("nats", "tls"):
        _require("nats", "nats", url)
        from edgewise.state.nats.engine import open_nats

        return await open_nats(url, patience=options.patience, replicas=options.replicas, local_copy=options.local_copy)
    raise StateError(f"{scheme!r} is not a state engine: sqlite, nats, tls, redis and rediss are")


def _require(module: str, extra: str, url: str) -> None:
    """Raise StateError where the library that an engine needs is missing."""
    from importlib.util import find_spec

    if find_spec(module) is None:
        scheme = url.partition(":")[0]
        raise StateError(f"state on {scheme}:// needs the extra {extra!r}: pip install 'edgewise[{extra}]'")
