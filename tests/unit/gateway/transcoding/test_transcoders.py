"""Services made callable by HTTP: what keeps descriptors from being used, and what the statuses become."""

from __future__ import annotations

import json

import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorSet

from edgewise.contracts.transcoding import Untranslatable
from edgewise.gateway.transcoding.bindings import BoundCall
from edgewise.gateway.transcoding.sources import Fixed
from edgewise.gateway.transcoding.transcoder import Settings
from edgewise.http.head import plain_head
from edgewise.protocols.protobuf.descriptors import DescriptorError
from support.compiled_protos import descriptor_set

SERVICE = "edgewise.library.Library"


def changed(path: str, *, body: str | None = None, response_body: str = "") -> bytes:
    """Return the descriptors with another annotation of GetShelf."""
    from google.api import annotations_pb2

    found = FileDescriptorSet.FromString(descriptor_set())
    for one in found.file:
        for service in one.service:
            rule = service.method[0].options.Extensions[annotations_pb2.http]
            rule.get = path
            rule.body = body or ""
            rule.response_body = response_body
    return found.SerializeToString()


def without(name: str) -> bytes:
    """Return the descriptors without one of the files."""
    found = FileDescriptorSet.FromString(descriptor_set())
    kept = [one for one in found.file if one.name != name]
    return FileDescriptorSet(file=kept).SerializeToString()


@pytest.mark.parametrize(
    ("content", "services", "told"),
    [
        (b"\xff\xff", (), "no FileDescriptorSet"),
        (b"", (), "no method has google.api.http"),
        (descriptor_set(), ("no.Such",), "no service no.Such"),
        (without("every_type.proto"), (), "every_type.proto is missing"),
        (changed("v1"), (), "does not begin with /"),
        (changed("/v1/{nothing}"), (), "'nothing' is no field of edgewise.library.GetShelfRequest"),
        (changed("/v1/{name=shelves/*}/books"), (), "bound to another method too"),
        (changed("/v1/x", body="nothing"), (), "the body's field 'nothing' does not exist"),
        (changed("/v1/x", response_body="nothing"), (), "the response's field 'nothing' does not exist"),
    ],
)
def test_descriptors_that_cannot_be_used_are_refused_with_the_reason(
    content: bytes, services: tuple[str, ...], told: str
) -> None:
    with pytest.raises(DescriptorError, match=told):
        Fixed(content, services, Settings())


def test_files_that_come_with_the_packages_need_not_be_in_the_set() -> None:
    Fixed(without("google/protobuf/timestamp.proto"), (SERVICE,), Settings())
    Fixed(without("google/api/annotations.proto"), (SERVICE,), Settings())


def test_a_message_that_is_none_of_the_method_is_told_so() -> None:
    call = Fixed(descriptor_set(), (), Settings()).current.find(plain_head(b"GET", b"/v1/shelves/1"))
    assert isinstance(call, BoundCall)
    with pytest.raises(Untranslatable, match=r"edgewise\.library\.Shelf"):
        call.told(b"\xff")
    files = Fixed(descriptor_set(), (), Settings()).current.find(plain_head(b"GET", b"/v1/files/1"))
    assert isinstance(files, BoundCall)
    with pytest.raises(Untranslatable, match="content type"):
        files.told(b"\x0a\x04a\r\nb")


def test_statuses_without_a_text_or_a_known_code_are_told_too() -> None:
    transcoder = Fixed(descriptor_set(), (), Settings()).current
    bare = transcoder.failure(5, "", None)
    assert (bare.status, json.loads(bare.content)) == (404, {"code": 5, "message": "NOT_FOUND"})
    odd = transcoder.failure(77, "odd", b"\xff")
    assert (odd.status, odd.retry_after, json.loads(odd.content)) == (500, None, {"code": 77, "message": "odd"})
