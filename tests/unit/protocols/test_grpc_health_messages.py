"""grpc.health.v1 messages against the ones that protocol buffers make."""

from __future__ import annotations

import contextlib

import pytest
from grpc_health.v1 import health_pb2
from hypothesis import given
from hypothesis import strategies as st

from edgewise.protocols.errors import ProtocolError
from edgewise.protocols.grpc_health import Serving, decode_serving, encode_check


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=300))
def test_a_request_is_what_the_library_makes(service: str) -> None:
    assert encode_check(service) == health_pb2.HealthCheckRequest(service=service).SerializeToString()


@pytest.mark.parametrize("status", list(Serving))
def test_a_response_is_read_as_the_library_wrote_it(status: Serving) -> None:
    written = health_pb2.HealthCheckResponse(status=status.value).SerializeToString()
    assert decode_serving(written) == status


@pytest.mark.parametrize(
    ("message", "status"),
    [
        (b"\x08\x01\x08\x02", Serving.NOT_SERVING),
        (b"\x08\x81\x00", Serving.SERVING),
        (b"\x08\x09", Serving.UNKNOWN),
        (b"\x08" + b"\xff" * 9 + b"\x01", Serving.UNKNOWN),
        (b"\x10\x07\x1a\x02ab\x25abcd\x29abcdefgh\x08\x01", Serving.SERVING),
        (b"\x0a\x01\x01\x08\x01", Serving.SERVING),
    ],
)
def test_the_last_status_counts_and_other_fields_are_skipped(message: bytes, status: Serving) -> None:
    assert decode_serving(message) == status


@pytest.mark.parametrize(
    "message",
    [b"\x08", b"\x08\x80", b"\x08" + b"\xff" * 10, b"\x00\x01", b"\x1a\x05ab", b"\x25abc", b"\x29a", b"\x0b", b"\x0f"],
)
def test_what_is_no_message_is_refused(message: bytes) -> None:
    with pytest.raises(ProtocolError):
        decode_serving(message)


@given(st.binary(max_size=40))
def test_any_bytes_are_a_status_or_refused(message: bytes) -> None:
    with contextlib.suppress(ProtocolError):
        assert decode_serving(message) in Serving
