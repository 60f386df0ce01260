"""Request targets: normalised paths and validated authorities (RFC 3986 sections 3 and 6, RFC 9112 section 3.2)."""

from __future__ import annotations

import re
from ipaddress import IPv6Address
from urllib.parse import quote_from_bytes

_UNRESERVED = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
_ESCAPE = re.compile(rb"%[0-9A-Fa-f]{2}")
_BROKEN_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_ENCODED_SLASH = re.compile(rb"%(?:2[Ff]|5[Cc])")
_NORMAL = {b"%%%02X" % byte: bytes((byte,)) if byte in _UNRESERVED else b"%%%02X" % byte for byte in range(256)}

# The bytes of RFC 3986, and those that browsers send unencoded all the same (URL Standard, percent-encode sets): they
# delimit nothing, so encoding them cannot change what a target means.
_RAW_PATH = re.compile(rb"/[A-Za-z0-9\-._~!$&'()*+,;=:@/%\[\]^|]*+")
_RAW_QUERY = re.compile(rb"[A-Za-z0-9\-._~!$&'()*+,;=:@/?%\[\]^|`{}\\]*+")
_KEPT = "-._~!$&'()*+,;=:@/?%[]"

_AUTHORITY = re.compile(rb"([A-Za-z0-9_-]++(?:\.[A-Za-z0-9_-]++)*\.?|\[[0-9A-Fa-f:.]{2,45}\])(?::([1-9][0-9]{0,4}))?")
_LONGEST_HOST = 255


def normalise_path(path: bytes, allow_encoded_slash: bool = False) -> bytes:
    """Return `path` with unreserved escapes decoded, the others in upper case, and dot segments removed.

    Empty segments (`//`) are kept, since they may mean something to the origin. Applying it twice changes nothing
    (RFC 3986 sections 5.2.4 and 6.2.2). Raises ValueError on a broken escape, on %00, and, unless allowed, on %2F and
    %5C, which origins disagree about.
    """
    if b"%" in path:
        if _BROKEN_ESCAPE.search(path):
            raise ValueError("broken percent-encoding in the path")
        if b"%00" in path:
            raise ValueError("encoded NUL in the path")
        if not allow_encoded_slash and _ENCODED_SLASH.search(path):
            raise ValueError("encoded slash or backslash in the path")
        path = _ESCAPE.sub(_normal_escape, path)
    return _remove_dot_segments(path) if b"/." in path else path


def split_target(target: bytes) -> tuple[bytes, bytes | None]:
    """Split an origin-form target into path and query, each valid under RFC 3986; the path is not yet normalised.

    What browsers leave unencoded (`|` and `^`; in queries also a backslash, a backtick and braces) is encoded. Raises
    ValueError on any other byte outside the set, `#` and broken escapes included.
    """
    path, mark, query = target.partition(b"?")
    if not _RAW_PATH.fullmatch(path) or not _RAW_QUERY.fullmatch(query):
        raise ValueError("byte in the target that no URI may contain")
    if _BROKEN_ESCAPE.search(target):
        raise ValueError("broken percent-encoding in the target")
    return _encode_raw(path), _encode_raw(query) if mark else None


def split_authority(authority: bytes) -> tuple[bytes, int | None]:
    """Split `authority` into lower-case host, without trailing dot, and port (1 to 65535, None where not given).

    Hosts are names of letters, digits, `-`, `_` and dots, IPv4 addresses, or IPv6 addresses in brackets. Raises
    ValueError on anything else: userinfo, an empty host or port, escapes (RFC 3986 section 3.2, RFC 9110 section
    4.2.4).
    """
    match = _AUTHORITY.fullmatch(authority)
    if match is None:
        raise ValueError("malformed authority")
    host = match[1].lower()
    if host.startswith(b"["):
        IPv6Address(host[1:-1].decode("ascii"))  # AddressValueError is a ValueError
    elif len(host) > _LONGEST_HOST:
        raise ValueError("host name too long")
    port = None if match[2] is None else int(match[2])
    if port is not None and port > 65535:
        raise ValueError("port out of range")
    return host.removesuffix(b"."), port


def _normal_escape(match: re.Match[bytes]) -> bytes:
    return _NORMAL[match[0].upper()]


def _encode_raw(part: bytes) -> bytes:
    return quote_from_bytes(part, safe=_KEPT).encode("ascii")


def _remove_dot_segments(path: bytes) -> bytes:
    segments = path.split(b"/")
    kept: list[bytes] = []
    for segment in segments[1:]:
        if segment == b"..":
            del kept[-1:]
        elif segment != b".":
            kept.append(segment)
    if segments[-1] in (b".", b".."):
        kept.append(b"")
    return b"/" + b"/".join(kept)
