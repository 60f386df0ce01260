"""Head bytes to plans: the only place where a head is parsed and a route is chosen.

Both functions are pure: a plan follows from (listener, peer trusted?, head, generation) and a response plan from
(route, kind of request, head), so a memo may stand before them and never changes an answer.
"""

from __future__ import annotations

from copy import copy

from edgewise.contracts.cache import DEVICE
from edgewise.contracts.coded_heads import coded_lines, coding_for, compressible
from edgewise.contracts.plan import Params, Plan, Prototype, ResponsePlan, Route
from edgewise.contracts.table import Limits, Refusal, Table
from edgewise.http.head import CHUNKED, NO_BODY, UNTIL_CLOSE, Field, FieldLines, RequestHead, ResponseHead, plain_head
from edgewise.protocols.grpc import Kind
from edgewise.protocols.http1 import hop_by_hop, parse_request_head, parse_response_head
from edgewise.protocols.http1_fields import HOP_BY_HOP, SET_ANEW
from edgewise.protocols.http1_parting import OWN
from edgewise.protocols.trace_context import trace_context
from edgewise.proxy.field_edits import edited
from edgewise.proxy.grpc_heads import answer_lines, grpc_request, metadata_lines, without_timeout
from edgewise.proxy.memo import Memo, cost
from edgewise.proxy.messages import answer_plan, refuse_plan
from edgewise.proxy.response_prototypes import ResponsePrototypes

_RESPONSE_DROP = frozenset((b"content-length", b"transfer-encoding", b"x-accel-redirect", b"x-sendfile"))
_USUAL_DROP = HOP_BY_HOP | _RESPONSE_DROP
IDEMPOTENT = frozenset((b"GET", b"HEAD", b"OPTIONS", b"TRACE", b"PUT", b"DELETE"))
"""RFC 9110 section 9.2.2."""
FRAMING = frozenset((b"content-length", b"transfer-encoding", b"expect", b"connection", b"upgrade"))
_BODILESS = frozenset((b"GET", b"HEAD"))
_READING = (b"GET", b"HEAD")
"""Methods that files know."""
_VERSIONS = (b"1.0", b"1.1", b"2")
"""As Via names them (RFC 9110 section 7.6.3)."""
_PROTOTYPES_SHARE = 8
"""One in so many bytes of the memo's bound is for prototypes."""


class Plans:
    """What one listener knows for one kind of peer and version: the memo, and how a plan is made on a miss."""

    __slots__ = ("_draining", "_http2", "_prototypes", "_room", "_scheme", "_table", "memo", "over_http2", "trusted")

    def __init__(self, table: Table, *, scheme: bytes, trusted: bool, http2: bool = False) -> None:
        self._scheme = scheme
        self._http2 = http2
        self.trusted = trusted
        """Are the peers `trusted_proxies`?"""
        self._draining = False
        self.over_http2 = None if http2 else Plans(table, scheme=scheme, trusted=trusted, http2=True)
        """The same for requests that come by HTTP/2; None of those themselves."""
        self.load(table)

    def load(self, table: Table) -> None:
        """Take a new generation; nothing of the old one is kept."""
        self._table = table
        size = table.limits.memo_bytes
        self._room = size // _PROTOTYPES_SHARE
        self._prototypes: dict[tuple[Route, FieldLines, bytes], Prototype] = {}
        self.memo = Memo(table.limits.memo_entries, size - self._room)
        if self.over_http2 is not None:
            self.over_http2.load(table)

    def drain(self) -> None:
        """From now on each answer says that it is the last on its connection; HTTP/2 says so by GOAWAY."""
        self._draining = True
        self.load(self._table)

    def find(self, head: bytes) -> Plan:
        """Return the plan of `head` (bytes through the empty line). Raises ProtocolError for one to refuse."""
        plan: Plan | None = self.memo.get(head)
        if plan is None:
            plan = self._make(head)
            self.memo.offer(head, plan)
        return plan

    def find_call(self, head: bytes) -> tuple[Plan, bytes | None]:
        """As `find`, for HTTP/2; a gRPC call's deadline differs each time, so it is returned beside the plan."""
        parted = without_timeout(head)
        if parted is not None:
            plan = self.find(parted[0])
            if plan.grpc is not None:
                return plan, parted[1]
        return self.find(head), None

    def _make(self, head: bytes) -> Plan:
        """As `make_plan`, by a prototype where route, method and field lines are known."""
        table = self._table
        request = parse_request_head(head, table.limits.head_fields, http2=self._http2)
        if self._draining:
            request = request.with_lines(request.lines.revised(keep_alive=False), request.secret)
        match = table.match(request)
        if isinstance(match, Refusal) or not request.lines.kept or _secret_stripped(match[0], request):
            return matched_plan(table, request, match, self._scheme, trusted=self.trusted)
        key = (match[0], request.lines, request.method)
        prototype = self._prototypes.get(key)
        if prototype is not None:
            return prototype_plan(prototype, request, match, self._scheme)
        plan = matched_plan(table, request, match, self._scheme, trusted=self.trusted)
        if plan.prototype is not None:
            self._keep(key, plan.prototype)
        return plan

    def _keep(self, key: tuple[Route, FieldLines, bytes], prototype: Prototype) -> None:
        """Keep a prototype; when there is no room left, all are dropped."""
        self._room -= cost(prototype.before)
        if self._room < 0:
            self._prototypes.clear()
            self._room = self._table.limits.memo_bytes // _PROTOTYPES_SHARE
        else:
            self._prototypes[key] = prototype


