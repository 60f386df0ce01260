"""gRPC and gRPC-Web in heads: how a request speaks of it, what its server gets, what becomes of the answer's head."""

from __future__ import annotations

from edgewise.contracts.plan import GrpcRequest, ResponsePlan, Route
from edgewise.http.head import CHUNKED, NO_BODY, RequestHead
from edgewise.protocols.grpc import Kind, Status, find_status, kind_of, subtype
from edgewise.protocols.grpc_web import grpc_content_type, wants_text, web_content_type

_TIMEOUT = b"\r\ngrpc-timeout: "
_DROPPED = frozenset((b"grpc-timeout",))
"""Written anew for each attempt: what is left of it."""
_WEB_ONLY = frozenset((b"accept", b"content-type", b"x-grpc-web"))
_USUAL_FORMAT = b"application/grpc+proto"
_JSON_ONLY = frozenset((
    b"accept", b"accept-charset", b"accept-encoding", b"accept-ranges", b"content-encoding", b"content-language",
    b"content-type", b"range",
))  # fmt: skip
"""What a request says of its content and its answer, where neither is what the server gets."""
_METADATA = b"grpc-metadata-"
"""What clients of JSON may put before the name of a field that is meant for the call."""
_TAKEN = frozenset((b"content-length", b"host", b"te", b"user-agent", b"via"))
_NOT_TOLD = frozenset((
    b"accept-ranges", b"content-length", b"content-type", b"grpc-accept-encoding", b"grpc-encoding", b"grpc-message",
    b"grpc-status", b"grpc-status-details-bin", b"trailer",
))  # fmt: skip
"""What a call's answer says that clients of JSON get in other ways."""


def without_timeout(head: bytes) -> tuple[bytes, bytes] | None:
    """Return the head of a POST by HTTP/2 without its grpc-timeout, and its value; None where there is none.

    Clients tell what is left of a deadline, so heads that are equal but for this are the usual case.
    """
    at = head.find(_TIMEOUT) if head.startswith(b"POST ") else -1
    if at < 0:
        return None
    start = at + len(_TIMEOUT)
    end = head.find(b"\r\n", start)
    return head[:at] + head[end:], head[start:end]


def grpc_request(request: RequestHead, route: Route) -> GrpcRequest | None:
    """Return what a POST says of gRPC by its content type; None where it says nothing."""
    content_type = request.get(b"content-type")
    kind = kind_of(content_type)
    if content_type is None or kind == Kind.NONE:
        return None
    form, answer_type = Kind.GRPC, b"application/grpc"
    if kind != Kind.GRPC:
        text = wants_text(kind, request.get(b"accept"))
        answer_type = web_content_type(content_type, text=text)
        if route.http2:
            form = Kind.WEB_TEXT if text else Kind.WEB
    return GrpcRequest(kind, form, answer_type, request.get(b"grpc-timeout"))


def metadata_lines(request: RequestHead, call: GrpcRequest, route: Route, drop: frozenset[bytes]) -> list[bytes]:
    """Return the field lines that go to the server; `drop` are names that never do.

    Names of metadata may have `_`. Where no server could be one that takes it for `-`, they pass, unless that would be
    a name that edgewise, the route or the client itself speaks for.
    """
    if call.kind == Kind.JSON:
        return _json_metadata(request, route, drop)
    dropped = drop | _DROPPED | _WEB_ONLY if call.translated else drop | _DROPPED
    taken = drop.union([field.name for field in request.fields], [name for _, name, _ in route.forward_edits])
    lines = [
        field.line
        for field in request.fields
        if field.name not in dropped
        and (b"_" not in field.name or (route.http2 and field.name.replace(b"_", b"-") not in taken))
    ]
    if call.translated:
        lines.append(b"Content-Type: %b\r\n" % grpc_content_type(request.get(b"content-type") or b""))
    return lines


def _json_metadata(request: RequestHead, route: Route, drop: frozenset[bytes]) -> list[bytes]:
    """The same of a request with JSON: `Grpc-Metadata-X` is sent as `X` where the client could not send that itself."""
    lines: list[bytes] = [b"Content-Type: application/grpc\r\n"]
    dropped = drop | _JSON_ONLY | _DROPPED
    sent = [field.name for field in request.fields]
    taken = dropped.union(_TAKEN, sent, [name for _, name, _ in route.forward_edits])
    for field in request.fields:
        name = field.name
        if name.startswith(_METADATA):
            name = name[len(_METADATA) :]
            if name and name.replace(b"_", b"-") not in taken and not name.startswith((b"grpc-", b"x-forwarded-")):
                lines.append(b"%b: %b\r\n" % (name, field.value))
        elif name not in dropped and b"_" not in name and not name.startswith(b"if-"):
            lines.append(field.line)
    return lines


def answer_lines(plan: ResponsePlan, form: Kind, lines: list[bytes]) -> list[bytes]:
    """Note in `plan` what an answer to a gRPC request says; return its field lines as the client gets them."""
    if plan.body == NO_BODY:
        plan.grpc_status = find_status(b"".join(lines))
        plan.gateway_error = plan.gateway_error or plan.grpc_status == Status.UNAVAILABLE
    if form >= Kind.JSON:
        return _json_answer_lines(plan, form, lines)
    content_type = plan.response.get(b"content-type")
    if form == Kind.GRPC or content_type is None or kind_of(content_type) != Kind.GRPC:
        return lines
    if plan.body != NO_BODY:
        plan.web = form
        plan.body = CHUNKED
    told = content_type if subtype(content_type) else _USUAL_FORMAT
    kept = [line for line in lines if not line.lower().startswith(b"content-type:")]
    return [*kept, b"Content-Type: %b\r\n" % web_content_type(told, text=form == Kind.WEB_TEXT)]


def _json_answer_lines(plan: ResponsePlan, form: Kind, lines: list[bytes]) -> list[bytes]:
    """The same for JSON: what frames and names the content is written with it (`proxy.transcoding`)."""
    if kind_of(plan.response.get(b"content-type")) != Kind.GRPC:
        return lines
    plan.web = form
    plan.body = CHUNKED
    return [line for line in lines if line.partition(b":")[0].lower() not in _NOT_TOLD]
