"""Wagtail's front-end cache: pages that are published or unpublished are purged by their URLs.

    WAGTAILFRONTENDCACHE = {"edgewise": {"BACKEND": "edgewise.contrib.wagtail.EdgewiseBackend"}}

`ADMIN` names an admin address; without it, it is that of the edgewise that runs the app. `HOSTNAMES` is Wagtail's.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from typing import Any

from wagtail.contrib.frontend_cache.backends.base import BaseBackend

import edgewise

log = logging.getLogger("edgewise.cache")
_MOST_AT_ONCE = 1000
"""URLs of one request to the admin address."""


class EdgewiseBackend(BaseBackend):  # type: ignore[misc]  # Wagtail has no types
    """Purges all variants of URLs on every worker and node. Failures are logged, as with Wagtail's own backends."""

    def __init__(self, params: Mapping[str, Any]) -> None:
        super().__init__(params)
        self._admin: str | None = params.get("ADMIN")

    def purge(self, url: str) -> None:
        """Purge one URL."""
        self.purge_batch([url])

    def purge_batch(self, urls: Iterable[str]) -> None:
        """Purge URLs, many in one request."""
        named = list(urls)
        for start in range(0, len(named), _MOST_AT_ONCE):
            part = named[start : start + _MOST_AT_ONCE]
            try:
                edgewise.purge(urls=part, admin=self._admin)
            except edgewise.AdminError as error:
                log.error("could not purge %d URLs, the first %s: %s", len(part), part[0], error)
