"""Everything that stands between the internet and a Python web app."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("edgewise")
except PackageNotFoundError:  # run from a source tree that was never installed
    __version__ = "0.0.0"
