"""Sets of file descriptors, as protoc and buf write them, to a pool of types; nothing is looked for elsewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from google.protobuf.descriptor_pb2 import FileDescriptorProto
    from google.protobuf.descriptor_pool import DescriptorPool


class DescriptorError(Exception):
    """The descriptors cannot be used; the text says why."""


def files_of(content: bytes) -> list[FileDescriptorProto]:
    """Return the files of a FileDescriptorSet. Raises DescriptorError."""
    from google.protobuf.descriptor_pb2 import FileDescriptorSet  # needed by those who transcode only
    from google.protobuf.message import DecodeError

    try:
        found = FileDescriptorSet.FromString(content)
    except DecodeError:
        raise DescriptorError(
            "no FileDescriptorSet: write one with protoc --include_imports -o, or buf build -o"
        ) from None
    return list(found.file)


def make_pool(files: Iterable[FileDescriptorProto]) -> DescriptorPool:
    """Return a pool that has the files, and of google.protobuf's what they need. Raises DescriptorError."""
    from google.protobuf.descriptor_pool import DescriptorPool

    pool = DescriptorPool()
    waiting = {one.name: one for one in files}
    for name in list(waiting):
        _add(pool, name, waiting, set())
    return pool


def _add(pool: DescriptorPool, name: str, waiting: dict[str, FileDescriptorProto], above: set[str]) -> None:
    """Add a file, those that it imports before it."""
    if name in above:
        raise DescriptorError(f"{name} imports itself")
    try:
        pool.FindFileByName(name)
        return
    except KeyError:
        pass
    one = waiting.get(name) or bundled(name)
    if one is None:
        raise DescriptorError(f"{name} is missing: write the set with --include_imports")
    for imported in one.dependency:
        _add(pool, imported, waiting, above | {name})
    try:
        pool.Add(one)
        pool.FindFileByName(name)
    except (TypeError, KeyError, ValueError) as error:
        raise DescriptorError(f"{name}: {error}") from None


def bundled(name: str) -> FileDescriptorProto | None:
    """Return a file that comes with the protobuf and googleapis-common-protos packages; None for any other."""
    from google.protobuf import descriptor_pool
    from google.protobuf.descriptor_pb2 import FileDescriptorProto

    common_types()
    try:
        found = descriptor_pool.Default().FindFileByName(name)
    except KeyError:
        return None
    return FileDescriptorProto.FromString(found.serialized_pb)


def common_types() -> DescriptorPool:
    """Return the pool that has what comes with those packages: google.rpc's details of errors and the like."""
    from google.api import annotations_pb2, httpbody_pb2
    from google.protobuf import (
        any_pb2,
        api_pb2,
        descriptor_pb2,
        descriptor_pool,
        duration_pb2,
        empty_pb2,
        field_mask_pb2,
        source_context_pb2,
        struct_pb2,
        timestamp_pb2,
        type_pb2,
        wrappers_pb2,
    )
    from google.rpc import error_details_pb2, status_pb2

    assert all((
        annotations_pb2, httpbody_pb2, any_pb2, api_pb2, descriptor_pb2, duration_pb2, empty_pb2, field_mask_pb2,
        source_context_pb2, struct_pb2, timestamp_pb2, type_pb2, wrappers_pb2, error_details_pb2, status_pb2,
    ))  # fmt: skip
    return descriptor_pool.Default()
