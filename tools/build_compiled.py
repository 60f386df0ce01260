"""Builds the wheel with compiled modules (docs/building.md) and installs it into a directory of its own.

    python tools/build_compiled.py build/compiled      what `make compiled` does
    python tools/build_compiled.py --check             exit status 0 where it can be built, else 1 and what is missing

Exit status 1 without a C compiler or Python's headers, else pip's. The directory goes first in PYTHONPATH of whoever is
to use it; nothing compiled is ever put beside the source, where Python would prefer it unasked.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TREE = ("pyproject.toml", "setup.py", "constraints.txt", "README.md", "LICENSE", "src")


def missing() -> list[str]:
    """What a build needs and this machine lacks."""
    compiler = os.environ.get("CC") or sysconfig.get_config_var("CC") or "gcc"
    lacks = []
    if shutil.which(shlex.split(compiler)[0]) is None:
        lacks.append(f"a C compiler ({compiler}; Debian: apt install gcc libc6-dev)")
    header = Path(sysconfig.get_path("include")) / "Python.h"
    if not header.exists():
        version = f"{sys.version_info.major}.{sys.version_info.minor}"
        lacks.append(f"the headers of Python {version} ({header}; Debian: apt install python{version}-dev)")
    return lacks


def build(target: Path) -> int:
    """Build from a copy of the source, so that neither old files of a build nor edits during it get into the wheel."""
    print(f"compiling into {target} (a minute or so) ...")
    with tempfile.TemporaryDirectory() as name:
        tree, wheels, installed = (Path(name) / part for part in ("tree", "wheels", "installed"))
        copy(tree)
        constraints = str(tree / "constraints.txt")  # for the build's own requirements: old pips read the first only
        chosen = {"EDGEWISE_COMPILE": "1", "PIP_CONSTRAINT": constraints, "PIP_BUILD_CONSTRAINT": constraints}
        status = pip("wheel", "-w", wheels, tree, environment={**os.environ, **chosen})
        if status == 0:
            (wheel,) = wheels.glob("*.whl")
            status = pip("install", "--target", installed, wheel, environment=dict(os.environ))
        if status == 0:
            shutil.rmtree(target, ignore_errors=True)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.move(installed, target)
    return status


def copy(tree: Path) -> None:
    tree.mkdir()
    for part in TREE:
        source = ROOT / part
        if source.is_dir():
            shutil.copytree(source, tree / part, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
        else:
            shutil.copy(source, tree / part)


def pip(command: str, *arguments: str | Path, environment: dict[str, str]) -> int:
    call = [sys.executable, "-m", "pip", command, "--no-deps", "-q", *map(str, arguments)]
    return subprocess.run(call, env=environment, check=False).returncode


def main(arguments: list[str]) -> int:
    lacks = missing()
    if lacks:
        print(f"cannot compile edgewise here: missing {' and '.join(lacks)}.", file=sys.stderr)
        print("It runs without, as plain Python; only slower (docs/building.md).", file=sys.stderr)
        return 1
    return 0 if arguments == ["--check"] else build(Path(arguments[0]).resolve())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:] or ["build/compiled"]))
