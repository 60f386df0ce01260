"""Answers that edgewise makes itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgewise.contracts.plan import Answer, Plan
from edgewise.contracts.table import Refusal
from edgewise.http.statuses import reason

if TYPE_CHECKING:
    from edgewise.contracts.exchange import Exchange

_PLAIN = (b"Content-Type", b"text/plain; charset=utf-8")


def error_answer(status: int, extra: tuple[tuple[bytes, bytes], ...] = ()) -> Answer:
    """Return a short plain-text answer that says no more than the status does."""
    return Answer(status, (_PLAIN, *extra), b"%d %b\n" % (status, reason(status)))


def render(answer: Answer, *, head_only: bool, close: bool, minor: int = 1) -> tuple[bytes, bytes]:
    """Return head and content of `answer`; framing is written here, whatever its fields say (RFC 9112 section 6)."""
    lines = [b"HTTP/1.1 %d %b\r\n" % (answer.status, reason(answer.status))]
    lines += [name + b": " + value + b"\r\n" for name, value in answer.fields]
    bodiless = answer.status in (204, 304)
    if not bodiless:
        lines.append(b"Content-Length: %d\r\n" % len(answer.content))
    if close:
        lines.append(b"Connection: close\r\n")
    elif not minor:
        lines.append(b"Connection: keep-alive\r\n")
    lines.append(b"\r\n")
    return b"".join(lines), b"" if head_only or bodiless else answer.content


def with_lines(exchange: Exchange, head: bytes) -> bytes:
    """Return a response head with the lines that policies want in whatever the client gets."""
    exchange.response_bytes += len(exchange.answer_lines)
    return b"%b%b\r\n" % (head[:-2], exchange.answer_lines)


def answer_plan(plan: Plan, answer: Answer) -> Plan:
    """Make `plan` one that answers at the edge (a redirect, a fixed response)."""
    plan.answer = answer
    return plan


def refuse_plan(plan: Plan, refusal: Refusal) -> Plan:
    """Make `plan` that of a request that no route answers."""
    extra = ((b"Allow", b", ".join(refusal.allow)),) if refusal.allow else ()
    return answer_plan(plan, error_answer(refusal.status, extra))
