"""Writes docs/configuration.md and docs/edgewise.schema.json: `python -m edgewise.config.reference docs`."""

from __future__ import annotations

import ast
import inspect
import json
import sys
from collections.abc import Iterator
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any, get_args, get_origin

from pydantic.fields import FieldInfo

from edgewise.config.describe import default_words, type_words
from edgewise.config.policies import Policies
from edgewise.config.schema import Config, Model
from edgewise.config.shape import alternatives

INTRODUCTION = """\
# Configuration

Written by `python -m edgewise.config.reference docs` from the schema in `src/edgewise/config`; do not edit.
`docs/edgewise.schema.json` holds the same for editors.

```toml
{example}```

- Durations are `"250ms"`, `"2s"`, `"1m"`, `"1h"` or a number of seconds.
- Sizes are `"16KiB"` (1024), `"64KB"` (1000), `"1MiB"`, `"100MB"` or a number of bytes.
- Ages are `"12h"`, `"30d"`, `"1y"` (365 days) or a whole number of seconds.
- Relative file names are relative to the directory of the configuration file.
- Unknown keys are errors. `edgewise check` names every mistake with its line, what was expected and the nearest key.
- Environment variables win over the file: `EDGEWISE_SERVER__LISTEN=:80,[::]:80` sets `server.listen`,
  `EDGEWISE_UPSTREAMS__SHOP__TIMEOUTS__CONNECT=1s` sets `upstreams.shop.timeouts.connect`, `EDGEWISE_ROUTES__0__PATH`
  the path of the first route. Two underscores stand between levels; lists are separated by commas or written as in
  TOML. The command line wins over both.
- Without routes, exactly one upstream answers every request.
"""
EXAMPLE = """\
[server]
listen = ["127.0.0.1:8080"]

[upstreams.shop]
servers = ["127.0.0.1:9001", { address = "127.0.0.1:9002", weight = 2 }]
balance = "least_connections"
health = { path = "/healthz", interval = "2s" }
retry = { attempts = 2, on = ["connect", 502, 503] }

[[routes]]
host = "shop.example.com"
path = "/api/*"
upstream = "shop"

[[routes]]
path = "/old/{id}"
redirect = { to = "/items/{id}" }
"""
_NAMES = {
    "upstreams": "upstreams.NAME",
    "hosts": "hosts.HOST",
    "jwt": "jwt.NAME",
    "oidc": "oidc.NAME",
    "signatures": "signatures.NAME",
    "consumers": "consumers.NAME",
}


def markdown() -> str:
    """Return the text of docs/configuration.md."""
    parts = [INTRODUCTION.format(example=EXAMPLE)]
    parts += [_section(title, model) for title, model in _sections(Config, "")]
    return "\n".join(parts)


def json_schema() -> str:
    """Return the text of docs/edgewise.schema.json (JSON Schema 2020-12)."""
    schema = Config.model_json_schema()
    models = {model.__name__: model for _, model in _sections(Config, "")} | {"Config": Config}
    for name, table in [("Config", schema), *schema["$defs"].items()]:
        for key, value in table["properties"].items():
            value.pop("title", None)
            value["description"] = field_docs(models[name])[key]
        table["description"] = inspect.cleandoc(models[name].__doc__ or "")
    whole = {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": "edgewise.toml"}
    return json.dumps(whole, indent=2) + "\n"


@cache
def field_docs(model: type[Model]) -> dict[str, str]:
    """Return the docstring that follows each field in the source of a model, and of those that it is one of."""
    bases = [base for base in model.__bases__ if issubclass(base, Model) and base is not Model]
    inherited = {key: text for base in bases for key, text in field_docs(base).items()}
    return inherited | _own_field_docs(model)


def _own_field_docs(model: type[Model]) -> dict[str, str]:
    module = inspect.getmodule(model)
    assert module is not None
    tree = ast.parse(inspect.getsource(module))
    body = next(node.body for node in tree.body if isinstance(node, ast.ClassDef) and node.name == model.__name__)
    docs = {}
    for field, text in pairwise(body):
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and isinstance(text, ast.Expr):
            docs[field.target.id] = inspect.cleandoc(ast.literal_eval(text.value)).replace("\n\n", " ")
    return docs


def _sections(model: type[Model], prefix: str) -> Iterator[tuple[str, type[Model]]]:
    """Yield (title, model) of every table below a model, depth first; those of policies only where they come first."""
    for key, field in model.model_fields.items():
        if issubclass(model, Policies) and key in Policies.model_fields and prefix != "policies.":
            continue
        for inner, many in _inner_models(field):
            name = prefix + (key if many == "list" else _NAMES.get(key, key))
            yield (f"[[{name}]]" if many == "list" else f"[{name}]"), inner
            yield from _sections(inner, name + ".")


def _inner_models(field: FieldInfo) -> Iterator[tuple[type[Model], str]]:
    """Yield the models of a field, each once: a table that may be a list of such is shown as one."""
    found: set[type[Model]] = set()
    for choice in alternatives(field.annotation):
        many = get_origin(choice)
        for item in alternatives(get_args(choice)[-1]) if many in (list, dict) else [choice]:
            if isinstance(item, type) and issubclass(item, Model) and item not in found:
                found.add(item)
                yield item, many.__name__ if many in (list, dict) else ""


def _section(title: str, model: type[Model]) -> str:
    lines = [f"## `{title}`", "", inspect.cleandoc(model.__doc__ or ""), ""]
    lines += ["| key | value | default | meaning |", "|---|---|---|---|"]
    docs = field_docs(model)
    fields = model.model_fields
    if issubclass(model, Policies) and title != "[policies]":
        lines.insert(4, "The keys of [policies] as well.\n")
        fields = {key: field for key, field in fields.items() if key not in Policies.model_fields}
        lines = lines if fields else lines[:2] + lines[4:5]
    for key, field in fields.items():
        cells = (f"`{key}`", type_words(field), default_words(field), docs[key])
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines) + "\n"


def main(directory: Any) -> None:
    """Write both files into a directory."""
    (Path(directory) / "configuration.md").write_text(markdown())
    (Path(directory) / "edgewise.schema.json").write_text(json_schema())


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "docs")