def make_plan(table: Table, head: bytes, scheme: bytes, *, trusted: bool, last: bool = False) -> Plan:
    """Parse, match and prepare; with `last`, as if the client had asked to close the connection after the answer.

    Raises ProtocolError for a head that must be refused (RFC 9112).
    """
    request = parse_request_head(head, table.limits.head_fields)
    if last:
        request = request.with_lines(request.lines.revised(keep_alive=False), request.secret)
    return matched_plan(table, request, table.match(request), scheme, trusted=trusted)


def internal_plan(table: Table, original: RequestHead, target: bytes, scheme: bytes) -> Plan | None:
    """Return the plan of an internal redirect: a GET of `target` with the request's fields; None where none matches.

    Raises ProtocolError where `target` is no valid request target.
    """
    if table.match_internal is None:
        return None
    kept = b"".join(field.line for field in original.fields if field.name not in FRAMING)
    request = parse_request_head(b"GET %b HTTP/1.1\r\n%b\r\n" % (target, kept), table.limits.head_fields)
    match = table.match_internal(request)
    if isinstance(match, Refusal):
        return None
    request.minor = original.minor  # how the answer is framed follows from the client's version
    return matched_plan(table, request, match, scheme, trusted=False)


def matched_plan(
    table: Table, request: RequestHead, match: tuple[Route, Params] | Refusal, scheme: bytes, *, trusted: bool
) -> Plan:
    """Prepare what follows from a parsed head and its route."""
    if isinstance(match, Refusal):
        return refuse_plan(_begun_plan(table.unmatched, request), match)
    route, params = match
    plan = _begun_plan(route, request)
    if table.contexts is not None:
        plan.tls_key = table.contexts.key(request.host.decode("latin-1"))
        if plan.tls_key and scheme == b"http" and route.answer is None:  # nobody asked for the client's certificate
            return refuse_plan(_begun_plan(table.unmatched, request), Refusal(421))
    if route.answer is not None:
        return answer_plan(plan, route.answer(request, params, scheme))
    target = request.target if route.rewrite is None else route.rewrite(request, params, scheme)
    if route.files is not None:
        return file_plan(plan, request, target)
    if not route.websocket or route.http2:
        plan.upgrade = None
    plan.idempotent = request.method in IDEMPOTENT
    apart = False
    if route.compression is not None and plan.grpc is None:
        plan.coding = coding_for(route.compression, request)
        apart = route.compression.anonymous  # what a secret decides is not shared
    plan.responses = response_memo(
        route, plan.is_head, plan.close, request.minor, table.limits, _form(plan), plan.coding
    )
    plan.simple = route.direct and plan.idempotent and not (trusted or plan.body or plan.upgrade or plan.tls_key)
    apart = apart or route.device is not None or plan.grpc is not None
    apart = apart or (bool(route.stripped) and any(field.name in route.stripped for field in request.fields))
    if trusted or request.lines.telling or route.forward_edits or plan.tls_key or apart:
        plan.head = request_bytes(plan, request, target, trusted=trusted)
    else:
        plan.prototype = _prototype(plan, request)
        plan.head = _prototype_head(plan.prototype, request, target)
    return plan


