"""Everything that stands between the internet and a Python web app."""

from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec

try:
    __version__ = version("edgewise")
except PackageNotFoundError:  # run from a source tree that was never installed
    __version__ = "0.0.0"


def build() -> str:
    """Return how the data plane was built: "compiled" or "pure Python" (docs/building.md)."""
    module = find_spec("edgewise.protocols.http1")
    return "compiled" if module is not None and str(module.origin).endswith(".so") else "pure Python"
