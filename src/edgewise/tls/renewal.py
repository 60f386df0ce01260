"""When a certificate is renewed, and how long to wait after a failure: pure functions of time."""

from __future__ import annotations

import hashlib
import random
import re
import time
from datetime import datetime

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from edgewise.tls.acme.jws import encode
from edgewise.tls.acme.messages import AcmeError

_LONGEST_BACKOFF = 12 * 3600.0
_SOONEST = 3600.0
"""Seconds between two renewals that a window asks for: one that lies in the past must not make a loop."""
_FASTER, _SLOWER = 60.0, 86400.0
"""Bounds of the time between two questions for a renewal window (RFC 9773 section 4.3.2)."""
_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,9})?(?:Z|[+-][0-9]{2}:[0-9]{2})")


def renew_at(certificate: x509.Certificate, issued: float, window: tuple[float, float] | None = None) -> float:
    """Return the Unix time at which to renew: somewhere in `window`, else soon after a third of the lifetime is left.

    The place within is drawn from the certificate itself: certificates made at once are not renewed at once, and a
    restart changes nothing. `issued` is when it came; whatever the authority says, the next one is ordered later.
    """
    digest = hashlib.sha256(certificate.public_bytes(Encoding.DER)).digest()
    place = int.from_bytes(digest[:8], "big") / 2**64
    if window is not None:
        return max(window[0] + place * (window[1] - window[0]), issued + _SOONEST)
    start, end = certificate.not_valid_before_utc.timestamp(), certificate.not_valid_after_utc.timestamp()
    third = (end - max(start, issued)) / 3
    return end - third + place * third / 10


def backoff(failures: int, first: float, asked: float | None = None) -> float:
    """Return seconds to wait after so many failures in a row; never less than the authority asked.

    With the default of a minute that is five tries in the first hour, which is what Let's Encrypt allows for a name.
    """
    wait = min(first * 3.0 ** min(failures - 1, 20), _LONGEST_BACKOFF) * random.uniform(1.0, 1.1)
    return max(wait, asked or 0.0)


def identifier(certificate: x509.Certificate) -> str | None:
    """Return the name of a certificate in renewal information: key identifier and serial (RFC 9773 section 4.1)."""
    try:
        authority = certificate.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value.key_identifier
    except x509.ExtensionNotFound:
        return None
    if authority is None:
        return None
    number = certificate.serial_number
    return f"{encode(authority)}.{encode(number.to_bytes(number.bit_length() // 8 + 1, 'big'))}"


def parse_window(start: str, end: str, again: float) -> tuple[float, float, float]:
    """Return (start, end, when to ask again) as Unix times. Raises AcmeError."""
    begins, ends = _moment(start), _moment(end)
    if ends < begins:
        raise AcmeError("the authority's window for renewal ends before it begins")
    return begins, ends, time.time() + min(max(again, _FASTER), _SLOWER)


def _moment(text: str) -> float:
    try:
        if not _TIME.fullmatch(text):
            raise ValueError
        return datetime.fromisoformat(text).timestamp()
    except ValueError:
        raise AcmeError(f"{text[:50]!r} is not a time (RFC 3339)") from None