def _secret_stripped(route: Route, request: RequestHead) -> bool:
    """Is the line that no other head shares one that this client may not send on?"""
    return bool(route.stripped and request.secret) and request.secret.partition(b":")[0].lower() in route.stripped


def file_plan(plan: Plan, request: RequestHead, target: bytes) -> Plan:
    """Make `plan` one that answers with a file, found by the path of `target`."""
    assert plan.route.files is not None
    if request.method not in _READING:
        return refuse_plan(plan, Refusal(405, _READING))
    plan.upgrade = None
    plan.file = plan.route.files.wanted(request, target.partition(b"?")[0])
    return plan


def _begun_plan(route: Route, request: RequestHead) -> Plan:
    plan = Plan(route, request)
    if request.method == b"POST":
        plan.grpc = grpc_request(request, route)
    return plan


def prototype_plan(prototype: Prototype, request: RequestHead, match: tuple[Route, Params], scheme: bytes) -> Plan:
    """Prepare what follows from a head of which all but target and secret is known."""
    route, params = match
    plan = Plan(route, request)
    plan.prototype = prototype
    plan.upgrade = prototype.upgrade
    plan.coding = prototype.coding
    plan.idempotent = prototype.idempotent
    plan.responses = prototype.responses
    plan.simple = prototype.simple
    target = request.target if route.rewrite is None else route.rewrite(request, params, scheme)
    plan.head = _prototype_head(prototype, request, target)
    return plan


def _prototype_head(prototype: Prototype, request: RequestHead, target: bytes) -> bytes:
    return b"%b %b%b%b%b" % (request.method, target, prototype.before, request.secret, prototype.after)


def _prototype(plan: Plan, request: RequestHead) -> Prototype:
    """Prepare what `request_bytes` makes where nothing in the head changes what is added."""
    lines = request.lines
    before = b" HTTP/1.1\r\nHost: %b\r\n%b" % (_authority(plan.route, request), lines.forward)
    after = b"%bX-Forwarded-Host: %b\r\nVia: %b edgewise\r\n%b" % (
        lines.forward_after,
        request.authority,
        _VERSIONS[request.minor],
        _framing(plan, request),
    )
    return Prototype(plan, before, after)


def _authority(route: Route, request: RequestHead) -> bytes:
    """Return the Host that the server gets."""
    if not route.preserve_host and route.upstream is not None:
        return route.upstream.authority or request.authority
    return request.authority


def request_bytes(plan: Plan, request: RequestHead, target: bytes, *, trusted: bool) -> bytes:
    """Return an upstream head without the fields that differ by request or connection; framed by edgewise alone."""
    return b"%b %b HTTP/1.1\r\nHost: %b\r\n%b%b" % (
        request.method if plan.grpc is None else b"POST",
        target,
        _authority(plan.route, request),
        b"".join(told_fields(plan, request, trusted=trusted)),
        _framing(plan, request),
    )


def _framing(plan: Plan, request: RequestHead) -> bytes:
    """Return the field lines that tell the server where the content ends, and of an upgrade."""
    framing = b""
    if plan.body == CHUNKED or (plan.grpc is not None and plan.grpc.translated):
        framing = b"Transfer-Encoding: chunked\r\n"
    elif plan.body or (request.method not in _BODILESS and request.get(b"content-length") is not None):
        framing = b"Content-Length: %d\r\n" % plan.body
    if plan.upgrade is not None:
        framing += b"Connection: Upgrade\r\nUpgrade: " + plan.upgrade + b"\r\n"
    return framing


def with_length(plan: Plan, length: int) -> Plan:
    """Return a plan that sends other content on, of `length` bytes: the one in the memo serves other requests too."""
    before = plan.head.removesuffix(_framing(plan, plan.request))
    plan = copy(plan)
    plan.body = length
    plan.head = before + _framing(plan, plan.request)
    return plan


