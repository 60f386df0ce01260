"""Changes of requests on their way to a server, and of answers on their way to a client.

What follows from a head alone is done when a plan is made, by the edits of the route; what is here follows from who
asks, from the connection, or from content.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edgewise.contracts.editing import EditError
from edgewise.contracts.policies import Denial, Outcome, gathered
from edgewise.gateway.json_edits import MISSING, JsonEdits, JsonError
from edgewise.gateway.templates import Known, Template
from edgewise.protocols.errors import ProtocolError

if TYPE_CHECKING:
    from edgewise.contracts.editing import Edit, Revise
    from edgewise.contracts.exchange import Exchange
    from edgewise.gateway.target_edits import TargetEdits
    from edgewise.http.head import RequestHead, ResponseHead

Lines = tuple[tuple[bytes, Template], ...]
"""(name of a field, what makes its value)."""
Params = Callable[["RequestHead"], Mapping[str, bytes]]
_LINES = re.compile(rb"[^\n]*\n")
_RANGES = frozenset((b"range", b"if-range"))
_NO_PARAMS: Mapping[str, bytes] = {}


@dataclass(frozen=True)
class BodyEdits:
    """Edits of JSON content."""

    edits: JsonEdits
    most: int
    """Bytes of content at most."""
    strict: bool = True
    """An answer that cannot be edited is refused; requests always are."""


def no_params(head: RequestHead) -> Mapping[str, bytes]:
    """Return the path parameters that templates ask for: none."""
    return _NO_PARAMS


def known_of(exchange: Exchange, params: Params) -> Known:
    """Return what templates may ask for."""
    head = exchange.plan.request
    return Known(head, params(head), b"https" if exchange.client.tls else b"http", exchange)


def lines_of(lines: Lines, known: Known) -> bytes:
    """Return field lines, each with its CRLF; a field without a value is left out."""
    made = []
    for name, template in lines:
        value = template.in_field(known)
        if value:
            made.append(b"%b: %b\r\n" % (name, value))
    return b"".join(made)


def without(lines: bytes, names: frozenset[bytes]) -> bytes:
    """Return field lines without those that have one of these lower-case names."""
    if not (lines and names):
        return lines
    return b"".join(line for line in _LINES.findall(lines) if line.partition(b":")[0].lower() not in names)


class RequestTransform:
    """The policy of requests."""

    def __init__(
        self,
        lines: Lines,
        replaced: frozenset[bytes],
        target: TargetEdits | None,
        body: BodyEdits | None,
        params: Params,
        revise: Revise,
    ) -> None:
        """`replaced`: lower-case names of fields that clients' are dropped of."""
        self._lines = lines
        self._replaced = replaced
        self._target = target
        self._body = body
        self._params = params
        self._revise = revise

    def transform(self, exchange: Exchange) -> Outcome | Awaitable[Outcome]:
        """Change what a server gets."""
        if exchange.plan.answer is not None:
            return None
        known = known_of(exchange, self._params)
        lines = lines_of(self._lines, known)
        exchange.forward_lines = without(exchange.forward_lines, self._replaced) + lines
        try:
            self._retarget(exchange, known, lines)
        except ProtocolError as error:
            return Denial(error.status, "transform", f"This request cannot be sent on: {error.detail}.")
        if self._body is None or exchange.body is None or exchange.grpc is not None or not is_json(known.head):
            return None
        if (known.head.get(b"content-encoding") or b"identity").lower() != b"identity":
            return Denial(415, "transform", "JSON content is taken here without a content coding.")
        content = gathered(exchange, self._body.most, "transform")
        if isinstance(content, bytes):
            return self._replace(exchange, self._body, content, known)
        return self._wait(exchange, self._body, content, known)

    def _retarget(self, exchange: Exchange, known: Known, lines: bytes) -> None:
        target = None
        if self._target is not None and exchange.plan.head:
            before = exchange.plan.head.split(b" ", 2)[1]
            target = self._target.edited(before, known)
            target = None if target == before else target
        if target is not None or (exchange.route.cache is not None and (lines or self._replaced)):
            self._revise(exchange, target, lines, self._replaced)

    async def _wait(self, exchange: Exchange, body: BodyEdits, content: Awaitable[bytes], known: Known) -> Outcome:
        return self._replace(exchange, body, await content, known)

    @staticmethod
    def _replace(exchange: Exchange, body: BodyEdits, content: bytes, known: Known) -> Outcome:
        if not content:
            return None
        try:
            edited = body.edits.apply(content, known)
        except JsonError as error:
            return Denial(400, "transform", "The content is not JSON.", reason=f"request content: {error}")
        exchange.body.replace(edited)
        return None


class ResponseTransform:
    """The policy of answers."""

    def __init__(self, lines: Lines, body: BodyEdits | None, params: Params, edit: Edit, revise: Revise) -> None:
        self._lines = lines
        self._body = body
        self._params = params
        self._edit = edit
        self._revise = revise

    def transform(self, exchange: Exchange) -> Outcome:
        """Have the answer changed."""
        known = known_of(exchange, self._params)
        if self._lines:
            exchange.answer_lines += lines_of(self._lines, known)
        plan = exchange.plan
        if self._body is not None and exchange.grpc is None and plan.upgrade is None and plan.file is None:
            if exchange.route.cache is not None and plan.request.get(b"range") is not None:
                self._revise(exchange, None, b"", _RANGES)
            self._edit(exchange, _JsonEditor(self._body, known))
        return None


class _JsonEditor:
    """Edits the answer to one request (`contracts.editing.Editor`)."""

    def __init__(self, body: BodyEdits, known: Known) -> None:
        self._edits = body.edits
        self._known = known
        self.most = body.most
        self.strict = body.strict

    def wanted(self, exchange: Exchange, response: ResponseHead) -> bool:
        """JSON of a server is edited, in whatever status; what edgewise says itself is not."""
        if exchange.end or not is_json(response):
            return False
        if response.status == 206:
            raise EditError("it is a part")
        if (response.get(b"content-encoding") or b"identity").lower() != b"identity":
            raise EditError("it is coded")
        return True

    def edit(self, content: bytes) -> bytes:
        """Return edited content."""
        if not content:
            return content
        try:
            return self._edits.apply(content, self._known)
        except JsonError as error:
            raise EditError(f"it is not JSON: {error}") from None


def is_json(head: RequestHead | ResponseHead) -> bool:
    """Does a head announce JSON (RFC 8259, RFC 6839 section 3.1)?"""
    kind = (head.get(b"content-type") or b"").partition(b";")[0].strip(b" \t").lower()
    return kind == b"application/json" or (kind.startswith(b"application/") and kind.endswith(b"+json"))


def json_value(value: Any) -> Callable[[Any], Any]:
    """Return what makes a configured value of a request: its texts are templates. Raises TemplateError."""
    if isinstance(value, str):
        template = Template(value)
        if template.fixed:
            return lambda known: template.text

        def fill(known: Known) -> Any:
            made = template.in_json(known)
            return MISSING if made is None else made

        return fill
    if isinstance(value, dict):
        members = {name: json_value(member) for name, member in value.items()}
        return lambda known: {name: made for name, make in members.items() if (made := make(known)) is not MISSING}
    if isinstance(value, list):
        elements = [json_value(element) for element in value]
        return lambda known: [made for make in elements if (made := make(known)) is not MISSING]
    return lambda known: value
