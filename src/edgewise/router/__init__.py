"""Compiles configuration into the immutable table of routes; explains which route answers and why."""

from edgewise.router.build import build, route_names

__all__ = ["build", "route_names"]
