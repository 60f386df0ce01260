"""Messages of grpc.health.v1 (the gRPC project's health-checking document), in the wire format of protocol buffers.

Two messages of one field each do not need a library: a request is `string service = 1`, a response
`ServingStatus status = 1`.
"""

from __future__ import annotations

from enum import IntEnum

from edgewise.protocols.errors import ProtocolError

CHECK_PATH = b"/grpc.health.v1.Health/Check"
"""Target of the unary call."""


class Serving(IntEnum):
    """HealthCheckResponse.ServingStatus."""

    UNKNOWN = 0
    SERVING = 1
    NOT_SERVING = 2
    SERVICE_UNKNOWN = 3


_SERVICE_KEY = b"\x0a"
"""Field 1, length-delimited."""
_STATUS_FIELD = 1
_VARINT, _FIXED64, _DELIMITED, _FIXED32 = 0, 1, 2, 5
_LONGEST_VARINT = 10


def encode_check(service: str) -> bytes:
    """Return a HealthCheckRequest; the empty name asks for the server as a whole."""
    name = service.encode()
    return _SERVICE_KEY + _encode_varint(len(name)) + name if name else b""


def decode_serving(message: bytes) -> Serving:
    """Return the status in a HealthCheckResponse; UNKNOWN where it says none, or one that this version does not know.

    Fields that later versions may add are skipped. Raises ProtocolError 502 for bytes that are no such message.
    """
    status, at = 0, 0
    while at < len(message):
        key, at = _varint(message, at)
        field, wire_type = key >> 3, key & 7
        if not field:
            raise ProtocolError(502, "malformed health response")
        if field == _STATUS_FIELD and wire_type == _VARINT:
            status, at = _varint(message, at)  # the last of several counts
        else:
            at = _skip(message, at, wire_type)
    return Serving(status) if status <= Serving.SERVICE_UNKNOWN else Serving.UNKNOWN


def _skip(message: bytes, at: int, wire_type: int) -> int:
    if wire_type == _VARINT:
        return _varint(message, at)[1]
    if wire_type == _DELIMITED:
        size, at = _varint(message, at)
    elif wire_type in (_FIXED64, _FIXED32):
        size = 8 if wire_type == _FIXED64 else 4
    else:
        raise ProtocolError(502, "malformed health response")
    if size > len(message) - at:
        raise ProtocolError(502, "malformed health response")
    return at + size


def _encode_varint(number: int) -> bytes:
    encoded = bytearray()
    while number > 0x7F:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)


def _varint(message: bytes, at: int) -> tuple[int, int]:
    """Return the number at `at` and where it ends."""
    number = 0
    for index, byte in enumerate(message[at : at + _LONGEST_VARINT]):
        number |= (byte & 0x7F) << 7 * index
        if byte < 0x80:
            return number, at + index + 1
    raise ProtocolError(502, "malformed health response")
