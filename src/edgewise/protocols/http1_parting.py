"""Parts a response head into lines that a server sends again and again and those that differ from answer to answer.

A head that is declined is no verdict: the parser accepts or refuses it.
"""

from __future__ import annotations

from typing import NamedTuple

from edgewise.protocols.http1_fields import CHECKED

_OTHERS = frozenset((
    b"age", b"etag", b"expires", b"last-modified", b"location", b"server-timing", b"set-cookie", b"traceparent",
    b"x-request-id", b"x-response-time", b"x-runtime", b"x-trace-id",
))  # fmt: skip
OWN = _OTHERS | {b"date", b"content-length"}
"""Names of fields that differ from answer to answer, and say nothing to a proxy but how long the content is."""
_OTHER, _DATE, _LENGTH = 1, 2, 3
_KINDS = {
    **dict.fromkeys((*_OTHERS, *map(bytes.title, _OTHERS), b"ETag", b"X-Request-ID"), _OTHER),
    **dict.fromkeys((b"date", b"Date"), _DATE),
    **dict.fromkeys((b"content-length", b"Content-Length"), _LENGTH),
}
"""The same as they are spelled: in lower case, or as usual."""
_MOST_LINES = 100
_MOST_DIGITS = 18

DATE = b"Date: 0\r\n"
LENGTH = b"Content-Length: 1\r\n"


class Parted(NamedTuple):
    """A response head in parts."""

    model: bytes
    """The head with DATE in place of its own lines, and LENGTH after it where one tells the length."""
    own: bytes
    """Its own lines as they are to be sent on."""
    length: int
    """Content length in bytes; -1 where no field tells."""


def part(head: bytes) -> Parted | None:
    """Part a response head; None for one without Date, or with a line of its own that is not as it would be sent on."""
    shared: list[bytes] = []
    own: list[bytes] = []
    length = b""
    dated = False
    lines = head.split(b"\r\n")
    for line in lines:
        name, _, value = line.partition(b": ")
        kind = _KINDS.get(name, 0)
        if not kind:
            shared.append(line)
        elif not value or value[0] <= 0x20 or value[-1] <= 0x20:
            return None
        elif kind == _LENGTH:
            if length or not value.isdigit() or len(value) > _MOST_DIGITS:
                return None
            length = value
        else:
            dated = dated or kind == _DATE
            own.append(line)
    text = b"".join(own)
    if not dated or text.translate(CHECKED) != text or shared[-2:] != [b"", b""] or len(lines) > _MOST_LINES:
        return None
    shared[-2:] = [DATE]
    if not length:
        return Parted(b"\r\n".join(shared) + b"\r\n", b"\r\n".join(own) + b"\r\n", -1)
    own.append(b"Content-Length: %b\r\n" % length)
    return Parted(b"%b%b\r\n" % (b"\r\n".join(shared), LENGTH), b"\r\n".join(own), int(length))