def told_fields(plan: Plan, request: RequestHead, *, trusted: bool) -> list[bytes]:
    """Return the field lines to forward where what is added depends on them: a trace, Via, another proxy's word."""
    drop = SET_ANEW | hop_by_hop(request.lines) | plan.route.stripped
    if plan.grpc is None:
        lines = [field.line for field in request.fields if field.name not in drop and b"_" not in field.name]
    else:
        lines = metadata_lines(request, plan.grpc, plan.route, drop)
    get = request.get
    plan.trace, state = trace_context(request.fields)
    if state:
        lines.append(b"tracestate: " + state + b"\r\n")
    host = request.authority
    if trusted:
        host = get(b"x-forwarded-host") or host
        _trust(plan, request, lines)
    lines.append(b"X-Forwarded-Host: " + host + b"\r\n")
    via = _VERSIONS[request.minor] + b" edgewise"
    if get(b"via") is not None:
        via = _joined(request, b"via") + b", " + via
    lines.append(b"Via: " + via + b"\r\n")
    if plan.route.device is not None:
        line = b"%b: %b\r\n" % (DEVICE, plan.route.device(request.fields))
        lines = edited(lines, (("set", DEVICE.lower(), line),))
    return edited(lines, plan.route.forward_edits) if plan.route.forward_edits else lines


def _trust(plan: Plan, request: RequestHead, lines: list[bytes]) -> None:
    """Keep what one of `trusted_proxies` says of the client before it."""
    chain = _joined(request, b"x-forwarded-for")
    plan.forwarded_for = chain or None
    proto = request.get(b"x-forwarded-proto")
    if proto in (b"http", b"https"):
        plan.forwarded_proto = True
        lines.append(b"X-Forwarded-Proto: " + proto + b"\r\n")
    forwarded = _joined(request, b"forwarded")
    if forwarded:
        lines.append(b"Forwarded: " + forwarded + b"\r\n")


def _joined(request: RequestHead, name: bytes) -> bytes:
    return b", ".join(field.value for field in request.fields if field.name == name)


# ---- answers ---------------------------------------------------------------------------------------------------------


