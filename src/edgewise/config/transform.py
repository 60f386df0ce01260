"""The table of transformation: what becomes of requests and answers on their way."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from edgewise.config.problems import BadValue, nearest, show
from edgewise.config.types import FieldName, Model, Size, Text
from edgewise.config.values import check_field_value

NAMES = (
    "method", "host", "scheme", "path", "client_ip", "request_id", "identity", "consumer", "groups", "scopes", "auth",
)  # fmt: skip
"""Fields of templates that stand alone; any other name is a parameter of the route's path."""
KINDS = ("header", "query", "claim")
"""Fields of templates with a name behind a colon."""
_FIELD = re.compile(r"\{([A-Za-z_][A-Za-z0-9_-]*)(?::([^{}]+))?\}")
_EXPECTED = 'a template such as "{identity}", "{header:X-Tenant}" or "v2/{id}"'
_PATH_EXPECTED = 'a path such as "/v2{path}" or "/users/{identity}"'
_POINTER = re.compile(r"(?:/(?:[^~/]|~[01])*)+|[^./]+(?:\.[^./]+)*")


def _check_template(text: str) -> str:
    """Return a template. Raises BadValue."""
    for name, argument in _FIELD.findall(text):
        if argument and name not in KINDS:
            raise BadValue(f"{show(text)}: there is no {{{name}:...}}", _EXPECTED, nearest(name, KINDS))
        if not argument and name in KINDS:
            raise BadValue(f"{show(text)}: {{{name}}} needs a name", _EXPECTED, f"{{{name}:NAME}}")
    if "{" in _FIELD.sub("", text) or "}" in _FIELD.sub("", text):
        raise BadValue(f"{show(text)}: a brace without a name", _EXPECTED)
    return text


def _check_field_template(text: str) -> str:
    return _check_template(check_field_value(text))


def _check_path_template(text: str) -> str:
    if not text.startswith(("/", "{path}")) or "?" in text or "#" in text:
        raise BadValue(f"{show(text)} is not a path to send on", _PATH_EXPECTED)
    return _check_template(text)


def _check_pointer(text: str) -> str:
    """Return a JSON Pointer (RFC 6901) or a dotted path, not the root's. Raises BadValue."""
    if not _POINTER.fullmatch(text):
        raise BadValue(f"{show(text)} names no part of a document", 'a pointer "/user/name" or a path "user.name"')
    return text


def _check_value(value: Any) -> Any:
    """Return a value whose texts are templates. Raises BadValue."""
    if isinstance(value, str):
        return _check_template(value)
    if isinstance(value, dict):
        return {name: _check_value(member) for name, member in value.items()}
    if isinstance(value, list):
        return [_check_value(element) for element in value]
    if isinstance(value, bool | int | float):
        return value
    raise BadValue(f"{show(value)} is no value of JSON", "a text, number, true, false, list or table")


TEMPLATE_VALIDATORS = (_check_template, _check_field_template, _check_path_template)
"""What makes a text a template; known to the reference."""
POINTER_VALIDATOR = _check_pointer

FieldTemplate = Annotated[str, AfterValidator(_check_field_template)]
Template = Annotated[str, AfterValidator(_check_template)]
PathTemplate = Annotated[str, AfterValidator(_check_path_template)]
Pointer = Annotated[str, AfterValidator(POINTER_VALIDATOR)]
Value = Annotated[Any, AfterValidator(_check_value)]


class HeaderChanges(Model):
    """Changes to header fields, in the order remove, rename, set, add.

    A field whose template lacks a value is left out.
    """

    remove: list[FieldName] = Field(default=[])
    """Names of fields removed."""
    rename: dict[FieldName, FieldName] = Field(default={})
    """Fields that get another name, beside others that have it."""
    set: dict[FieldName, FieldTemplate] = Field(default={})
    """Fields put in place of those of the same name."""
    add: dict[FieldName, FieldTemplate] = Field(default={})
    """Fields added."""


class QueryChanges(Model):
    """Changes to the parameters of the query, in the order remove, rename, set, add."""

    remove: list[Text] = Field(default=[])
    """Names of parameters removed."""
    rename: dict[Text, Text] = Field(default={})
    """Parameters that get another name."""
    set: dict[Text, Template] = Field(default={})
    """Parameters put in place of those of the same name."""
    add: dict[Text, Template] = Field(default={})
    """Parameters added."""


class BodyChanges(Model):
    """Changes to JSON content, in the order unwrap, remove, rename, set, wrap; "*" in a pointer is every element."""

    unwrap: Pointer | None = None
    """What takes the place of the document."""
    remove: list[Pointer] = Field(default=[])
    """Members and elements removed."""
    rename: dict[Pointer, Text] = Field(default={})
    """Members that get another name in the same object."""
    set: dict[Pointer, Value] = Field(default={})
    """Values set, any JSON; texts are templates, and objects on the way are made."""
    wrap: Text | None = None
    """Member of a new object that the document becomes."""
    most: Annotated[Size, Field(ge=1, le=16_000_000)] = 1024**2
    """Content at most: more gets 413 in a request."""


class AnswerBodyChanges(BodyChanges):
    """The same of answers, which are then not compressed."""

    on_error: Literal["refuse", "pass"] = "refuse"
    """An answer that says it is JSON and is not, is too long, or coded: 502, or passed on as it is."""


class RequestChanges(Model):
    """What becomes of requests on their way to a server."""

    headers: HeaderChanges = HeaderChanges()
    """Changes to header fields."""
    path: PathTemplate | None = None
    """Path sent on in place of the request's, a template."""
    query: QueryChanges = QueryChanges()
    """Changes to the query."""
    body: BodyChanges | None = None
    """Changes to JSON content; what is not JSON gets 400, another type of content passes."""


class AnswerChanges(Model):
    """What becomes of answers on their way to the client."""

    headers: HeaderChanges = HeaderChanges()
    """Changes to header fields; fields from templates are in answers of edgewise too."""
    body: AnswerBodyChanges | None = None
    """Changes to JSON content of servers, whatever the status."""


class Transform(Model):
    """Changes to requests and answers.

    Templates have {identity}, {consumer}, {groups}, {scopes}, {auth}, {claim:NAME}, {client_ip}, {request_id},
    {method}, {host}, {scheme}, {path}, {header:NAME}, {query:NAME} and the parameters of the route's path.
    """

    request: RequestChanges = RequestChanges()
    """Of requests, before filters see them."""
    response: AnswerChanges = AnswerChanges()
    """Of answers."""
