"""Finds the file that a request asks for, in the form its client prefers."""

from __future__ import annotations

import os
from io import FileIO
from time import time
from typing import NamedTuple

from edgewise.contracts.files import Representation
from edgewise.contracts.plan import Answer
from edgewise.http.dates import format_date
from edgewise.http.head import FieldLines, RequestHead
from edgewise.http.media_types import TYPES, ending, media_type, shrinks, with_charset
from edgewise.http.negotiation import codings
from edgewise.http.preconditions import Conditions, conditions
from edgewise.static.kept import KeptFiles
from edgewise.static.listing import SECURITY_POLICY, page
from edgewise.static.paths import ROOT, Target, target
from edgewise.static.root import Opened, Root
from edgewise.static.settings import SUFFIXES, StaticSettings

_SMALL = 65536
"""Bytes up to which a file is read whole, sent in one write, and kept."""
_READS = 3
"""Times a file is read again that changes meanwhile."""
_COARSE_CLOCK = 2.0
"""Seconds within which a second change may leave the time of the first, where a file system counts whole seconds."""
_FINE_CLOCK = 0.02
"""The same where it counts nanoseconds: the kernel's clock does not tick more often."""
_MOST_LINES = 1024
"""Field lines of which is remembered what they ask for."""
_NOT_SNIFFED = (b"X-Content-Type-Options", b"nosniff")


class FileWanted(NamedTuple):
    """What a request asks for."""

    target: Target | None
    """None: no file can have the name."""
    location: bytes
    """Where it should have gone, were it a directory; b"" where it ends with a slash already."""
    path: bytes
    """The request's own path."""
    codings: tuple[bytes, ...]
    """Content codings the client takes and the route has, best first."""
    conditions: Conditions | None


