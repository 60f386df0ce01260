"""Keys of `auth` for what consumers have: API keys, and names with passwords."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, ValidationInfo

from edgewise.config.problems import BadValue, show
from edgewise.config.types import FieldName, Model, PositiveDuration, Token

CONSUMERS = "consumers"
"""In place of a file: those of [consumers] and those added at run time."""


def _no_field(value: Any) -> Any:
    return None if value is False else value


NO_FIELD_VALIDATOR = _no_field
"""What makes `false` stand for no header; known to the reference."""


def _users(text: str, info: ValidationInfo) -> str:
    if text == CONSUMERS:
        return text
    directory = (info.context or {}).get("directory")
    return f"{directory}/{text}" if directory and not text.startswith("/") else text


def _realm(text: str) -> str:
    if not text or not text.isascii() or not text.isprintable() or '"' in text or "\\" in text:
        raise BadValue(f"{show(text)} is not a realm", "ASCII without quotes and backslashes")
    return text


def _keys_of_consumers(value: Any) -> Any:
    if isinstance(value, str):
        if value != CONSUMERS:
            raise BadValue(f"{show(value)} is not where API keys are", '"consumers" or a table', CONSUMERS)
        return {}
    return value


def _basic_of(value: Any) -> Any:
    return {"users": value} if isinstance(value, str) else value


API_KEYS_VALIDATOR = _keys_of_consumers
"""What makes "consumers" a table; known to the reference."""
BASIC_VALIDATOR = _basic_of
"""What makes "consumers" or a file a table; known to the reference."""
USERS_VALIDATOR = _users
REALM_VALIDATOR = _realm
Realm = Annotated[str, AfterValidator(REALM_VALIDATOR)]


class ApiKeys(Model):
    """API keys of consumers. A text in place of the table, `"consumers"`, stands for its defaults."""

    header: Annotated[FieldName | None, BeforeValidator(NO_FIELD_VALIDATOR)] = "X-API-Key"
    """Header with the key; `"Authorization"`: behind `scheme`."""
    scheme: Token = "ApiKey"
    """In Authorization, what stands before the key; such as `"Bearer"`."""
    query: Token | None = None
    """Parameter of the query with the key; masked in the log, but queries are in histories too, so prefer a header."""
    cookie: Token | None = None
    """Cookie with the key."""
    realm: Realm = "edgewise"
    """Realm in WWW-Authenticate."""
    hide: bool = False
    """Keep the header and the parameter from upstreams; not for cookies."""


class Basic(Model):
    """Basic authentication (RFC 7617). A text in place of the table is `users`."""

    users: Annotated[str, Field(min_length=1), AfterValidator(USERS_VALIDATOR)] = CONSUMERS
    """`"consumers"`, or a file made by `htpasswd`; changes of it are seen within a second."""
    realm: Realm = "edgewise"
    """Realm in WWW-Authenticate, which browsers show."""
    cache: PositiveDuration = 300.0
    """Time for which a verified password need not be verified again, unless it changes."""
    hide: bool = False
    """Keep Authorization from upstreams."""
