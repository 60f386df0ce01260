"""Renders finished exchanges as access-log lines, in bulk and off the request path.

What follows from a request head alone is rendered once a plan and kept in `plan.log`. Everything that a client or an
upstream can choose is escaped to printable ASCII, so a line is always one line. Authorization and Cookie are never
logged, and what is a secret by its name is masked in queries, in Referer and in what filters say. Lines are built with
f-strings and memos of what recurs: half the cost of `%` on bytes.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from math import floor
from typing import TYPE_CHECKING, Any, NamedTuple

from edgewise.contracts.cache import Result
from edgewise.http.masking import MASK, USUAL, Masking

if TYPE_CHECKING:
    from edgewise.contracts.endpoint import Endpoint, Upstream
    from edgewise.contracts.identity import Identity
    from edgewise.contracts.plan import Plan
    from edgewise.http.head import RequestHead

_RESULTS = tuple(result.name.lower() for result in Result)
_MEMO = 4096
"""Entries of a memo at most; it starts anew when full."""


class Outcome(NamedTuple):
    """What is often equal from exchange to exchange; its rendering is memoised."""

    status: int
    request_bytes: int
    attempts: int
    group: Upstream | None
    endpoint: Endpoint | None
    end: str
    failure: str
    grpc_status: int | None = None
    cached: int = 0
    """What the cache did (`contracts.cache.Result`)."""


class Entry(NamedTuple):
    """What a line needs of a finished exchange (plain tuples of this shape do). Times as in `Exchange`."""

    plan: Plan
    client: str
    started: float
    connected: float
    dispatched: float
    first_byte: float
    ended: float
    response_bytes: int
    request_id: str
    context: dict[str, Any] | None
    identity: Identity | None
    outcome: Outcome


Render = Callable[[Sequence[Entry], float], list[str]]
"""(entries, wall-clock minus monotonic seconds) -> ASCII lines, each with its newline."""

_THOUSANDTHS = [f".{number:03d}" for number in range(1000)]
_PLAIN = bytes(byte for byte in range(0x20, 0x7F) if byte not in b'"\\')
"""Bytes that need no escape in either format."""
_SHOWN = bytes(byte if byte in _PLAIN else 0x20 for byte in range(256))
"""Translates a value to itself when it holds no other bytes, and only then."""


class _Memo(dict[Any, str]):
    """A bounded memo of one function."""

    def __init__(self, function: Callable[[Any], str]) -> None:
        super().__init__()
        self._function = function

    def __missing__(self, key: Any) -> str:
        if len(self) >= _MEMO:
            self.clear()
        value = self[key] = self._function(key)
        return value


def json_renderer(masking: Masking = USUAL) -> Render:
    """Return a renderer of JSON lines, one object a line (the fields are listed in docs/observability.md)."""
    outcomes = _Memo(lambda outcome: _json_outcome(outcome, masking))
    strings = _Memo(json_string)
    stamps = _Memo(_timestamp)

    def shared_members(plan: Plan) -> str:
        head = plan.request
        agent, referer = _agent_and_referer(head, masking)
        members = (
            f'"host":{strings[head.host]},"protocol":"{head.version}","route":{strings[plan.route.name]},'
            f'"user_agent":{strings[agent]},"referer":{json_string(referer)}'
        )
        if plan.prototype is not None:
            plan.prototype.log = members
        return members

    def plan_members(plan: Plan) -> str:
        head, prototype = plan.request, plan.prototype
        path, query = head.path, masking.query(head.query) if head.query else b""
        both = path + query
        if both.translate(_SHOWN) == both:
            target = f'"path":"{path.decode()}","query":"{query.decode()}"'
        else:
            target = f'"path":{json_string(path)},"query":{json_string(query)}'
        shared = (prototype and prototype.log) or shared_members(plan)
        plan.log = f'"method":{strings[head.method]},{target},{shared}'
        return plan.log

    def user_members(identity: Identity) -> str:
        consumer = identity.consumer
        named = "" if consumer is None else f',"consumer":{strings[consumer]}'
        return f',"user":{strings[identity.name]}{named},"auth":{strings[identity.method]}'

    def render(entries: Sequence[Entry], offset: float) -> list[str]:
        lines = []
        for plan, client, started, connected, dispatched, first, ended, sent, number, context, who, outcome in entries:
            trace = plan.trace
            at = floor((started + offset) * 1e3)
            began = connected or dispatched
            queue = _milliseconds(began - started) if began > started else "0.000"
            connect = _milliseconds((dispatched or ended) - connected) if connected else "0.000"
            wait = _milliseconds(first - dispatched) if first else "0.000"
            lines.append(
                f'{{"ts":"{stamps[at // 1000]}{_THOUSANDTHS[at % 1000]}Z",{plan.log or plan_members(plan)},'
                f'{outcomes[outcome]},"bytes_out":{sent},"client":{strings[client]}{user_members(who) if who else ""},'
                f'"request_id":"{number}","trace_id":"{number if trace is None else trace[0]}",'
                f'"t":{{"queue":{queue},"connect":{connect},"first":{wait},'
                f'"total":{_milliseconds(ended - started)}}}{_json_context(context, masking) if context else ""}}}\n'
            )
        return lines

    return render


def combined_renderer(masking: Masking = USUAL) -> Render:
    """Return a renderer of the combined log format that Apache and nginx made common; times are UTC."""
    strings = _Memo(text)
    clients = _Memo(lambda client: text(client.encode("utf-8", "replace")) or "-")
    users = _Memo(_combined_user)
    clock = _Memo(_combined_time)

    def shared_part(plan: Plan) -> str:
        agent, referer = _agent_and_referer(plan.request, masking)
        part = f'"{text(referer) or "-"}" "{strings[agent] or "-"}"'
        if plan.prototype is not None:
            plan.prototype.log = part
        return part

    def plan_parts(plan: Plan) -> str:
        head, prototype = plan.request, plan.prototype
        shared = (prototype and prototype.log) or shared_part(plan)
        target = b"%b?%b" % (head.path, masking.query(head.query)) if head.query else head.target
        plan.log = f'"{strings[head.method]} {text(target)} {head.version}"\n{shared}'
        return plan.log

    def render(entries: Sequence[Entry], offset: float) -> list[str]:
        lines = []
        for plan, client, started, _, _, _, _, sent, _, _, who, outcome in entries:
            request_line, _, agents = (plan.log or plan_parts(plan)).partition("\n")
            lines.append(
                f"{clients[client]} - {users[who.name] if who else '-'} [{clock[floor(started + offset)]}] "
                f"{request_line} {outcome[0]} {sent} {agents}\n"
            )
        return lines

    return render


def json_string(value: str | bytes) -> str:
    """Return `value` as a JSON string of printable ASCII, quotes included; bytes that are not UTF-8 are ISO 8859-1."""
    if isinstance(value, str):
        return _escape_delete(json.dumps(value))
    if value.translate(_SHOWN) == value:
        return f'"{value.decode()}"'
    try:
        decoded = value.decode()
    except UnicodeDecodeError:
        decoded = value.decode("latin-1")
    return _escape_delete(json.dumps(decoded))


def text(value: bytes) -> str:
    """Return `value` with quotes, backslashes and whatever is not printable ASCII as \\xHH, as nginx writes it."""
    if value.translate(_SHOWN) == value:
        return value.decode()
    return "".join(chr(byte) if byte in _PLAIN else f"\\x{byte:02X}" for byte in value)


def _combined_user(name: str) -> str:
    """Return a user's name as one word."""
    return text(name.encode("utf-8", "replace")).replace(" ", "\\x20") or "-"


