"""The types of configuration values: what the schema's fields accept and become."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    ValidationInfo,
    WithJsonSchema,
)

from edgewise.config.addresses import check_listen, check_server
from edgewise.config.patterns import (
    check_certificate_name,
    check_host,
    check_path,
    check_prefix,
    check_redirect,
    check_rewrite,
)
from edgewise.config.values import (
    check_csrf,
    check_field_name,
    check_field_value,
    check_hash_key,
    check_import_path,
    check_link,
    check_method,
    check_name,
    check_retry_condition,
    check_srv,
    check_status_range,
    check_token,
    check_url,
    parse_age,
    parse_duration,
    parse_network,
    parse_size,
)


class Model(BaseModel):
    """Base of every table: unknown keys are errors, values are never converted silently, nothing changes later."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


def _file_name(text: str, info: ValidationInfo) -> str:
    """Return a relative file name joined to the directory of the configuration file."""
    directory = (info.context or {}).get("directory")
    return str(Path(directory) / text) if directory else text


def _log_path(text: str, info: ValidationInfo) -> str:
    return text if text in ("off", "stdout") else _file_name(text, info)


FILE_VALIDATORS = (_file_name, _log_path)
"""What makes a text a file name; known to the reference."""


def list_or_one(value: Any) -> str:
    """Tell the kinds of value apart that one field accepts, so that mistakes are reported for the kind meant."""
    return "<list>" if isinstance(value, list | tuple) else "<one>"


_DURATION_SCHEMA = WithJsonSchema(
    {"anyOf": [{"type": "string", "pattern": r"^[0-9]+(\.[0-9]+)?(ms|s|m|h)$"}, {"type": "number", "minimum": 0}]}
)
_SIZE_SCHEMA = WithJsonSchema(
    {"anyOf": [{"type": "string", "pattern": "^[0-9]+(B|KB|KiB|MB|MiB|GB|GiB)$"}, {"type": "integer", "minimum": 0}]}
)

_AGE_SCHEMA = WithJsonSchema(
    {"anyOf": [{"type": "string", "pattern": "^[0-9]+(s|m|h|d|w|y)$"}, {"type": "integer", "minimum": 0}]}
)

Duration = Annotated[float, BeforeValidator(parse_duration), _DURATION_SCHEMA]
"""Seconds, 0 allowed."""
Age = Annotated[int, BeforeValidator(parse_age), _AGE_SCHEMA]
"""Seconds, 0 allowed; written in units up to years."""
PositiveDuration = Annotated[Duration, Field(gt=0)]
Size = Annotated[int, BeforeValidator(parse_size), _SIZE_SCHEMA]
"""Bytes, 0 allowed."""
Count = Annotated[int, Field(ge=0)]
PositiveCount = Annotated[int, Field(ge=1)]
Port = Annotated[int, Field(ge=1, le=65535)]
Share = Annotated[float, Field(gt=0, le=1)]

Text = Annotated[str, Field(min_length=1)]
HttpsUrl = Annotated[str, AfterValidator(check_url)]
FileName = Annotated[str, Field(min_length=1), AfterValidator(_file_name)]
LogPath = Annotated[str, Field(min_length=1), AfterValidator(_log_path)]
ListenAddress = Annotated[str, AfterValidator(check_listen)]
ServerAddress = Annotated[str, AfterValidator(check_server)]
Network = Annotated[str, AfterValidator(parse_network)]
Name = Annotated[str, AfterValidator(check_name)]
Token = Annotated[str, AfterValidator(check_token)]
FieldName = Annotated[str, AfterValidator(check_field_name)]
FieldValue = Annotated[str, AfterValidator(check_field_value)]
Method = Annotated[str, AfterValidator(check_method)]
Link = Annotated[str, AfterValidator(check_link)]
CsrfCheck = Annotated[
    bool | Literal["token"], BeforeValidator(check_csrf, json_schema_input_type=bool | Literal["token"])
]
HashKey = Annotated[str, AfterValidator(check_hash_key)]
ImportPath = Annotated[str, AfterValidator(check_import_path)]
SrvName = Annotated[str, AfterValidator(check_srv)]
HostName = Annotated[str, AfterValidator(check_host)]
CertificateName = Annotated[str, AfterValidator(check_certificate_name)]
PathPattern = Annotated[str, AfterValidator(check_path)]
PathPrefix = Annotated[str, AfterValidator(check_prefix)]
Rewrite = Annotated[str, AfterValidator(check_rewrite)]
RedirectTarget = Annotated[str, AfterValidator(check_redirect)]
Fields = dict[FieldName, FieldValue]

_INTEGER_OR_TEXT = WithJsonSchema({"type": ["integer", "string"]})
StatusRange = Annotated[int | str, BeforeValidator(check_status_range), _INTEGER_OR_TEXT]
RetryCondition = Annotated[int | str, BeforeValidator(check_retry_condition), _INTEGER_OR_TEXT]

HostPatterns = Annotated[
    Annotated[HostName, Tag("<one>")] | Annotated[list[HostName], Field(min_length=1), Tag("<list>")],
    Discriminator(list_or_one),
]
PathPatterns = Annotated[
    Annotated[PathPattern, Tag("<one>")] | Annotated[list[PathPattern], Field(min_length=1), Tag("<list>")],
    Discriminator(list_or_one),
]
Methods = Annotated[
    Annotated[Method, Tag("<one>")] | Annotated[list[Method], Field(min_length=1), Tag("<list>")],
    Discriminator(list_or_one),
]
