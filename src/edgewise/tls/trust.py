"""Has this machine trust the internal authority: its root certificate in the system's store, as Debian keeps it."""

from __future__ import annotations

import hashlib
import os
import shlex
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from edgewise.tls.errors import TlsError

_LOCAL = Path("/usr/local/share/ca-certificates")
_UPDATE = ("update-ca-certificates",)


class TrustStore(NamedTuple):
    """Where a system keeps additional authorities, and the command that takes them up."""

    directory: Path = _LOCAL
    update: Sequence[str] = _UPDATE

    @property
    def usable(self) -> bool:
        """May this process change it?"""
        found = self.directory.is_dir() and shutil.which(self.update[0]) is not None
        return found and os.access(self.directory, os.W_OK)

    def file(self, root: Path) -> Path:
        """Return where a root is put: the same place for each root of a directory, so that a new one replaces it."""
        digest = hashlib.sha256(str(root.absolute()).encode()).hexdigest()[:8]
        return self.directory / f"edgewise-{digest}.crt"

    def install(self, root: Path) -> None:
        """Trust the certificate in the file `root`. Raises TlsError."""
        try:
            file = self.file(root)
            file.write_bytes(root.read_bytes())
            file.chmod(0o644)
        except OSError as error:
            raise TlsError(f"{error.filename}: {error.strerror or error}") from error
        self._run([*self.update])

    def uninstall(self, root: Path) -> bool:
        """Trust it no more; was it trusted? Raises TlsError."""
        file = self.file(root)
        try:
            file.unlink()
        except FileNotFoundError:
            return False
        except OSError as error:
            raise TlsError(f"{file}: {error.strerror or error}") from error
        self._run([*self.update, "--fresh"])
        return True

    def by_hand(self, root: Path, *, uninstall: bool) -> list[str]:
        """Return the commands that do it with the rights it needs."""
        file, update = shlex.quote(str(self.file(root))), shlex.join(self.update)
        if uninstall:
            return [f"sudo rm {file}", f"sudo {update} --fresh"]
        return [f"sudo install -m 644 {shlex.quote(str(root.absolute()))} {file}", f"sudo {update}"]

    def _run(self, command: list[str]) -> None:
        try:
            result = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise TlsError(f"{shlex.join(command)}: {error}") from error
        if result.returncode:
            raise TlsError(f"{shlex.join(command)}: {result.stderr.strip() or f'exit status {result.returncode}'}")
