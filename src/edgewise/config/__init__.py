"""One schema for TOML, environment, command line and docs; errors name file, line and key."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgewise.config.problems import ConfigError, Problem

if TYPE_CHECKING:
    from edgewise.config.loader import build, load, parse
    from edgewise.config.schema import Config

__all__ = ["Config", "ConfigError", "Problem", "build", "load", "parse"]


def __getattr__(name: str) -> Any:
    """Import the schema (and pydantic with it) on first use only."""
    if name == "Config":
        from edgewise.config import schema

        return schema.Config
    if name in ("build", "load", "parse"):
        import importlib

        return getattr(importlib.import_module("edgewise.config.loader"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
