"""Files that the upstream tells edgewise to send in its place: X-Accel-Redirect and X-Sendfile."""

from __future__ import annotations

import mimetypes
import os
import stat
from email.utils import formatdate
from io import FileIO
from time import time
from typing import TYPE_CHECKING
from urllib.parse import unquote

from edgewise.contracts.plan import Answer, ResponsePlan
from edgewise.http.dates import format_date, parse_date
from edgewise.http.head import Field
from edgewise.http.ranges import content_range, parse_range
from edgewise.proxy import lifecycle
from edgewise.proxy.content import UNREAD
from edgewise.proxy.messages import error_answer, render

if TYPE_CHECKING:
    from edgewise.contracts.exchange import Exchange

_PIECE = 262144
_KEPT = frozenset(
    (b"content-type", b"content-disposition", b"cache-control", b"set-cookie", b"expires", b"content-language")
)
"""Fields of the upstream's answer that stay, as with nginx's X-Accel-Redirect."""


def send(exchange: Exchange, plan: ResponsePlan) -> bool:
    """Answer with the file that the upstream named; False where it is not below one of the route's directories."""
    assert plan.accel is not None
    path = locate(plan.accel, exchange.route.accel_roots)
    if path is None:
        return False
    descriptor = _open(path)
    if descriptor < 0:
        lifecycle.answer(exchange, error_answer(404))
    else:
        _answer(exchange, plan.response.fields, path, descriptor)
    return True


def locate(target: bytes, roots: tuple[tuple[bytes, str], ...]) -> str | None:
    """Return the file for a target of X-Accel-Redirect (a URI below a prefix) or X-Sendfile (a path below a root).

    None for anything that resolves, symbolic links included, to a place outside the directories.
    """
    text = target.decode("utf-8", "surrogateescape")
    for prefix, root in sorted(roots, key=lambda pair: -len(pair[0])):
        base = os.path.realpath(root)
        uri = prefix.decode().rstrip("/") + "/"
        name = (
            unquote(text[len(uri) :])
            if text.startswith(uri)
            else os.path.relpath(text, base)
            if text[:1] == "/"
            else ""
        )
        if not name or "\0" in name:
            continue
        found = os.path.realpath(os.path.join(base, name.lstrip("/")))
        if found.startswith(base.rstrip(os.sep) + os.sep):
            return found
    return None


def _open(path: str) -> int:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return -1
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        return descriptor
    os.close(descriptor)
    return -1


def _answer(exchange: Exchange, fields: tuple[Field, ...], path: str, descriptor: int) -> None:
    found = os.fstat(descriptor)
    etag = b'"%x-%x"' % (int(found.st_mtime * 1000), found.st_size)
    request = exchange.plan.request
    own = [(field.line.partition(b":")[0], field.value) for field in fields if field.name in _KEPT]
    if not any(name.lower() == b"content-type" for name, _ in own):
        own.append((b"Content-Type", (mimetypes.guess_type(path)[0] or "application/octet-stream").encode()))
    modified = formatdate(found.st_mtime, usegmt=True).encode()
    own += [(b"Last-Modified", modified), (b"ETag", etag), (b"Accept-Ranges", b"bytes")]
    if _not_modified(request.get(b"if-none-match"), request.get(b"if-modified-since"), etag, found.st_mtime):
        os.close(descriptor)
        lifecycle.answer(exchange, Answer(304, tuple(own), b""))
        return
    wanted = (
        request.get(b"range")
        if request.method == b"GET" and request.get(b"if-range") in (None, etag, modified)
        else None
    )
    spans = parse_range(wanted, found.st_size) if wanted is not None else None
    if spans is not None and not spans:
        os.close(descriptor)
        lifecycle.answer(exchange, error_answer(416, ((b"Content-Range", b"bytes */%d" % found.st_size),)))
        return
    if spans is None or len(spans) > 1:
        FileSource(exchange, descriptor, 0, found.st_size).begin(200, own)
        return
    start, end = spans[0]
    own.append((b"Content-Range", content_range(start, end, found.st_size)))
    FileSource(exchange, descriptor, start, end - start).begin(206, own)


def _not_modified(none_match: bytes | None, since: bytes | None, etag: bytes, modified: float) -> bool:
    """RFC 9110 section 13.2.2."""
    if none_match is not None:
        return none_match == b"*" or etag in (tag.strip().removeprefix(b"W/") for tag in none_match.split(b","))
    when = parse_date(since) if since is not None else None
    return when is not None and int(modified) <= when


class FileSource:
    """Sends a part of a file, a piece at a time as the client reads."""

    __slots__ = ("_exchange", "_file", "_left", "_offset")

    def __init__(self, exchange: Exchange, descriptor: int, offset: int, length: int) -> None:
        self._exchange = exchange
        self._file = FileIO(descriptor)  # closes itself when a client leaves half-way
        self._offset = offset
        self._left = length

    def begin(self, status: int, fields: list[tuple[bytes, bytes]]) -> None:
        """Send the head, then content until the client's socket is full."""
        exchange, plan = self._exchange, self._exchange.plan
        exchange.status, exchange.answered = status, True
        fields = [*fields, (b"Date", format_date(time()))]
        close = plan.close or exchange.client.closing
        if exchange.body is not None and not exchange.body.complete:
            exchange.body, close = UNREAD, True
        bare, _ = render(Answer(status, tuple(fields), b""), head_only=True, close=close, minor=plan.request.minor)
        head = bare.replace(b"Content-Length: 0\r\n", b"Content-Length: %d\r\n" % self._left)
        exchange.response_bytes += len(head)
        if plan.is_head:
            self._left = 0
        exchange.client.source = self
        if exchange.client.send_head(head, b"", end=not self._left):
            self.resume()

    def pause(self) -> None:
        """Nothing to stop: pieces are read only on `resume`."""

    def resume(self) -> None:
        """Send pieces until the client's socket is full or the part is out."""
        client = self._exchange.client
        while self._left:
            try:
                piece = os.pread(self._file.fileno(), min(_PIECE, self._left), self._offset)
            except OSError:
                piece = b""
            if not piece:  # the file shrank: the announced length cannot be kept
                self._file.close()
                lifecycle.fail(self._exchange, 500, "edge-file", "the file became shorter while it was sent")
                return
            self._offset += len(piece)
            self._left -= len(piece)
            self._exchange.response_bytes += len(piece)
            if not client.send(piece, end=not self._left):
                if not self._left:
                    break
                return
            if client.broken:
                break
        self._file.close()
        client.source = None
        if client.flushed:
            lifecycle.finish(self._exchange)
        else:
            client.finishing = True
