"""What identifies one edgewise on this machine: where its configuration comes from and what it keeps on disk."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from edgewise.server.apps import Apps, app_specs, socket_path
from edgewise.server.cache_directory import with_cache_directory
from edgewise.server.common import Common
from edgewise.server.kept_versions import kept_directory
from edgewise.server.run_directory import RunDirectory, RunDirectoryError, base_directory
from edgewise.server.secret import state_directory, with_secrets

if TYPE_CHECKING:
    from edgewise.config import Config
    from edgewise.config.loader import Choose
    from edgewise.server.reactor import Reactor

_MAX_PATH = 107
"""Bytes of sun_path less its NUL (unix(7))."""


class Instance:
    """Loads the configuration and completes it with what only this machine knows.

    `read` returns the configuration, anew at each reload, with what nodes have in common as it is chosen; `label`
    names its source, and tells instances apart.
    """

    def __init__(self, read: Callable[[Choose], Config], label: str) -> None:
        self._read = read
        self.label = label
        self.common = Common(kept_directory(state_directory(), label))
        self.pid = os.getpid()
        self._directory: RunDirectory | None = None

    def load(self, candidate: str = "") -> Config:
        """Return the configuration with sticky secrets, directories of its own and apps' sockets filled in.

        `candidate` is the id of a published version to try. Raises ConfigError, SecretError or RunDirectoryError.
        """
        with self.common.trying(candidate):
            config = self._read(self.common.choose)
        config = with_secrets(config, state_directory())
        return self._with_app_servers(with_cache_directory(with_tls_directory(config)))

    def _with_app_servers(self, config: Config) -> Config:
        from edgewise.config.upstreams import Health, UpstreamServer

        specs = app_specs(config)
        if not specs:
            return config
        if self._directory is None:
            self._directory = RunDirectory(self.label, base_directory())
        upstreams = dict(config.upstreams)
        for name, spec in specs.items():
            paths = [socket_path(self._directory.path, name, index) for index in range(spec.processes)]
            _check_lengths(paths)
            servers = [UpstreamServer(address=f"unix:{path}") for path in paths]
            health = upstreams[name].health or Health()
            upstreams[name] = upstreams[name].model_copy(update={"servers": servers, "health": health})
        return config.model_copy(update={"upstreams": upstreams})

    def apps(self, reactor: Reactor) -> Apps:
        """Return the managed apps, none running yet."""
        return Apps(self._app_socket, reactor)

    def _app_socket(self, upstream: str, index: int) -> Path:
        assert self._directory is not None
        return socket_path(self._directory.path, upstream, index)

    def forked(self) -> None:
        """In a fork: let go of what must end with the supervisor."""
        if self._directory is not None:
            self._directory.forked()

    def close(self) -> None:
        """Remove the run directory."""
        if self._directory is not None:
            self._directory.remove()
            self._directory = None


def with_tls_directory(config: Config) -> Config:
    """Return `config` with the directory where edgewise keeps the certificates that it gets by itself."""
    tls = config.tls
    if tls.directory is not None or not (tls.acme or tls.internal):
        return config
    tls = tls.model_copy(update={"directory": str(state_directory() / "tls")})
    return config.model_copy(update={"tls": tls})


def _check_lengths(paths: list[Path]) -> None:
    for path in paths:
        if len(os.fsencode(path)) > _MAX_PATH:
            raise RunDirectoryError(
                f"{path} is too long for a Unix socket ({_MAX_PATH} bytes at most): "
                "let XDG_RUNTIME_DIR name a directory with a shorter path"
            )
