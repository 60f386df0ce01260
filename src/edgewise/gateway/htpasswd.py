"""Users of a file made by `htpasswd`: it is read again when it changes."""

from __future__ import annotations

import asyncio
import logging
import os
from pathlib import Path

from edgewise.config.htpasswd import MOST_BYTES, read_htpasswd
from edgewise.contracts.identity import Identity

_INTERVAL = 0.5
"""Seconds between two looks at the file."""
_log = logging.getLogger("edgewise.gateway")


class HtpasswdUsers:
    """A `contracts.policies.Service`. Without the file there are no users."""

    settled = True

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stamp: tuple[int, ...] | None = None
        self._users: dict[str, str] = {}
        self._identities: dict[str, Identity] = {}
        self.look()

    def hashes(self, name: str) -> tuple[str, ...]:
        """Return the hash of a user's password, none where there is no such user."""
        found = self._users.get(name)
        return () if found is None else (found,)

    def identity(self, name: str, method: str) -> Identity | None:
        """Return who asks by that name."""
        if name not in self._users:
            return None
        found = self._identities.get(name)
        if found is None:
            found = self._identities[name] = Identity(name, method)
        return found

    def decoy(self) -> tuple[str, ...]:
        """Return the hash of somebody's password, none where there are no users."""
        return self.hashes(next(iter(self._users), ""))

    async def settle(self) -> bool:
        """Return True: everything is known from the beginning."""
        return True

    async def run(self) -> None:
        """Look at the file until cancelled."""
        while True:
            await asyncio.sleep(_INTERVAL)
            self.look()

    def look(self) -> None:
        """Read the file where it is another than before."""
        try:
            stamp = _stamp(self._path)
            if stamp == self._stamp:
                return
            with self._path.open("rb") as file:
                content = file.read(MOST_BYTES + 1)
            if len(content) > MOST_BYTES:
                raise OSError(f"more than {MOST_BYTES} bytes")
        except OSError as error:
            if self._stamp != ():
                _log.error("nobody is let in by %s: %s", self._path, error.strerror or error)
            self._stamp, self._users = (), {}
            self._identities.clear()
            return
        self._users, problems = read_htpasswd(content)
        self._stamp = stamp
        self._identities.clear()
        for problem in problems:
            _log.error("%s: %s", self._path, problem)


def _stamp(path: Path) -> tuple[int, ...]:
    found = os.stat(path)
    return found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns
