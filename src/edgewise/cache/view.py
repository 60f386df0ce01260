"""What clients are told of an answer that is kept, where that is not what its server said."""

from __future__ import annotations

import re

from edgewise.cache.stored import Stored
from edgewise.contracts.coded_heads import coded_lines, covered
from edgewise.contracts.compression import Compression
from edgewise.http.head import Field

_LIFETIME = re.compile(rb"\b((?:s-maxage|max-age)=)([0-9]+)", re.IGNORECASE)
_REPLACED = (b"cache-control", b"expires", b"pragma")
"""Fields that the word of the route takes the place of (RFC 9111 sections 5.2, 5.3 and 5.4)."""


class BrowserPolicy:
    """A Cache-Control that counts from the moment an answer goes out.

    Age and Date stay what they are, and whoever reads them counts from the answer's birth (RFC 9111 section 4.2.3): so
    its age is added to what the route allows, or an answer older than its `max-age` would be stale on arrival.
    """

    __slots__ = ("_seconds", "_template", "text")

    def __init__(self, text: bytes) -> None:
        self.text = text
        self._seconds = tuple(int(found[2]) for found in _LIFETIME.finditer(text))
        self._template = b"Cache-Control: %b\r\n" % _LIFETIME.sub(rb"\1%d", text.replace(b"%", b"%%"))

    def line(self, age: int) -> bytes:
        """Return the field line for an answer of that age in seconds."""
        return self._template % tuple(seconds + age for seconds in self._seconds)


class View:
    """How the clients of one route see what it keeps. An object is prepared once; another view prepares it anew.

    A policy is for answers that succeeded: what is told of a lasting asset must not make its 404 last.
    """

    __slots__ = ("_added", "_compression", "_hidden", "_policy")

    def __init__(
        self,
        policy: BrowserPolicy | None = None,
        hidden: tuple[bytes, ...] = (),
        compression: Compression | None = None,
        added: tuple[Field, ...] = (),
    ) -> None:
        """`hidden`: lower-case names of fields that are for the cache; `added` take the place of those so named."""
        self._policy = policy
        self._added = added
        self._hidden = hidden + tuple(field.name for field in added)
        self._compression = compression

    def show(self, stored: Stored) -> None:
        """Prepare what clients are told; answers that may be compressed vary, also where they are not."""
        stored.policy = self._policy if 200 <= stored.status < 300 else None
        left_out = self._hidden if stored.policy is None else self._hidden + _REPLACED
        fields = tuple(field for field in stored.fields if field.name not in left_out)
        length = stored.length if stored.head else -1
        if self._compression is not None and covered(self._compression, stored.status, fields, length):
            fields = _revised(fields, b"")
        stored.show(fields + self._added)


def show(stored: Stored, view: View | None) -> None:
    """Prepare what clients see of an object; without a view, all that its server said."""
    if view is None:
        stored.policy = None
        stored.show(stored.fields)
    else:
        view.show(stored)
    stored.view = view


def coded_form(stored: Stored, coding: bytes, content: bytes) -> Stored:
    """Return an object that stands beside `stored`, with its content in a coding; it has a weak tag of its own."""
    form = Stored(stored.status, stored.reason, _revised(stored.shown, coding))
    form.view, form.policy = stored.view, stored.policy
    form.received, form.date, form.born = stored.received, stored.date, stored.born
    form.fill(content)
    return form


def _revised(fields: tuple[Field, ...], coding: bytes) -> tuple[Field, ...]:
    """Return fields as compressing leaves them (`coded_lines`)."""
    known = {field.line: field for field in fields}
    lines = coded_lines([field.line for field in fields], coding)
    return tuple(known.get(line) or _parsed(line) for line in lines)


def _parsed(line: bytes) -> Field:
    name, _, value = line.partition(b":")
    return Field(name.lower(), value.strip(b" \t\r\n"), line)
