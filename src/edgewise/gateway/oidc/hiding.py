"""The session's cookie is kept from servers: who has it could be the user."""

from __future__ import annotations

from copy import copy
from typing import TYPE_CHECKING

from edgewise.http.head import Field

if TYPE_CHECKING:
    from edgewise.contracts.exchange import Exchange
    from edgewise.contracts.plan import Plan

_MOST = 256
"""Plans that are remembered."""


class Hiding:
    """Takes a cookie out of what goes on: of a plan a copy is made, as others share it."""

    def __init__(self, name: str) -> None:
        self._start = f"{name}=".encode("latin-1")
        self._made: dict[int, tuple[Plan, Plan]] = {}
        """By the `id` of a plan, which is kept here so that no other gets it: the plan, and that without the cookie."""

    def hide(self, exchange: Exchange) -> None:
        """Do so for a request: of one that comes again the plan is remembered, and so is what became of it."""
        plan = exchange.plan
        made = self._made.get(id(plan))
        if made is None:
            if len(self._made) >= _MOST:
                self._made.clear()
            made = self._made[id(plan)] = plan, _without_cookie(plan, self._start)
        exchange.plan = made[1]


def _without_cookie(plan: Plan, start: bytes) -> Plan:
    request = plan.request
    lines = request.lines
    told = [field for field in request.fields if field.name == b"cookie" and start in field.value]
    if not told:
        return plan
    plan = copy(plan)
    secret, before, after = request.secret, lines.before, lines.after
    forward, forward_after = lines.forward, lines.forward_after
    for field in told:
        line = _without(start, field.value)
        plan.head = _replaced(plan.head, field.line, line)
        secret = line if secret == field.line else secret
        before, after = _fields(before, field, line), _fields(after, field, line)
        forward, forward_after = _replaced(forward, field.line, line), _replaced(forward_after, field.line, line)
    revised = lines.revised(before=before, after=after, forward=forward, forward_after=forward_after)
    plan.request = request.with_lines(revised, secret)
    return plan


def _without(start: bytes, value: bytes) -> bytes:
    """Return the Cookie line of a value without the cookie; b"" where nothing is left."""
    pairs = [pair.strip(b" \t") for pair in value.split(b";")]
    others = b"; ".join([pair for pair in pairs if pair and not pair.startswith(start)])
    return b"Cookie: %b\r\n" % others if others else b""


def _replaced(lines: bytes, old: bytes, new: bytes) -> bytes:
    """Replace a whole line."""
    return (b"\r\n" + lines).replace(b"\r\n" + old, b"\r\n" + new, 1)[2:]


def _fields(fields: tuple[Field, ...], old: Field, line: bytes) -> tuple[Field, ...]:
    if old not in fields:
        return fields
    new = (Field(b"cookie", line[len(b"Cookie: ") : -2], line),) if line else ()
    at = fields.index(old)
    return (*fields[:at], *new, *fields[at + 1 :])
