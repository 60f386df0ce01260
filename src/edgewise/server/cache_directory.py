"""The directory of stored answers: opened and locked by the supervisor, so that no other edgewise uses it too."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import TYPE_CHECKING

from edgewise.cache.disk.purge_log import PurgeLog
from edgewise.server.secret import state_directory

if TYPE_CHECKING:
    from edgewise.config import Config

_LOCK = "lock"


class CacheDirectoryError(Exception):
    """The directory cannot be used; the text says which and why."""


class CacheDirectory:
    """Belongs to one supervisor until `close`; its children have what it holds of purges, not the files."""

    def __init__(self, path: Path) -> None:
        """Make the directory where it is not there. Raises CacheDirectoryError."""
        try:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock = os.open(path / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise CacheDirectoryError(f"cannot keep the cache in {path}: {error.strerror or error}") from error
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self.log = PurgeLog(path)
        except BlockingIOError as error:
            os.close(self._lock)
            message = f"another edgewise keeps its cache in {path}: each needs a directory of its own (cache.directory)"
            raise CacheDirectoryError(message) from error
        except OSError as error:
            os.close(self._lock)
            raise CacheDirectoryError(f"cannot keep purges in {path}: {error.strerror or error}") from error

    def forked(self) -> None:
        """In a fork: let go of what must end with the supervisor."""
        self.log.release()
        os.close(self._lock)

    def close(self) -> None:
        """Note that all is as it is to be found, once no child is left, and let others use the directory."""
        self.log.end()
        os.close(self._lock)


def cache_directory(config: Config) -> CacheDirectory | None:
    """Return the directory of the configuration, None where nothing is kept on disk. Raises CacheDirectoryError."""
    spec = config.cache
    return CacheDirectory(Path(spec.directory)) if spec.disk and spec.directory is not None else None


def with_cache_directory(config: Config) -> Config:
    """Return `config` with the directory for answers on disk, where they are kept and it names none."""
    if not config.cache.disk or config.cache.directory is not None:
        return config
    cache = config.cache.model_copy(update={"directory": str(state_directory() / "cache")})
    return config.model_copy(update={"cache": cache})
