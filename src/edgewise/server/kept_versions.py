"""The published configuration that this node runs, kept on its disk: it starts and reloads with it, engine or not."""

from __future__ import annotations

import contextlib
import hashlib
import os
from pathlib import Path
from typing import Any

import msgspec

from edgewise.contracts.sealing import Sealer
from edgewise.state.versions import Version

_ACCEPTED = "accepted"
_CANDIDATE = "candidate"


class Kept(msgspec.Struct):
    """A version and what it says."""

    version: Version
    content: dict[str, Any]


class KeptVersions:
    """Two files: the version in force, and one that is being tried. Sealed like what is in the engine."""

    def __init__(self, directory: Path, sealer: Sealer) -> None:
        self._directory = directory
        self._sealer = sealer

    def accepted(self) -> Kept | None:
        """Return the version to run; None where there is none, or none sealed with this key. Raises OSError."""
        return self._read(_ACCEPTED)

    def candidate(self, id: str) -> Kept | None:
        """Return the version to try, if it is the one of this id. Raises OSError."""
        kept = self._read(_CANDIDATE)
        return kept if kept is not None and kept.version.id == id else None

    def propose(self, version: Version, content: dict[str, Any]) -> None:
        """Keep a version that is to be tried. Raises OSError."""
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = self._directory / _CANDIDATE
        made = path.with_name(f"{_CANDIDATE}.{os.getpid()}")
        sealed = self._sealer.seal(msgspec.json.encode(Kept(version, content)), _CANDIDATE)
        with open(os.open(made, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(sealed)
            file.flush()
            os.fsync(file.fileno())
        made.replace(path)

    def accept(self, id: str) -> None:
        """Run the version that was tried from now on. Raises OSError."""
        if self.candidate(id) is not None:
            (self._directory / _CANDIDATE).replace(self._directory / _ACCEPTED)

    def drop(self) -> None:
        """Forget the version that was tried."""
        with contextlib.suppress(OSError):
            (self._directory / _CANDIDATE).unlink(missing_ok=True)

    def _read(self, name: str) -> Kept | None:
        try:
            sealed = (self._directory / name).read_bytes()
        except FileNotFoundError:
            return None
        plain = self._sealer.open(sealed, _CANDIDATE)
        try:
            return None if plain is None else msgspec.json.decode(plain, type=Kept)
        except msgspec.DecodeError:  # of another release
            return None


def kept_directory(state_directory: Path, label: str) -> Path:
    """Return where the edgewise of this label (its configuration file) keeps its version."""
    return state_directory / f"cluster-{hashlib.sha256(label.encode()).hexdigest()[:8]}"
