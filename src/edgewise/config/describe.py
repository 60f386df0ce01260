"""Types and defaults of the schema in words, for the reference."""

from __future__ import annotations

import types
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import annotated_types
from pydantic import AfterValidator, BeforeValidator
from pydantic.fields import FieldInfo

from edgewise.config import addresses, patterns, rates, values
from edgewise.config.authorize import rules_listed
from edgewise.config.caching import CACHE_POLICY
from edgewise.config.compress import MEDIA_TYPE
from edgewise.config.consumers import check_api_key, check_claim, check_group, check_password_hash, check_scope
from edgewise.config.cors import check_origin
from edgewise.config.credentials import (
    API_KEYS_VALIDATOR,
    BASIC_VALIDATOR,
    NO_FIELD_VALIDATOR,
    REALM_VALIDATOR,
    USERS_VALIDATOR,
)
from edgewise.config.forward import TARGET_VALIDATOR
from edgewise.config.jwt import JWT_VALIDATORS
from edgewise.config.maintenance import check_bypass_secret
from edgewise.config.oidc import OIDC_VALIDATORS
from edgewise.config.policies import OFF_VALIDATOR
from edgewise.config.problems import show
from edgewise.config.schema import Model
from edgewise.config.signatures import SIGNATURE_VALIDATORS
from edgewise.config.state import STATE_URL_VALIDATOR
from edgewise.config.static import ENDING, NAME_BELOW_ROOT
from edgewise.config.tls import HSTS_VALIDATOR, SWITCH_VALIDATOR
from edgewise.config.transform import POINTER_VALIDATOR, TEMPLATE_VALIDATORS
from edgewise.config.types import FILE_VALIDATORS
from edgewise.config.upstreams import SERVER_VALIDATOR, TRUE_VALIDATOR

_VALIDATED: dict[Any, str] = {
    values.parse_duration: "duration",
    values.parse_size: "size",
    values.parse_age: "age",
    values.check_url: "https:// URL",
    values.parse_network: "network",
    values.check_status_range: "status or range",
    values.check_retry_condition: '`"connect"` or status',
    values.check_token: "name",
    values.check_name: "name",
    values.check_field_name: "header name",
    values.check_field_value: "header value",
    values.check_method: "method",
    values.check_csrf: '`true`, `false` or `"token"`',
    values.check_hash_key: "hash key",
    rates.check_limit_key: "limit key",
    values.check_link: "link",
    rates.check_rate: "rate",
    values.check_import_path: "import path",
    values.check_srv: "SRV name",
    check_origin: "origin",
    check_bypass_secret: "secret",
    addresses.check_listen: "address",
    addresses.check_server: "address",
    patterns.check_host: "host name",
    patterns.check_certificate_name: "host name",
    patterns.check_path: "path pattern",
    patterns.check_prefix: "path prefix",
    patterns.check_rewrite: "template",
    patterns.check_redirect: "template",
    **dict.fromkeys(FILE_VALIDATORS, "file name"),
    TARGET_VALIDATOR: "path",
    **JWT_VALIDATORS,
    **OIDC_VALIDATORS,
    **SIGNATURE_VALIDATORS,
    SERVER_VALIDATOR: "address or table",
    STATE_URL_VALIDATOR: "URL",
    NAME_BELOW_ROOT: "name below the root",
    ENDING: "end of names",
    MEDIA_TYPE: "media type",
    CACHE_POLICY: "Cache-Control",
    TRUE_VALIDATOR: "`true`, `false` or table",
    SWITCH_VALIDATOR: "`true`, `false` or table",
    OFF_VALIDATOR: "`false` or table",
    **dict.fromkeys(TEMPLATE_VALIDATORS, "template"),
    POINTER_VALIDATOR: "pointer",
    rules_listed: "`false`, table or list of tables",
    HSTS_VALIDATOR: "age or table",
    API_KEYS_VALIDATOR: "text or table",
    BASIC_VALIDATOR: "text or table",
    NO_FIELD_VALIDATOR: "header name or `false`",
    REALM_VALIDATOR: "text",
    USERS_VALIDATOR: '`"consumers"` or file name',
    check_api_key: "API key",
    check_password_hash: "password hash",
    check_group: "group",
    check_scope: "scope",
    check_claim: "text",
}
_PLAIN: dict[Any, str] = {str: "text", int: "whole number", float: "number", bool: "`true` or `false`", Any: "value"}
_PLURALS = {
    "address": "addresses",
    "address or table": "addresses or tables",
    "status or range": "statuses or ranges",
    '`"connect"` or status': '`"connect"` or statuses',
    "name below the root": "names below the root",
    "password hash": "password hashes",
}
_UNITS = ((3600, "h"), (60, "m"), (1, "s"))
_SIZES = ((1024**2, "MiB"), (1000**2, "MB"), (1024, "KiB"))


