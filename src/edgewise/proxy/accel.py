"""Files that the upstream tells edgewise to send in its place: X-Accel-Redirect and X-Sendfile."""

from __future__ import annotations

import os
import stat
from io import FileIO
from typing import TYPE_CHECKING
from urllib.parse import unquote

from edgewise.contracts.files import Representation
from edgewise.contracts.plan import ResponsePlan
from edgewise.http.dates import format_date
from edgewise.http.head import Field
from edgewise.http.media_types import media_type
from edgewise.http.preconditions import conditions
from edgewise.proxy import files, lifecycle
from edgewise.proxy.messages import error_answer

if TYPE_CHECKING:
    from edgewise.contracts.exchange import Exchange

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
    file = _open(path)
    if file is None:
        lifecycle.answer(exchange, error_answer(404))
    else:
        found = _representation(plan.response.fields, path, file)
        files.send(exchange, found, conditions(exchange.plan.request))
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


def _open(path: str) -> FileIO | None:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return None
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        return FileIO(descriptor)
    os.close(descriptor)
    return None


def _representation(fields: tuple[Field, ...], path: str, file: FileIO) -> Representation:
    """Return the file with what the upstream said of it."""
    found = os.fstat(file.fileno())
    etag = b'"%x-%x"' % (int(found.st_mtime * 1000), found.st_size)
    own = [(field.line.partition(b":")[0], field.value) for field in fields if field.name in _KEPT]
    if not any(name.lower() == b"content-type" for name, _ in own):
        own.append((b"Content-Type", media_type(os.fsencode(path))))
    modified = int(found.st_mtime)
    own += [(b"Last-Modified", format_date(modified)), (b"ETag", etag), (b"Accept-Ranges", b"bytes")]
    return Representation(tuple(own), found.st_size, etag=etag, modified=modified, file=file, stamp=found.st_mtime_ns)