def _agent_and_referer(head: RequestHead, masking: Masking) -> tuple[bytes, bytes]:
    """Return the values of User-Agent and Referer, b"" for what is absent."""
    referer = head.get(b"referer")
    return head.get(b"user-agent") or b"", masking.url(referer) if referer else b""


def _json_outcome(outcome: Outcome, masking: Masking) -> str:
    status, request_bytes, attempts, group, endpoint, end, failure, grpc_status, cached = outcome
    upstream = json_string("" if group is None else group.name)
    server = json_string("" if endpoint is None else endpoint.name)
    cache = f',"cache":"{_RESULTS[cached]}"' if cached else ""
    call = "" if grpc_status is None else f',"grpc_status":{grpc_status}'
    return (
        f'"status":{status},"bytes_in":{request_bytes},"upstream":{upstream},"server":{server},"attempts":{attempts},'
        f'"end":{json_string(end)},"failure":{json_string(masking.text(failure))}{call}{cache}'
    )


def _json_context(context: dict[str, Any], masking: Masking) -> str:
    kept = {
        name: MASK if masking.is_secret(name) else value
        for name, value in ((str(name), value) for name, value in context.items())
        if isinstance(value, (str, int, float))
    }
    return f',"context":{_escape_delete(json.dumps(kept))}'


def _escape_delete(encoded: str) -> str:
    """Escape the one control character that `json.dumps` leaves as it is."""
    return encoded.replace("\x7f", "\\u007f")


def _milliseconds(seconds: float) -> str:
    """Return a duration in milliseconds, cut to whole microseconds; 0.000 for a negative one."""
    microseconds = max(floor(seconds * 1e6), 0)
    return f"{microseconds // 1000}{_THOUSANDTHS[microseconds % 1000]}"


def _timestamp(second: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))


def _combined_time(second: int) -> str:
    now = time.gmtime(second)
    month = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")[now.tm_mon - 1]
    return f"{now.tm_mday:02d}/{month}/{time.strftime('%Y:%H:%M:%S', now)} +0000"
