"""Makes a virtual environment with pip in it, also on a Debian that lacks python3-venv.

    python3 tools/make_venv.py .venv

Tries in order: the `venv` module; `venv` without pip filled by the system's pip; `virtualenv`; as root, installing
Debian's python3-venv package. When all fail it says what to install.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path


def _run(*command: str) -> bool:
    return subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False).returncode == 0


def _with_venv(target: str) -> bool:
    return _run(sys.executable, "-m", "venv", target)


def _with_system_pip(target: str) -> bool:
    made = _run(sys.executable, "-m", "venv", "--without-pip", target)
    return made and _run(sys.executable, "-m", "pip", "--python", f"{target}/bin/python", "install", "-q", "pip")


def _with_virtualenv(target: str) -> bool:
    return _run(sys.executable, "-m", "virtualenv", "-q", target)


def _with_debian_package(target: str) -> bool:
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        return False
    package = f"python{sys.version_info.major}.{sys.version_info.minor}-venv"
    print(f"installing Debian's {package} ...", flush=True)
    if not _run("apt-get", "install", "-y", "-qq", package):
        _run("apt-get", "update", "-qq")
        if not _run("apt-get", "install", "-y", "-qq", package):
            return False
    return _with_venv(target)


def main(target: str) -> int:
    """Make the environment at `target` and return the exit code."""
    if sys.version_info < (3, 11):  # noqa: UP036 (runs before pip has checked requires-python)
        print(f"edgewise needs Python 3.11 or later; {sys.executable} is {sys.version.split()[0]}", file=sys.stderr)
        return 1
    ways: tuple[Callable[[str], bool], ...] = (_with_venv, _with_system_pip, _with_virtualenv, _with_debian_package)
    for way in ways:
        shutil.rmtree(target, ignore_errors=True)
        if way(target) and (Path(target) / "bin" / "pip").exists():
            return 0
    shutil.rmtree(target, ignore_errors=True)
    print(
        f"cannot make a virtual environment with {sys.executable}: the ensurepip module is missing.\n"
        "On Debian or Ubuntu: apt-get install python3-venv",
        file=sys.stderr,
    )
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1] if len(sys.argv) > 1 else ".venv"))