class StaticFiles:
    """The files below one root."""

    def __init__(self, settings: StaticSettings) -> None:
        self.settings = settings
        self._root = Root(settings.root)
        self._kept = KeptFiles(settings.memory)
        self._asked: dict[FieldLines, tuple[tuple[bytes, ...], Conditions | None]] = {}

    def wanted(self, head: RequestHead, path: bytes) -> FileWanted:
        """Return what `head` asks for at `path`, the request's own or a rewritten one."""
        accepted, asked = self._asked_by(head)
        location = b""
        if not head.path.endswith(b"/"):
            location = b"/" + head.path.lstrip(b"/") + b"/"  # "//host/" would lead to that host
            location += b"" if head.query is None else b"?" + head.query
        return FileWanted(
            target(path, hidden=self.settings.hidden),
            location,
            head.path,
            accepted,
            asked,
        )

    def _asked_by(self, head: RequestHead) -> tuple[tuple[bytes, ...], Conditions | None]:
        """Return codings and conditions, which follow from the lines that many heads share: none is a secret."""
        lines = head.lines
        found = self._asked.get(lines)
        if found is None:
            accepted = b",".join(field.value for field in head.fields if field.name == b"accept-encoding")
            found = codings(accepted, self.settings.codings) if accepted else (), conditions(head)
            if lines.kept:
                if len(self._asked) >= _MOST_LINES:
                    self._asked.clear()
                self._asked[lines] = found
        return found

    def find(self, wanted: FileWanted, now: float) -> Representation | Answer | int:
        """Return the file, a redirect or a listing, or a status: 403 where it cannot be read, 404, 503."""
        asked = wanted.target
        try:
            if asked is None:
                return self._missing(wanted, now)
            if not asked.slash:
                kept = self._kept.get((asked.name, wanted.codings, 200), now)
                if kept is not None:
                    return kept
            opened = self._root.open(asked.name, now)
            if opened is None or (opened.file is not None and asked.slash):
                return self._missing(wanted, now)
            if opened.file is None:
                return self._directory(asked.name, wanted, now)
            return self._represent(asked.name, opened.file, wanted.codings, now)
        except PermissionError:
            return 403
        except OSError:  # descriptors or memory ran out, the root is gone, the disk fails
            return 503

    def _directory(self, name: bytes, wanted: FileWanted, now: float) -> Representation | Answer | int:
        if wanted.location:
            return Answer(308, ((b"Location", wanted.location),), b"")
        for index in self.settings.index:
            found = self._page(index if name == ROOT else name + b"/" + index, wanted, now)
            if found is not None:
                return found
        if not self.settings.listing:
            return self._missing(wanted, now)
        entries = self._root.entries(name, now)
        if not self.settings.hidden:
            entries = [entry for entry in entries if entry.name[:1] != b"."]
        fields = [
            (b"Content-Type", b"text/html; charset=utf-8"),
            (b"Content-Security-Policy", SECURITY_POLICY),
            _NOT_SNIFFED,
        ]
        if self.settings.cache_control:
            fields.append((b"Cache-Control", self.settings.cache_control))
        return Answer(200, tuple(fields), page(wanted.path, entries))

    def _missing(self, wanted: FileWanted, now: float) -> Representation | int:
        """Nothing there: the app's one page where the name is not that of a file, else the page for 404."""
        settings = self.settings
        if settings.fallback and wanted.target is not None and not self._is_file_name(wanted.target.name):
            return self._page(settings.fallback, wanted, now) or 404
        return (self._page(settings.not_found, wanted, now, 404) if settings.not_found else None) or 404

    def _is_file_name(self, name: bytes) -> bool:
        end = ending(name)
        return end in TYPES or end in self.settings.types

    def _page(self, name: bytes, wanted: FileWanted, now: float, status: int = 200) -> Representation | None:
        """Return the file with a name that the configuration gives; None where there is none."""
        kept = self._kept.get((name, wanted.codings, status), now)
        if kept is not None:
            return kept
        opened = self._root.open(name, now)
        if opened is None or opened.file is None:
            return None
        return self._represent(name, opened.file, wanted.codings, now, status)

    def _represent(
        self, name: bytes, file: FileIO, accepted: tuple[bytes, ...], now: float, status: int = 200
    ) -> Representation:
        """Return a file, or the one beside it that holds it compressed, as the client prefers."""
        kind = self.settings.types.get(ending(name)) or media_type(name)
        chosen = b""
        if accepted and shrinks(kind):
            chosen, file = self._precompressed(name, file, accepted, now)
        made = _read(file, self._fields(name, kind, chosen), chosen, status)
        if made.content is not None:
            self._kept.put((name, accepted, status), made, now)
        return made

    def _precompressed(
        self, name: bytes, file: FileIO, accepted: tuple[bytes, ...], now: float
    ) -> tuple[bytes, FileIO]:
        """Return coding and file of the form the client prefers; what is older than the file itself is not of it."""
        age = int(os.fstat(file.fileno()).st_mtime)
        for coding in accepted:
            beside = self._beside(name + SUFFIXES[coding], now)
            if beside is not None and beside.file is not None and int(beside.stat.st_mtime) >= age:
                return coding, beside.file
        return b"", file

    def _beside(self, name: bytes, now: float) -> Opened | None:
        try:
            return self._root.open(name, now)
        except PermissionError:
            return None

    def _fields(self, name: bytes, kind: bytes, coding: bytes) -> list[tuple[bytes, bytes]]:
        """Return the fields that do not depend on the file's bytes."""
        settings = self.settings
        fields = [(b"Content-Type", with_charset(kind, settings.charset)), _NOT_SNIFFED]
        if coding:
            fields.append((b"Content-Encoding", coding))
        if settings.codings and shrinks(kind):
            fields.append((b"Vary", b"Accept-Encoding"))
        caching = settings.caching(name)
        return [*fields, (b"Cache-Control", caching)] if caching else fields


def _read(file: FileIO, fields: list[tuple[bytes, bytes]], coding: bytes, status: int) -> Representation:
    """Return a file with its validators, and its content where it is small: all of one state of the file."""
    found = os.fstat(file.fileno())
    content = None
    for _ in range(_READS):
        if found.st_size > _SMALL:
            break
        content = os.pread(file.fileno(), _SMALL + 1, 0)
        before, found = found, os.fstat(file.fileno())
        if len(content) == found.st_size and _state(before) == _state(found):
            break
        content = None
    etag = _etag(found, coding, time())
    modified = int(found.st_mtime)
    own = ((b"Last-Modified", format_date(modified)), (b"ETag", etag), (b"Accept-Ranges", b"bytes"))
    return Representation(
        (*fields, *own) if status == 200 else tuple(fields),
        found.st_size,
        etag=etag,
        modified=modified,
        content=content,
        file=None if content is not None else file,
        stamp=found.st_mtime_ns,
        status=status,
    )


def _state(found: os.stat_result) -> tuple[int, int]:
    return found.st_mtime_ns, found.st_size


def _etag(found: os.stat_result, coding: bytes, now: float) -> bytes:
    """Return the entity tag of a file: equal on every machine where it has the same time and size.

    Weak while a second change might leave time and size as they are (RFC 9110 section 8.8.1).
    """
    clock = _FINE_CLOCK if found.st_mtime_ns % 1_000_000_000 else _COARSE_CLOCK
    weak = b"W/" if now - found.st_mtime < clock else b""
    return b'%b"%x-%x%b"' % (weak, found.st_mtime_ns, found.st_size, b"-" + coding if coding else b"")
