"""The .proto files of tests/support/protos, compiled by protoc as users would."""

from __future__ import annotations

import functools
import tempfile
from pathlib import Path

import google.api
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass
from grpc_tools import protoc

from edgewise.protocols.protobuf.descriptors import files_of, make_pool

FOLDER = Path(__file__).parent / "protos"
_COMMON = Path(next(iter(google.api.__path__))).parent.parent
_TOOLS = Path(protoc.__file__).parent / "_proto"


@functools.cache
def descriptor_set() -> bytes:
    """Return a FileDescriptorSet of all files, with what they import."""
    with tempfile.TemporaryDirectory() as directory:
        out = Path(directory) / "set.binpb"
        files = sorted(path.name for path in FOLDER.glob("*.proto"))
        paths = [f"-I{path}" for path in (FOLDER, _COMMON, _TOOLS)]
        assert protoc.main(["protoc", *paths, "--include_imports", f"--descriptor_set_out={out}", *files]) == 0
        return out.read_bytes()


@functools.cache
def pool() -> DescriptorPool:
    """Return the types of the set."""
    return make_pool(files_of(descriptor_set()))


@functools.cache
def message_class(full_name: str) -> type:
    """Return protobuf's own class of a message."""
    return GetMessageClass(pool().FindMessageTypeByName(full_name))
