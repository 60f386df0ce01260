"""Finds the user's filters: by import path, or by the name of an installed package's entry point."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable
from importlib.metadata import entry_points
from typing import Any

GROUP = "edgewise.filters"


def load_filters(names: list[str]) -> tuple[tuple[Callable[..., Any], ...], tuple[Callable[..., Any], ...]]:
    """Return the request hooks and the response hooks of the named filters, each in order.

    Response hooks run in reverse, so that the first filter sees the request first and the answer last. Raises
    ImportError or ValueError naming the filter that cannot be used.
    """
    filters = [load_filter(name) for name in names]
    requests = [hook for hook in (_hook(one, "request") for one in filters) if hook is not None]
    responses = [hook for hook in (_hook(one, "response") for one in reversed(filters)) if hook is not None]
    return tuple(requests), tuple(responses)


def load_filter(name: str) -> Any:
    """Return the filter object for `package.module:attribute` or an entry point's name."""
    if ":" in name:
        module, _, attribute = name.partition(":")
        try:
            found: Any = importlib.import_module(module)
            for part in attribute.split("."):
                found = getattr(found, part)
        except (ImportError, AttributeError) as error:
            raise ImportError(f"filter {name}: {error}") from error
    else:
        points = entry_points(group=GROUP, name=name)
        if not points:
            raise ImportError(f"filter {name}: no installed package has an entry point of that name in {GROUP}")
        found = next(iter(points)).load()
    if inspect.isclass(found):
        found = found()
    if _hook(found, "request") is None and _hook(found, "response") is None:
        raise ValueError(f"filter {name}: has neither a request nor a response method, and is not a function")
    return found


def _hook(one: Any, name: str) -> Callable[..., Any] | None:
    hook = getattr(one, name, None)
    if callable(hook):
        return hook  # type: ignore[no-any-return]
    return one if name == "request" and inspect.isfunction(one) else None
