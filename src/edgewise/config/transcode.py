"""The table of JSON over HTTP for servers that speak gRPC."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from edgewise.config.types import FileName, Model, PositiveDuration, Size, Text

MOST = 64 * 1024**2
"""Bytes of a message at most."""


class Transcode(Model):
    """JSON over HTTP for servers that speak gRPC: requests become calls, as the methods' google.api.http says.

    Clients that speak gRPC themselves pass as ever. What is known of the services comes from a file, or is asked of the
    servers.
    """

    descriptors: FileName | None = None
    """FileDescriptorSet with all that it imports: `protoc --include_imports -o`, `buf build -o`."""
    reflection: bool = False
    """Ask the servers (grpc.reflection.v1, else v1alpha), in place of a file."""
    refresh: Annotated[PositiveDuration, Field(ge=1)] = 300.0
    """How often servers are asked again; also soon after a request for something unknown."""
    services: list[Text] = Field(default=[])
    """Full names of the services; none: all that there are."""
    unannotated: bool = False
    """Bind methods without google.api.http to a POST of `/package.Service/Method`."""
    original_names: bool = False
    """Write names of fields as the schema has them and not in camel case; both are read."""
    print_defaults: bool = False
    """Write fields without presence that have their default, and empty lists and maps."""
    enums_as_numbers: bool = False
    """Write numbers in place of names."""
    ignore_unknown_fields: bool = False
    """Leave out what the message does not have of a request's JSON, in place of a refusal (400)."""
    ignore_unknown_parameters: bool = False
    """The same of a query."""
    ignored_parameters: list[Text] = Field(default=[])
    """Parameters of queries that are no fields, such as `key`."""
    request_limit: Annotated[Size, Field(ge=1, le=MOST)] = 4 * 1024**2
    """Content of a request at most; it is read whole before a server is asked."""
    response_limit: Annotated[Size, Field(ge=1, le=MOST)] = 4 * 1024**2
    """Each message of a server at most."""
