"""Purges that follow a commit: what cannot be done at once is tried again until it can, as nothing else would do it."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Iterable

from edgewise.contrib.layers import LayersError, purge_layers
from edgewise.contrib.tags import bounded

log = logging.getLogger("edgewise.cache")
_AGAIN = 1.0
"""Seconds between two tries."""
_MOST_WAITING = 10_000


class _Waiting:
    """Tags and URLs that are still to be purged, by a thread that lives as long as there are some."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._tags: set[str] = set()
        self._urls: set[str] = set()
        self._thread: threading.Thread | None = None
        self._pid = os.getpid()

    def add(self, tags: Iterable[str], urls: Iterable[str]) -> None:
        """Have them purged, a while from now."""
        with self._lock:
            self._keep(tags, urls)
            if self._thread is None or self._pid != os.getpid():
                self._pid = os.getpid()
                self._thread = threading.Thread(target=self._work, name="edgewise-purges", daemon=True)
                self._thread.start()

    def _keep(self, tags: Iterable[str], urls: Iterable[str]) -> None:
        self._tags.update(tags)
        self._urls.update(urls)
        self._tags = set(bounded(self._tags, _MOST_WAITING))
        if len(self._tags) + len(self._urls) > 2 * _MOST_WAITING:
            log.error("too many purges wait: %d tags and URLs are dropped", len(self._tags) + len(self._urls))
            self._tags, self._urls = set(), set()

    def _work(self) -> None:
        while True:
            time.sleep(_AGAIN)
            with self._lock:  # what is added from here on is of a later commit, also where it has the same name
                tags, self._tags = self._tags, set()
                urls, self._urls = self._urls, set()
            failed = False
            try:
                purge_layers(tags, urls)
            except LayersError as error:
                failed = True
                log.warning("what was committed is still not purged everywhere: %s", error)
            except Exception:
                log.exception("what was committed cannot be purged")
            with self._lock:
                if failed:
                    self._keep(tags, urls)
                if not self._tags and not self._urls:
                    self._thread = None
                    return


_waiting = _Waiting()


def purge_committed(tags: Iterable[str], urls: Iterable[str] = ()) -> None:
    """Purge in every layer before this returns, or, where one does not answer, later; never raises for that.

    The transaction is committed: an error could not undo it, only hide that from the caller.
    """
    names, addresses = bounded(tags), list(urls)
    if not names and not addresses:
        return
    try:
        purge_layers(names, addresses)
    except LayersError as error:
        log.error("a write is committed, but not purged everywhere yet; it is tried again: %s", error)
        _waiting.add(names, addresses)
