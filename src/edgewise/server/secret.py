"""The secret that signs sticky cookies where the configuration names none."""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edgewise.config import Config

_BYTES = 32


class SecretError(Exception):
    """The secret's file cannot be read or made; the text says which and why."""


def state_directory(environ: Mapping[str, str] = os.environ) -> Path:
    """Return where edgewise keeps what must survive a restart.

    systemd's STATE_DIRECTORY, else `edgewise` in XDG_STATE_HOME, else `~/.local/state/edgewise`.
    """
    if given := environ.get("STATE_DIRECTORY", "").partition(":")[0]:
        return Path(given)
    home = environ.get("XDG_STATE_HOME") or Path(environ.get("HOME") or "/var/lib") / ".local" / "state"
    return Path(home) / "edgewise"


def load_secret(directory: Path) -> bytes:
    """Return the secret kept in `directory`, made on first use with mode 0600. Raises SecretError."""
    path = directory / "secret"
    try:
        if not path.exists():
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            _create(path)
        secret = path.read_bytes()
    except OSError as error:
        raise SecretError(f"cannot keep the sticky secret in {path}: {error.strerror or error}") from error
    if len(secret) < _BYTES:
        raise SecretError(f"{path} is too short to be a secret; remove it to have a new one made")
    return secret


def _create(path: Path) -> None:
    """Write a new secret in one step, so that two processes starting at once agree on one."""
    made = path.with_name(f"secret.{os.getpid()}")
    descriptor = os.open(made, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(secrets.token_bytes(_BYTES))
        os.link(made, path)
    except FileExistsError:
        return
    finally:
        made.unlink()


def with_secrets(config: Config, directory: Path) -> Config:
    """Return `config` with a secret in each sticky upstream that has none, derived from the kept one.

    Each upstream has its own, so that a cookie of one is worth nothing to another. Raises SecretError.
    """
    needing = [name for name, spec in config.upstreams.items() if spec.sticky is not None and not spec.sticky.secret]
    if not needing:
        return config
    secret = load_secret(directory)
    upstreams = dict(config.upstreams)
    for name in needing:
        derived = hmac.digest(secret, b"sticky\0" + name.encode(), hashlib.sha256).hex()
        spec = upstreams[name]
        assert spec.sticky is not None
        upstreams[name] = spec.model_copy(update={"sticky": spec.sticky.model_copy(update={"secret": derived})})
    return config.model_copy(update={"upstreams": upstreams})
