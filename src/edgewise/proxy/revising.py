"""A request with another target, or with fields that follow from more than its head, gets a plan of its own."""

from __future__ import annotations

from copy import copy
from typing import TYPE_CHECKING

from edgewise.http.head import RequestHead
from edgewise.protocols.http1_fields import parse_fields

if TYPE_CHECKING:
    from edgewise.contracts.exchange import Exchange


def revise(exchange: Exchange, target: bytes | None, lines: bytes, without: frozenset[bytes]) -> None:
    """Send another target on, and have the cache see these fields (`contracts.editing.Revise`)."""
    plan = copy(exchange.plan)
    if plan.head and target is not None:
        method, _, rest = plan.head.split(b" ", 2)
        plan.head = b"%b %b %b" % (method, target, rest)
    plan.simple = False
    exchange.plan = plan
    if plan.route.cache is None:
        return
    original = plan.revised or plan.request
    fields = tuple(field for field in original.fields if field.name not in without) + parse_fields(lines)
    known = original.lines.revised(before=fields, after=(), telling=True)
    sent = original.target if target is None else target
    path, mark, query = sent.partition(b"?")
    plan.revised = RequestHead(original.method, sent, path, query if mark else None, original.minor, known)
    plan.cached = None