class Responses:
    """Response heads of one route for one kind of request."""

    __slots__ = ("_close", "_coding", "_form", "_head_only", "_minor", "_prototypes", "_route", "memo")

    def __init__(
        self,
        route: Route,
        head_only: bool,
        close: bool,
        minor: int,
        limits: Limits,
        form: Kind = Kind.NONE,
        coding: bytes = b"",
    ) -> None:
        self.memo = Memo(limits.memo_entries // 4, limits.memo_bytes // 4)
        self._route = route
        self._head_only = head_only
        self._close = close
        self._minor = minor
        self._form = form
        """How answers to gRPC requests go to the client; NONE: the requests are none."""
        self._coding = coding
        """For answers that may be compressed."""
        plain = not (head_only or form or coding or route.response_filters or route.cache is not None)
        edits_own = any(name in OWN or line.lower() in OWN for _, name, line in route.response_edits)
        self._prototypes = ResponsePrototypes(self._make, limits) if plain and not edits_own else None

    def find(self, head: bytes) -> ResponsePlan:
        """Return the plan of an upstream's response head. Raises ProtocolError(502) where it breaks the protocol."""
        plan: ResponsePlan | None = self.memo.get(head)
        if plan is None:
            plan = (self._prototypes and self._prototypes.find(head)) or self._make(head)
            self.memo.offer(head, plan)
        return plan

    def _make(self, head: bytes) -> ResponsePlan:
        return make_response_plan(
            self._route,
            parse_response_head(head),
            head_only=self._head_only,
            close=self._close,
            minor=self._minor,
            form=self._form,
            coding=self._coding,
        )


def closing_responses(plan: Plan, limits: Limits) -> Responses:
    """Return the memo for answers to `plan` after which the client's connection must end."""
    return response_memo(plan.route, plan.is_head, True, plan.request.minor, limits, _form(plan), plan.coding)


def _form(plan: Plan) -> Kind:
    return Kind.NONE if plan.grpc is None else plan.grpc.form


def response_memo(
    route: Route,
    head_only: bool,
    close: bool,
    minor: int,
    limits: Limits,
    form: Kind = Kind.NONE,
    coding: bytes = b"",
) -> Responses:
    """Return the route's memo for a kind of request, made on first use."""
    number = head_only + 2 * close + 4 * minor + 16 * form
    kind = (number, coding) if coding else number
    memo: Responses | None = route.response_memos.get(kind)
    if memo is None:
        memo = route.response_memos[kind] = Responses(route, head_only, close, minor, limits, form, coding)
    return memo


def make_response_plan(
    route: Route,
    response: ResponseHead,
    *,
    head_only: bool,
    close: bool,
    minor: int,
    form: Kind = Kind.NONE,
    coding: bytes = b"",
) -> ResponsePlan:
    """Prepare what the client gets for an upstream's response head."""
    plan = ResponsePlan(response)
    if head_only and response.status >= 200:
        plan.body = NO_BODY
    hops = hop_by_hop(response)
    dropped = _USUAL_DROP if hops is HOP_BY_HOP else hops | _RESPONSE_DROP
    lines = [line for name, _, line in response.fields if name not in dropped]
    if form:
        lines = answer_lines(plan, form, lines)
    _frame(plan, minor, close)
    if route.response_edits:
        lines = edited(lines, route.response_edits)
    if route.compression is not None and not form and compressible(route.compression, response):
        plan.chunk = plan.chunk or (bool(coding) and not head_only and minor == 1)
        lines = coded_lines(lines + _framing_lines(plan, response, head_only, minor), coding)
        if not head_only and coding:
            plan.coding, plan.chunk = coding, True
    else:
        lines += _framing_lines(plan, response, head_only, minor)
    plan.accel = _accel(route, response.fields)
    plan.dateless = response.status >= 200 and response.get(b"date") is None
    plan.head = status_bytes(response.status, response.reason, lines)
    if not plan.dateless:
        plan.head += b"\r\n"
    retried = route.upstream is None or response.status in route.upstream.retry.on_statuses
    looked_at = retried or plan.grpc_status is not None
    looked_at = looked_at or bool(route.response_filters) or route.cache is not None
    plan.sendable = not (plan.dateless or response.status < 200 or plan.accel is not None or looked_at)
    return plan


def status_bytes(status: int, reason: bytes, lines: list[bytes]) -> bytes:
    """Return a status line and field lines."""
    return b"".join((b"HTTP/1.1 %d " % status, reason, b"\r\n", *lines))


def _frame(plan: ResponsePlan, minor: int, close: bool) -> None:
    """Decide how the content goes to the client (RFC 9112 section 6.3)."""
    plan.close = close
    if plan.web == Kind.JSON:
        return
    if plan.body in (CHUNKED, UNTIL_CLOSE):
        if minor == 1:
            plan.chunk = True
        elif not minor:
            plan.close = True
    if plan.body == UNTIL_CLOSE:
        plan.keep_alive = False


def _framing_lines(plan: ResponsePlan, response: ResponseHead, head_only: bool, minor: int) -> list[bytes]:
    lines: list[bytes] = []
    if plan.status < 200:
        return [b"Connection: Upgrade\r\nUpgrade: " + response.upgrade + b"\r\n"] if response.upgrade else lines
    if plan.chunk and plan.web < Kind.JSON:
        lines.append(b"Transfer-Encoding: chunked\r\n")
    elif plan.grpc_status is not None and minor == 2:
        pass  # the head is trailers to a gRPC client, and its metadata
    elif plan.body >= 0 and plan.status != 204:
        length = response.get(b"content-length")
        if length is not None:
            lines.append(b"Content-Length: " + length + b"\r\n")
        elif not head_only and plan.status != 304:
            lines.append(b"Content-Length: %d\r\n" % plan.body)
    if plan.close:
        lines.append(b"Connection: close\r\n")
    elif not minor:
        lines.append(b"Connection: keep-alive\r\n")
    return lines


def _accel(route: Route, fields: tuple[Field, ...]) -> bytes | None:
    if not (route.accel_roots or route.accel_internal):
        return None
    return next((field.value for field in fields if field.name in (b"x-accel-redirect", b"x-sendfile")), None)


def empty_plan(route: Route, minor: int = 1) -> Plan:
    """Return a plan that stands for a request whose head could not be understood."""
    plan = Plan(route, plain_head(b"", b"", minor=minor))
    plan.close = True
    return plan


def tunnel_plan(route: Route) -> Plan:
    """Return the plan of a layer 4 session."""
    plan = empty_plan(route)
    plan.tunnel = True
    return plan
