"""One purge for every layer an app knows: the caches of its own values first, then the HTTP caches.

In this order, as an HTTP cache that is purged first may be filled at once from an app that still uses its old value,
and nothing would purge that again.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterable

import edgewise
from edgewise.contracts.state import StateError
from edgewise.contrib.cache.app_cache import AppCache, living_caches
from edgewise.contrib.cache.functions import default_cache
from edgewise.state.opening import VARIABLE as STATE_VARIABLE

ADMIN_VARIABLE = "EDGEWISE_ADMIN"
_MOST_AT_ONCE = 500
"""Tags and URLs of one request to the admin address, which takes 1,000 of both."""


class LayersError(Exception):
    """Some of a purge could not be done; all else was."""

    def __init__(self, app: Exception | None, http: Exception | None) -> None:
        app_text = "purged" if app is None else f"not purged: {app}"
        http_text = "purged" if http is None else f"not purged, or not everywhere: {http}"
        super().__init__(f"caches of apps: {app_text}; HTTP caches: {http_text}")
        self.app = app
        """What kept an app's cache from being purged; None where all are."""
        self.http = http
        """The same of the HTTP caches."""


def purge_layers(tags: Iterable[str] = (), urls: Iterable[str] = (), *, admin: str | None = None) -> None:
    """Purge tags in the caches of this app, then tags and URLs in the HTTP caches of the edgewise that runs it.

    `admin`: another admin address. Without one the app's own caches are purged. Raises LayersError once all that could
    be done was.
    """
    names, addresses = list(dict.fromkeys(tags)), list(dict.fromkeys(urls))
    app = _failure(lambda: _purge_caches(names))
    http = _failure(lambda: _purge_http(names, addresses, admin or os.environ.get(ADMIN_VARIABLE)))
    if app is not None or http is not None:
        raise LayersError(app, http)


async def apurge_layers(tags: Iterable[str] = (), urls: Iterable[str] = (), *, admin: str | None = None) -> None:
    """See `purge_layers`; waits in a thread."""
    await asyncio.to_thread(purge_layers, list(tags), list(urls), admin=admin)


def _failure(work: Callable[[], None]) -> Exception | None:
    try:
        work()
    except (StateError, edgewise.AdminError) as error:
        return error
    return None


def _purge_caches(tags: list[str]) -> None:
    """Purge in every cache of this process, the default one included. Raises the first StateError, after all."""
    caches: set[AppCache] = set(living_caches())
    if os.environ.get(STATE_VARIABLE):
        caches.add(default_cache())
    failed: StateError | None = None
    for cache in caches if tags else ():
        try:
            cache.purge_tags_in_turn(tags)
        except StateError as error:
            failed = error
    if failed is not None:
        raise failed


def _purge_http(tags: list[str], urls: list[str], admin: str | None) -> None:
    """Raises the first AdminError, after all that could be purged."""
    if not admin:
        return
    failed: edgewise.AdminError | None = None
    for start in range(0, max(len(tags), len(urls)), _MOST_AT_ONCE):
        part = slice(start, start + _MOST_AT_ONCE)
        try:
            edgewise.purge(tags=tags[part], urls=urls[part], admin=admin)
        except edgewise.AdminError as error:
            failed = failed or error
    if failed is not None:
        raise failed
