"""One way to call a method by HTTP: from path, query and content to messages."""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from edgewise.contracts.policies import Denial, Refused
from edgewise.contracts.transcoding import Told
from edgewise.gateway.transcoding.answers import Answers
from edgewise.gateway.transcoding.http_rules import Rule
from edgewise.gateway.transcoding.parameters import Parameter, Query, find_parameter
from edgewise.gateway.transcoding.paths import Template, TemplateError, Variable, value_of
from edgewise.protocols.grpc import Kind, encode_message
from edgewise.protocols.protobuf.errors import InvalidValue
from edgewise.protocols.protobuf.messages import Field, Message
from edgewise.protocols.protobuf.wire import encode_delimited

HTTP_BODY = "google.api.HttpBody"
_MOST_LINES = 10_000
"""Messages in a stream that a client sends."""


class Method(NamedTuple):
    """A method of a service."""

    target: bytes
    """`/package.Service/Method`."""
    input: Message
    output: Message
    streams_in: bool
    streams_out: bool


class Binding:
    """A method with a rule."""

    def __init__(
        self, method: Method, rule: Rule, template: Template, ignored: frozenset[str], *, ignore_unknown: bool
    ) -> None:
        """Raises TemplateError where the rule does not fit the method's messages."""
        self.method = method
        self.rule = rule
        self.body: Field | None = None
        variables = [(variable, _parameter(method.input, variable.field, rule)) for variable in template.variables]
        self._variables: tuple[tuple[Variable, Parameter], ...] = tuple(variables)
        taken = {"*"} if rule.body == "*" else {parameter.name for _, parameter in variables}
        if rule.body and rule.body != "*":
            self.body = method.input.fields.get(rule.body)
            if self.body is None:
                raise TemplateError(f"{rule.path!r}: the body's field {rule.body!r} does not exist")
            taken.add(self.body.name)
        self._query = Query(method.input, frozenset(taken), ignored, ignore_unknown=ignore_unknown)
        kind = method.input if self.body is None else self.body.type
        self.raw = bool(rule.body) and isinstance(kind, Message) and kind.full_name == HTTP_BODY
        """Does the content pass as it is?"""
        self.answers = Answers(method.output, rule.response_body)

    def from_head(self, segments: list[str], query: str) -> bytes:
        """Return the part of the message that path and query give. Raises InvalidValue."""
        part = self._query.encode(query) if query else b""
        for variable, parameter in self._variables:
            try:
                part += parameter.encode(value_of(variable, segments))
            except UnicodeDecodeError:
                raise InvalidValue(f"{variable.field}: not UTF-8") from None
            except InvalidValue as error:
                error.within(variable.field)
                raise
        return part

    def from_json(self, content: bytes) -> bytes:
        """Return the part of the message that content gives. Raises InvalidValue."""
        try:
            value = msgspec.json.decode(content)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise InvalidValue(f"not JSON: {error}") from None
        except RecursionError:
            raise InvalidValue("JSON nested too deeply") from None
        return self.method.input.content(value) if self.body is None else self.body.write(value, 0)

    def from_bytes(self, content: bytes, content_type: bytes) -> bytes:
        """Return the same for content that passes as it is."""
        held = b"\x0a" + encode_delimited(content_type) if content_type else b""
        held += b"\x12" + encode_delimited(content)
        return held if self.body is None else self.body.tag + encode_delimited(held)


def _parameter(message: Message, path: str, rule: Rule) -> Parameter:
    parameter = find_parameter(message, path)
    if parameter is None or parameter.field.repeated:
        raise TemplateError(f"{rule.path!r}: {path!r} is no field of {message.full_name} that a path could give")
    return parameter


class BoundCall:
    """What a request calls (`contracts.transcoding.Call`)."""

    __slots__ = ("_binding", "_content_type", "_part", "_whole", "form", "takes_content", "target")

    def __init__(self, binding: Binding, part: bytes, content_type: bytes, form: Kind) -> None:
        self._binding = binding
        self._part = part
        """Of the message, what path and query give. Behind the content's it counts more."""
        self._content_type = content_type
        self._whole = b"" if binding.rule.body else encode_message(part)
        self.form = form
        self.target = binding.method.target
        self.takes_content = bool(binding.rule.body)

    def messages(self, content: bytes) -> bytes:
        """Return the framed messages. Raises Refused."""
        if not self.takes_content:
            if content.strip(b" \t\r\n"):
                raise Refused(Denial(400, "transcode", "The method takes no content."))
            return self._whole
        binding = self._binding
        try:
            if binding.raw:
                return encode_message(binding.from_bytes(content, self._content_type) + self._part)
            if not binding.method.streams_in:
                return encode_message((binding.from_json(content) if content else b"") + self._part)
            lines = content.split(b"\n", _MOST_LINES)
            if len(lines) > _MOST_LINES:
                raise InvalidValue("too many lines")
            parts = [binding.from_json(line) for line in lines if line.strip(b" \t\r")]
            return b"".join([encode_message(part + self._part) for part in parts])
        except InvalidValue as error:
            raise Refused(malformed(error)) from None

    def told(self, message: bytes) -> Told:
        """Return a message of the answer. Raises Untranslatable."""
        return self._binding.answers.told(message)


def malformed(error: InvalidValue) -> Denial:
    """Return what a client is told whose request makes no message."""
    return Denial(400, "transcode", f"The request does not fit the method: {error}")
