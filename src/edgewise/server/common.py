"""The part of the configuration that this node has in common with others: which version is loaded, and is kept."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from edgewise.config import ConfigError, Problem
from edgewise.contracts.sealing import NoSecretError, Sealer, read_secret
from edgewise.server.kept_versions import Kept, KeptVersions
from edgewise.state.versions import PURPOSE, Version

if TYPE_CHECKING:
    from edgewise.config.cluster import Cluster
    from edgewise.config.document import Document

log = logging.getLogger("edgewise.cluster")


class Common:
    """Chooses at each load: the version in force, or a candidate. The secret is that of the first load."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._kept: KeptVersions | None = None
        self._candidate = ""
        self.version: Version | None = None
        """Part of what was loaded last; None: the node's file was all of it."""

    @contextlib.contextmanager
    def trying(self, candidate: str) -> Iterator[None]:
        """Have `choose` take the candidate of this id, "" for none. Raises ConfigError where it was not asked to."""
        self._candidate = candidate
        self.version = None
        yield
        if candidate and self.version is None:
            raise ConfigError(
                [Problem("cluster", 0, "", "this node's file does not follow what is published any more")]
            )

    def choose(self, settings: Cluster) -> Document | None:
        """Return what is published as far as this node goes along; None for nothing. Raises ConfigError."""
        from edgewise.config.common import published

        try:
            kept = self._chosen(settings)
        except (NoSecretError, OSError) as error:
            raise ConfigError([Problem("cluster", 0, "", str(error))]) from error
        if kept is None:
            return None
        self.version = kept.version
        return published(kept.content, f"configuration version {kept.version.number}")

    def _chosen(self, settings: Cluster) -> Kept | None:
        """Raises NoSecretError, and OSError for a file that cannot be read."""
        secret = read_secret(settings.key, settings.key_file)
        if not settings.configuration:
            return None
        if self._kept is None:
            self._kept = KeptVersions(self._directory, Sealer(secret, PURPOSE))
        return self._kept.candidate(self._candidate) if self._candidate else self._kept.accepted()

    def accept(self, version: Version) -> None:
        """Keep a version that was tried: it runs."""
        if self._kept is None:
            return
        try:
            self._kept.accept(version.id)
        except OSError as error:
            log.error("version %d runs, but cannot be kept: %s", version.number, error)
