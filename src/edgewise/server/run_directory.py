"""The private directory of one instance: the sockets of managed apps, and the lock against a second instance."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import stat
import tempfile
from collections.abc import Mapping
from pathlib import Path


class RunDirectoryError(Exception):
    """The directory cannot be used; the text says why."""


def base_directory(environ: Mapping[str, str] = os.environ) -> Path:
    """Return where run directories go: systemd's RUNTIME_DIRECTORY, XDG_RUNTIME_DIR, else the temporary directory."""
    if given := environ.get("RUNTIME_DIRECTORY", "").partition(":")[0]:
        return Path(given)
    if given := environ.get("XDG_RUNTIME_DIR", ""):
        return Path(given)
    return Path(tempfile.gettempdir())


class RunDirectory:
    """A directory of mode 0700 whose name follows from `identity`, so that socket names (and with them sticky cookies)
    are the same at each start.

    Raises RunDirectoryError: another instance of the same identity runs, or the path belongs to someone else.
    """

    def __init__(self, identity: str, base: Path) -> None:
        digest = hashlib.sha256(identity.encode()).hexdigest()[:12]
        self.path = base / f"edgewise-{os.getuid()}-{digest}"
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._check_owner()
            self._lock = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except OSError as error:
            raise RunDirectoryError(f"cannot use {self.path}: {error.strerror or error}") from error
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(self._lock)
            raise RunDirectoryError(f"edgewise already runs with {identity}") from None

    def _check_owner(self) -> None:
        found = os.lstat(self.path)
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or stat.S_IMODE(found.st_mode) & 0o077:
            raise RunDirectoryError(f"cannot use {self.path}: not a directory of this user alone")

    def forked(self) -> None:
        """In a fork: let go of the lock's descriptor, or it would outlive the supervisor."""
        os.close(self._lock)

    def remove(self) -> None:
        """Remove the directory at exit; what is still in it stays for the next start to clear."""
        with contextlib.suppress(OSError):
            (self.path / "lock").unlink()
            self.path.rmdir()
        os.close(self._lock)
