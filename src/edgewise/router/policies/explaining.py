"""Which policies hold for a request, in what order, where each stands and what it takes the place of: in words."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from edgewise.router.policies.levels import levels
from edgewise.router.policies.order import ORDER

if TYPE_CHECKING:
    from edgewise.config.routes import Route
    from edgewise.config.schema import Config


def policy_lines(config: Config, route: Route, host: str | None) -> list[str]:
    """Return the policies of a route for requests to a host of `config.hosts`, in their order; secrets are left out."""
    stands = [(level, policies) for level, policies in levels(config, route, host)]
    lines = []
    for key in dict.fromkeys(key for key, _ in ORDER):
        named = [(level, getattr(policies, key)) for level, policies in stands if key in policies.model_fields_set]
        if not named:
            continue
        (level, spec), *others = named
        instead = f", in place of {' and '.join(name for name, _ in others)}" if others else ""
        settings = "off" if spec is None else _written(spec)
        lines.append(f"{key} ({level}{instead}): {settings}")
    return [f"{'' if index else 'policies':10}{line}" for index, line in enumerate(lines)]


def _written(value: Any) -> str:
    """Return settings as they are written in TOML; what was not written is a default, and not shown."""
    if isinstance(value, BaseModel):
        fields = type(value).model_fields
        pairs = [
            f"{key} = {_written(getattr(value, key)) if fields[key].repr else '<secret>'}"
            for key in fields
            if key in value.model_fields_set
        ]
        return f"{{ {', '.join(pairs)} }}" if pairs else "{}"
    if isinstance(value, dict):
        pairs = [f"{_key(key)} = {_written(one)}" for key, one in value.items()]
        return f"{{ {', '.join(pairs)} }}" if pairs else "{}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(_written(one) for one in value)}]"
    if isinstance(value, float):
        return f"{value:g}"
    if value is None:
        return "false"
    return json.dumps(value, ensure_ascii=False)


def _key(name: str) -> str:
    return name if name.replace("-", "").replace("_", "").isalnum() and name.isascii() else json.dumps(name)
