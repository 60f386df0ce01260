"""Where the transcoder of a route comes from: descriptors in a file, which change with the configuration only."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgewise.gateway.transcoding.http_rules import rules_of
from edgewise.gateway.transcoding.transcoder import PoolTranscoder, Settings
from edgewise.protocols.protobuf.descriptors import DescriptorError, files_of, make_pool

if TYPE_CHECKING:
    from google.protobuf.descriptor_pb2 import FileDescriptorProto

TOOLS = ("grpc.reflection.", "grpc.health.", "grpc.channelz.")
"""Packages whose services are no API."""


class Fixed:
    """A `contracts.transcoding.Transcoders` that has one and the same for good."""

    def __init__(self, content: bytes, services: tuple[str, ...], settings: Settings) -> None:
        """`content`: a FileDescriptorSet. Raises DescriptorError."""
        self._current = make_transcoder(files_of(content), services, settings)

    @property
    def current(self) -> PoolTranscoder:
        """The one."""
        return self._current

    def missed(self) -> None:
        """There is nothing else."""


def make_transcoder(files: list[FileDescriptorProto], services: tuple[str, ...], settings: Settings) -> PoolTranscoder:
    """Return the transcoder of services, none named: all that can be called. Raises DescriptorError."""
    pool = make_pool(files)
    if not services:
        names = [
            f"{one.package}.{service.name}".lstrip(".")
            for one in files
            if not f"{one.package}.".startswith(TOOLS)
            for service in one.service
        ]
        services = tuple(
            name for name in names if settings.unannotated or any(map(rules_of, pool.FindServiceByName(name).methods))
        )
        if not services:
            raise DescriptorError("no method has google.api.http, and `unannotated` is not set")
    return PoolTranscoder(pool, services, settings)
