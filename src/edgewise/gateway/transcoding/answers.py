"""Messages and statuses of servers, as clients of JSON get them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from edgewise.contracts.transcoding import Failure, Told, Untranslatable
from edgewise.gateway.transcoding.paths import TemplateError
from edgewise.protocols.grpc import Status, status_name
from edgewise.protocols.protobuf.errors import MalformedMessage
from edgewise.protocols.protobuf.messages import Field, MapField, Message
from edgewise.protocols.protobuf.wire import DELIMITED, fields_of

if TYPE_CHECKING:
    from edgewise.protocols.protobuf.types import Types

_JSON = b"application/json"
_BINARY = b"application/octet-stream"
_HTTP_BODY = "google.api.HttpBody"
_CONTENT_TYPE, _DATA = 1 << 3 | DELIMITED, 2 << 3 | DELIMITED
_encoder = msgspec.json.Encoder()

HTTP_STATUSES = {
    Status.OK: 200,
    Status.CANCELLED: 499,
    Status.UNKNOWN: 500,
    Status.INVALID_ARGUMENT: 400,
    Status.DEADLINE_EXCEEDED: 504,
    Status.NOT_FOUND: 404,
    Status.ALREADY_EXISTS: 409,
    Status.PERMISSION_DENIED: 403,
    Status.RESOURCE_EXHAUSTED: 429,
    Status.FAILED_PRECONDITION: 400,
    Status.ABORTED: 409,
    Status.OUT_OF_RANGE: 400,
    Status.UNIMPLEMENTED: 501,
    Status.INTERNAL: 500,
    Status.UNAVAILABLE: 503,
    Status.DATA_LOSS: 500,
    Status.UNAUTHENTICATED: 401,
}
"""The table of google/rpc/code.proto."""
_RETRY_INFO = "google.rpc.RetryInfo"


class Answers:
    """What becomes of the messages that a method returns."""

    def __init__(self, output: Message, response_body: str) -> None:
        """`response_body`: the field that the answer has, "" for all. Raises TemplateError where there is none."""
        self._output = output
        self._field: Field | None = None
        self._raw = output.full_name == _HTTP_BODY
        if not response_body:
            return
        self._field = output.fields.get(response_body)
        if self._field is None:
            raise TemplateError(f"the response's field {response_body!r} does not exist")
        kind = self._field.type
        self._raw = isinstance(kind, Message) and kind.full_name == _HTTP_BODY and not self._field.repeated
        self._nothing = nothing_of(self._field)

    def told(self, message: bytes) -> Told:
        """Return a message in JSON, or what is in it where it is an HttpBody. Raises Untranslatable."""
        try:
            if self._raw:
                return self._body(message)
            value = self._output.json(message)
        except (MalformedMessage, IndexError) as error:
            raise Untranslatable(f"{self._output.full_name}: {error}") from None
        if self._field is not None and isinstance(value, dict):
            value = value.get(self._field.name, self._nothing)
        return Told(_JSON, _encoder.encode(value))

    def _body(self, message: bytes) -> Told:
        start, stop = 0, len(message)
        if self._field is not None:
            start = stop = 0
            wanted = self._field.number << 3 | DELIMITED
            for tag, begin, end in fields_of(message, 0, len(message)):
                if tag == wanted:
                    start, stop = begin, end
        content_type, data = _BINARY, b""
        for tag, begin, end in fields_of(message, start, stop):
            if tag == _CONTENT_TYPE:
                content_type = message[begin:end]
            elif tag == _DATA:
                data = message[begin:end]
        if content_type.translate(None, _PRINTABLE):
            raise MalformedMessage("a content type that no field can have")
        return Told(content_type or _BINARY, data, raw=True)


_PRINTABLE = bytes(range(0x20, 0x7F))


def nothing_of(field: Field) -> object:
    """Return what JSON has in place of a field that is not there."""
    if isinstance(field, MapField):
        return {}
    if field.repeated:
        return []
    kind = field.type
    return {} if isinstance(kind, Message) and not kind.special else kind.default


class Failures:
    """Statuses of calls, with what servers say of them."""

    def __init__(self, types: Types) -> None:
        self._status = types.find("google.rpc.Status")

    def failure(self, status: int, text: str, details: bytes | None) -> Failure:
        """Return a status as the client gets it; details that cannot be read are left out."""
        told: dict[str, object] = {"code": status, "message": text or status_name(status)}
        found = self._details(details) if details else []
        if found:
            told["details"] = found
        code = HTTP_STATUSES.get(Status(status), 500) if status <= Status.UNAUTHENTICATED else 500
        return Failure(code, _retry_after(found), _encoder.encode(told))

    def _details(self, details: bytes) -> list[object]:
        if self._status is None:
            return []
        try:
            read = self._status.json(details)
        except MalformedMessage:
            return []
        found = read.get("details") if isinstance(read, dict) else None
        return found if isinstance(found, list) else []


def _retry_after(details: list[object]) -> int | None:
    """Return the whole seconds of google.rpc.RetryInfo."""
    for one in details:
        if isinstance(one, dict) and str(one.get("@type", "")).rpartition("/")[2] == _RETRY_INFO:
            delay = one.get("retryDelay", one.get("retry_delay", "0s"))
            whole, _, fraction = str(delay)[:-1].partition(".")
            return max(0, int(whole) + (1 if fraction.strip("0") else 0))
    return None
