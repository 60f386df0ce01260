"""Edits the content of an answer on its way to the client: held until it is whole, then sent with a length of its own.

What is not edited passes at once. The head is made anew: the tag of edited content is a weak one, digests of what it
was are dropped, and parts of it cannot be asked for (RFC 9110 sections 7.7 and 8.8.1).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgewise.contracts.editing import EditError
from edgewise.http.head import CHUNKED, Field, ResponseHead
from edgewise.protocols.http1 import parse_response_head
from edgewise.protocols.http1_chunked import ChunkedDecoder
from edgewise.proxy import plans
from edgewise.proxy.interposed import Interposed
from edgewise.proxy.messages import error_answer, render
from edgewise.proxy.wire import Buffer

if TYPE_CHECKING:
    from edgewise.contracts.editing import Editor
    from edgewise.contracts.exchange import Exchange

_DROPPED = frozenset((
    b"accept-ranges", b"content-digest", b"content-length", b"content-md5", b"digest", b"repr-digest",
    b"transfer-encoding",
))  # fmt: skip
_BODILESS = (204, 304)


def edit(exchange: Exchange, editor: Editor) -> None:
    """Have the answer edited (`contracts.editing.Edit`)."""
    Editing(exchange, editor)


class Editing(Interposed):
    """The client, in the eyes of an exchange whose answer is edited."""

    def __init__(self, exchange: Exchange, editor: Editor) -> None:
        super().__init__(exchange)
        self._editor = editor
        self._response: ResponseHead | None = None
        """Of an answer that is edited; None before its head, and of one that passes as it is."""
        self._head = b""
        self._decoder: ChunkedDecoder | None = None
        self._held: list[bytes] = []
        """What came, framed for the client."""
        self._pieces: list[bytes] = []
        """The same without framing."""
        self._size = 0
        self._failed = ""
        """Why the client does not get the answer, known before its end."""

    def send_head(self, head: bytes, content: Buffer, *, end: bool) -> bool:
        """Hold an answer that is to be edited, else send it on."""
        response = parse_response_head(head)
        try:
            wanted = self._editor.wanted(self.own, response)
        except EditError as error:
            if not self._editor.strict:
                return super().send_head(head, content, end=end)
            wanted, self._failed = True, str(error)
        if not wanted:
            return super().send_head(head, content, end=end)
        if self.own.plan.is_head or response.status in _BODILESS:
            head = self._edited_head(response, None) if not self._failed else head
            return super().send_head(head, content, end=end)
        self._response, self._head = response, head
        self._decoder = ChunkedDecoder(status=502) if response.body == CHUNKED else None
        return self._take(content, end=end)

    def send(self, data: Buffer, *, end: bool = False) -> bool:
        """Take content."""
        return super().send(data, end=end) if self._response is None else self._take(data, end=end)

    def send_trailers(self, lines: bytes) -> None:
        """All of the content came."""
        if self._response is not None:
            self._conclude(end=False)
        super().send_trailers(lines)

    def _take(self, data: Buffer, *, end: bool) -> bool:
        held = bytes(data)
        piece = held if self._decoder is None else b"".join(self._decoder.feed(held))
        self._size += len(piece)
        if not self._failed and self._size > self._editor.most:
            if not self._editor.strict:
                return self._pass(held, end=end)
            self._failed = "its content is too long to be edited"
        if self._failed:
            self._held.clear()
            self._pieces.clear()
        else:
            self._held.append(held)
            self._pieces.append(piece)
        return self._conclude(end=True) if end else True

    def close(self, *, cut: bool = False) -> None:
        """Give the client up; one that got nothing yet of an answer that breaks off is told so in place of that."""
        if (
            cut
            and self._response is not None
            and self.own.end[:6] != "client"
            and not isinstance(self.client, Interposed)
        ):
            response, self._response = self._response, None
            self._failed = self.own.failure
            self._refuse(response, end=True)
        else:
            super().close(cut=cut)

    def _pass(self, data: bytes, *, end: bool) -> bool:
        """Send on what was held, as it came, and all that follows."""
        self._response = None
        return super().send_head(self._head, b"".join((*self._held, data)), end=end)

    def _conclude(self, *, end: bool) -> bool:
        """Send the edited answer, or that there is none."""
        response = self._response
        assert response is not None
        if not self._failed:
            try:
                content = self._editor.edit(b"".join(self._pieces))
            except EditError as error:
                if not self._editor.strict:
                    return self._pass(b"", end=end)
                self._failed = str(error)
        self._response = None
        if self._failed:
            return self._refuse(response, end=end)
        head = self._edited_head(response, len(content))
        self._count(len(head) + len(content))
        return super().send_head(head, content, end=end)

    def _refuse(self, response: ResponseHead, *, end: bool) -> bool:
        """The server's answer cannot be what the client should get."""
        exchange = self.own
        exchange.status = 502
        if not exchange.end:
            exchange.end, exchange.failure = "edge-transform", f"the answer cannot be edited: {self._failed}"
        close = any(name == b"connection" and value == b"close" for name, value, _ in response.fields)
        head, content = render(error_answer(502), head_only=False, close=close, minor=exchange.plan.request.minor)
        self._count(len(head) + len(content))
        return super().send_head(head, content, end=end)

    def _count(self, size: int) -> None:
        """Count the bytes that go out in place of those that came."""
        self.own.response_bytes += size - len(self._head) - sum(map(len, self._held))

    def _edited_head(self, response: ResponseHead, length: int | None) -> bytes:
        """Return the head of edited content; of unknown length where there is none to send."""
        lines = [_edited_line(field) for field in response.fields if field.name not in _DROPPED]
        if length is not None:
            lines.append(b"Content-Length: %d\r\n" % length)
        return plans.status_bytes(response.status, response.reason, lines) + b"\r\n"


def _edited_line(field: Field) -> bytes:
    if field.name == b"etag" and not field.value.startswith(b"W/"):
        return b"ETag: W/%b\r\n" % field.value
    return field.line
