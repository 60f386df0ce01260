"""The google.api.http option of methods: how each is called by HTTP (google/api/http.proto)."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from google.protobuf.descriptor import MethodDescriptor

_PATTERNS = ("get", "put", "post", "delete", "patch")


class Rule(NamedTuple):
    """One way to call a method."""

    verb: str
    """HTTP's method; "*" for any."""
    path: str
    body: str
    """The field that the content gives: "" for none, "*" for the whole message."""
    response_body: str
    """The field that the answer has; "" for the whole message."""


def rules_of(method: MethodDescriptor) -> list[Rule]:
    """Return the ways that a method's annotation has; none without one.

    The option is read anew from its bytes: the pool that the method came from knows it as an unknown field.
    """
    from google.api import annotations_pb2
    from google.protobuf.descriptor_pb2 import MethodOptions

    options = MethodOptions.FromString(method.GetOptions().SerializeToString())
    if not options.HasExtension(annotations_pb2.http):
        return []
    rule = options.Extensions[annotations_pb2.http]
    return [made for one in (rule, *rule.additional_bindings) if (made := _rule(one)) is not None]


def _rule(rule: object) -> Rule | None:
    kind = rule.WhichOneof("pattern")  # type: ignore[attr-defined]
    if kind is None:
        return None
    value = getattr(rule, kind)
    verb, path = (kind.upper(), value) if kind in _PATTERNS else (value.kind, value.path)
    return Rule(verb, path, rule.body, rule.response_body)  # type: ignore[attr-defined]
