"""Frames of HTTP/2: their layout, their codes and what may be wrong with one (RFC 9113 sections 4, 6 and 7)."""

from __future__ import annotations

import struct

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
"""What a client sends first (section 3.4)."""

# Frame types (section 6).
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)

# Flags; ACK has the bit of END_STREAM.
ACK = END_STREAM = 0x1
END_HEADERS = 0x4
PADDED = 0x8
PRIORITISED = 0x20

# Error codes (section 7).
(
    NO_ERROR, PROTOCOL_ERROR, INTERNAL_ERROR, FLOW_CONTROL_ERROR, SETTINGS_TIMEOUT, STREAM_CLOSED, FRAME_SIZE_ERROR,
    REFUSED_STREAM, CANCEL, COMPRESSION_ERROR, CONNECT_ERROR, ENHANCE_YOUR_CALM, INADEQUATE_SECURITY, HTTP_1_1_REQUIRED,
) = range(14)  # fmt: skip

# Settings (section 6.5.2, RFC 9218 section 2.1).
HEADER_TABLE_SIZE, ENABLE_PUSH, MAX_CONCURRENT_STREAMS, INITIAL_WINDOW_SIZE, MAX_FRAME_SIZE, MAX_HEADER_LIST_SIZE = (
    range(1, 7)
)
NO_RFC7540_PRIORITIES = 9

MOST = 2**31 - 1
"""The largest stream identifier and the largest window."""
FIRST_WINDOW = 65535
"""Every window before a peer said otherwise (section 6.9.2)."""
SMALLEST_FRAME = 16384
"""What every peer takes as a frame's payload (section 4.2)."""
_LARGEST_FRAME = 2**24 - 1

HEADER_SIZE = 9
_HEADER = struct.Struct(">LBL")
pack_header = _HEADER.pack
"""Frame header of (length << 8 | type, flags, stream identifier)."""
unpack_header = _HEADER.unpack_from
"""The inverse of `pack_header`; the identifier still has its reserved bit."""
_SETTING = struct.Struct(">HL")
_UINT32 = struct.Struct(">L")
_PRIORITY_SIZE = 5


class ConnectionFault(Exception):
    """The peer broke the protocol in a way that ends the connection (section 5.4.1)."""

    def __init__(self, code: int, detail: str) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail


class StreamFault(Exception):
    """The peer broke the protocol in a way that ends one stream (section 5.4.2)."""

    def __init__(self, code: int, detail: str) -> None:
        super().__init__(detail)
        self.code = code


def frame(kind: int, flags: int, stream_id: int, payload: bytes = b"") -> bytes:
    """Return a whole frame."""
    return pack_header(len(payload) << 8 | kind, flags, stream_id) + payload


def reset_frame(stream_id: int, code: int) -> bytes:
    """Return RST_STREAM (section 6.4)."""
    return frame(RST_STREAM, 0, stream_id, _UINT32.pack(code))


def window_frame(stream_id: int, increment: int) -> bytes:
    """Return WINDOW_UPDATE (section 6.9)."""
    return frame(WINDOW_UPDATE, 0, stream_id, _UINT32.pack(increment))


def goaway_frame(last_stream_id: int, code: int, detail: bytes = b"") -> bytes:
    """Return GOAWAY (section 6.8)."""
    return frame(GOAWAY, 0, 0, _UINT32.pack(last_stream_id) + _UINT32.pack(code) + detail)


def settings_frame(settings: dict[int, int]) -> bytes:
    """Return SETTINGS (section 6.5)."""
    return frame(SETTINGS, 0, 0, b"".join([_SETTING.pack(*item) for item in settings.items()]))


SETTINGS_ACK = frame(SETTINGS, ACK, 0)


def parse_settings(payload: bytes) -> dict[int, int]:
    """Return the last value of each setting in the payload of SETTINGS (section 6.5.2)."""
    if len(payload) % _SETTING.size:
        raise ConnectionFault(FRAME_SIZE_ERROR, "SETTINGS is no whole number of settings")
    settings: dict[int, int] = {}
    for name, value in _SETTING.iter_unpack(payload):
        if name == ENABLE_PUSH and value > 1:
            raise ConnectionFault(PROTOCOL_ERROR, "ENABLE_PUSH is neither 0 nor 1")
        if name == INITIAL_WINDOW_SIZE and value > MOST:
            raise ConnectionFault(FLOW_CONTROL_ERROR, "INITIAL_WINDOW_SIZE above the largest window")
        if name == MAX_FRAME_SIZE and not SMALLEST_FRAME <= value <= _LARGEST_FRAME:
            raise ConnectionFault(PROTOCOL_ERROR, "MAX_FRAME_SIZE outside its range")
        settings[name] = value
    return settings


def parse_uint32(payload: bytes, what: str) -> int:
    """Return the number that is all of a frame's payload: an error code or a window's increment."""
    if len(payload) != _UINT32.size:
        raise ConnectionFault(FRAME_SIZE_ERROR, what + " is not 4 bytes long")
    return int.from_bytes(payload, "big")


def without_padding(payload: bytes) -> bytes:
    """Return the payload of a PADDED frame without its length byte and padding (section 6.1)."""
    if not payload:
        raise ConnectionFault(FRAME_SIZE_ERROR, "PADDED frame without the length of its padding")
    end = len(payload) - payload[0]
    if end < 1:
        raise ConnectionFault(PROTOCOL_ERROR, "padding longer than its frame")
    return payload[1:end]


def header_block(flags: int, stream_id: int, payload: bytes) -> bytes:
    """Return the header block in the payload of a PADDED or PRIORITISED HEADERS frame (section 6.2)."""
    if flags & PADDED:
        payload = without_padding(payload)
    if flags & PRIORITISED:
        if len(payload) < _PRIORITY_SIZE:
            raise ConnectionFault(FRAME_SIZE_ERROR, "HEADERS too short for its priority")
        check_priority(stream_id, payload)
        payload = payload[_PRIORITY_SIZE:]
    return payload


def check_priority(stream_id: int, payload: bytes) -> None:
    """Refuse a stream that depends on itself (RFC 7540 section 5.3.1); else priorities mean nothing any more."""
    if _UINT32.unpack_from(payload)[0] & MOST == stream_id:
        raise ConnectionFault(PROTOCOL_ERROR, "stream depends on itself")


def check_priority_frame(stream_id: int, payload: bytes) -> None:
    """Check a PRIORITY frame (section 6.3)."""
    if not stream_id:
        raise ConnectionFault(PROTOCOL_ERROR, "PRIORITY on stream 0")
    if len(payload) != _PRIORITY_SIZE:
        raise StreamFault(FRAME_SIZE_ERROR, "PRIORITY is not 5 bytes long")
    check_priority(stream_id, payload)
