"""Everything that stands between the internet and a Python web app."""

from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edgewise.admin.client import AdminError
    from edgewise.admin.purging import Purged, apurge, purge

__all__ = ["AdminError", "Purged", "__version__", "apurge", "build", "purge"]
_PLACES = {"AdminError": "client", "Purged": "purging", "apurge": "purging", "purge": "purging"}
"""Modules of `edgewise.admin` from which names are imported once they are asked for."""

try:
    __version__ = version("edgewise")
except PackageNotFoundError:  # run from a source tree that was never installed
    __version__ = "0.0.0"


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module 'edgewise' has no attribute {name!r}")
    return getattr(import_module(f"edgewise.admin.{_PLACES[name]}"), name)


def build() -> str:
    """Return how the data plane was built: "compiled" or "pure Python" (docs/building.md)."""
    module = find_spec("edgewise.protocols.http1")
    return "compiled" if module is not None and str(module.origin).endswith(".so") else "pure Python"