def type_words(field: FieldInfo) -> str:
    """Return what a field accepts."""
    return _words(field.annotation, field.metadata)


def default_words(field: FieldInfo) -> str:
    """Return a field's default as it would be written in TOML; durations and sizes with their unit."""
    if field.is_required():
        return "required"
    default = field.default
    if field.default_factory is not None or default is None or isinstance(default, Model) or default in ({}, ""):
        return ""
    used = _validator(field.metadata)
    if used is values.parse_duration:
        return f'`"{_with_unit(default, _UNITS)}"`'
    if used is values.parse_size:
        return f'`"{_with_unit(default, _SIZES)}"`'
    if isinstance(default, list):
        return "`[" + ", ".join(show(item) for item in default) + "]`"
    return f"`{show(default)}`"


def _with_unit(number: float, units: tuple[tuple[float, str], ...]) -> str:
    size, unit = next((pair for pair in units if number and number % pair[0] == 0), units[-1])
    return f"{number / size:g}{unit}"


def _words(annotation: Any, metadata: list[Any]) -> str:
    origin, parts = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _words(parts[0], [*parts[1:], *metadata])
    if origin in (Union, types.UnionType):
        validator = _validator(metadata)
        if validator is OFF_VALIDATOR:
            choices = [_words(part, []) for part in parts if part is not type(None)]
            return " or ".join(dict.fromkeys(["`false`", *choices]))
        choices = [_words(part, metadata) for part in parts if part is not type(None)]
        return _VALIDATED.get(validator) or " or ".join(dict.fromkeys(choices))
    if origin is Literal:
        return " or ".join(f"`{show(part)}`" for part in parts)
    if origin is list:
        return f"list of {_plural(_words(parts[0], []))}"
    if origin is dict:
        return f"table: {_words(parts[0], [])} = {_words(parts[1], [])}"
    if issubclass(annotation, Model):
        return _VALIDATED.get(_validator(metadata), "table")
    return _VALIDATED.get(_validator(metadata), _PLAIN[annotation]) + _bounds(metadata)


def _plural(words: str) -> str:
    return _PLURALS.get(words, words + "s")


def _validator(metadata: list[Any]) -> Any:
    """Return the first of the functions among `metadata` that has words."""
    functions = [item.func for item in metadata if isinstance(item, AfterValidator | BeforeValidator)]
    return next((function for function in functions if function in _VALIDATED), None)


def _bounds(metadata: list[Any]) -> str:
    words = ""
    flat = [inner for item in metadata for inner in (item.metadata if isinstance(item, FieldInfo) else [item])]
    for item in flat:
        if isinstance(item, annotated_types.Gt) and item.gt != 0:
            words += f", more than {item.gt}"
        elif isinstance(item, annotated_types.Gt):
            words += " above 0"
        elif isinstance(item, annotated_types.Ge):
            words += f", at least {item.ge}"
        elif isinstance(item, annotated_types.Le):
            words += f", at most {item.le}"
    return words
