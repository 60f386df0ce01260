"""What all of JOSE is written in: base64url in its one form (RFC 7515 section 2), and JSON that says nothing twice."""

from __future__ import annotations

import base64
import binascii
from json import JSONDecoder
from typing import Any

import msgspec

_STANDARD = bytes.maketrans(b"-_+/=", b"+/!!!")
"""To the alphabet that is read below; what is not of base64url is made something that is of none."""
_PADDING = (b"", b"!", b"==", b"=")
"""By the length modulo 4; of 1 there is no text."""
_ALPHABET = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
_LAST = (_ALPHABET, b"", _ALPHABET[::16], _ALPHABET[::4])
"""By the length modulo 4, the letters that may be last: the bits that are of no byte are zero."""


def base64url(data: bytes) -> bytes:
    """Return data as base64url without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=")


def decoded(text: bytes) -> bytes | None:
    """Return the bytes of base64url in its one shortest form, so that nothing can be written in two ways; else None."""
    over = len(text) & 3
    if text and text[-1] not in _LAST[over]:
        return None
    try:
        return binascii.a2b_base64(text.translate(_STANDARD) + _PADDING[over], strict_mode=True)
    except binascii.Error:
        return None


def json_object(data: bytes) -> dict[str, Any]:
    """Return the object that `data` writes in UTF-8 (RFC 8259), each of its members once, at any depth.

    A member said twice would be read by some as the first and by others as the last (RFC 7519 section 4). Raises
    ValueError, also for NaN, Infinity and what is nested too deeply.
    """
    try:
        members = _decode(data)
        if _encode(members) != data:  # as most issuers write it, nothing can stand there twice
            _exact.decode(data.decode())
    except RecursionError:
        raise ValueError("nested too deeply") from None
    except msgspec.MsgspecError:
        raise ValueError("no JSON object") from None
    return members


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a member stands there twice")
    return members


_decode = msgspec.json.Decoder(dict[str, Any]).decode
_encode = msgspec.json.Encoder().encode
_exact = JSONDecoder(object_pairs_hook=_members)
