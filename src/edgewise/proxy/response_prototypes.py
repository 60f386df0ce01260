"""What the answers of a server that differ only in a few values have in common: all of their plans but those values.

Dates, lengths and entity tags change from answer to answer; server, content type and cookies' policies do not.
"""

from __future__ import annotations

from collections.abc import Callable

from edgewise.contracts.plan import ResponsePlan
from edgewise.contracts.table import Limits
from edgewise.http.head import CHUNKED, UNTIL_CLOSE
from edgewise.protocols.errors import ProtocolError
from edgewise.protocols.http1_fields import HOP_BY_HOP, hop_by_hop
from edgewise.protocols.http1_parting import DATE, LENGTH, part
from edgewise.proxy.memo import Memo

_SHARE = 16
"""One in so many entries and bytes of the memo's bounds is for prototypes."""


class _Prototype:
    """What the heads of one model share; worked out when it is first looked up, so not for models that never recur."""

    __slots__ = ("after", "before", "known", "plan")

    def __init__(self) -> None:
        self.known = False
        self.plan: ResponsePlan | None = None
        """Plan of the model; None where more than its own lines follows from a head."""
        self.before = b""
        """Of the client's head, what stands before the lines of its own."""
        self.after = b""


class ResponsePrototypes:
    """Plans of response heads by what they share; `make` is the function that makes any plan."""

    __slots__ = ("_make", "_memo")

    def __init__(self, make: Callable[[bytes], ResponsePlan], limits: Limits) -> None:
        self._make = make
        self._memo = Memo(limits.memo_entries // _SHARE, limits.memo_bytes // _SHARE)

    def find(self, head: bytes) -> ResponsePlan | None:
        """Return the plan of a head of which all but the values of its own is known, else None."""
        parted = part(head)
        if parted is None:
            return None
        model, own, length = parted
        prototype: _Prototype | None = self._memo.get(model)
        if prototype is None:
            self._memo.offer(model, _Prototype())
            return None
        if not prototype.known:
            self._work_out(prototype, model)
        if prototype.plan is None:
            return None
        return _plan(prototype.plan, b"%b%b%b" % (prototype.before, own, prototype.after), length)

    def _work_out(self, prototype: _Prototype, model: bytes) -> None:
        prototype.known = True
        try:
            plan = self._make(model)
        except ProtocolError:
            return
        before, _, after = plan.head.partition(b"\r\n" + DATE)
        framed = plan.body == 1 if after.startswith(LENGTH) else plan.body in (CHUNKED, UNTIL_CLOSE)
        if framed and plan.sendable and hop_by_hop(plan.response) is HOP_BY_HOP:
            prototype.plan = plan
            prototype.before = before + b"\r\n"
            prototype.after = after.removeprefix(LENGTH)


def _plan(prototype: ResponsePlan, head: bytes, length: int) -> ResponsePlan:
    """Return a plan with another head; nobody asks the response of a `sendable` one for its fields."""
    plan = ResponsePlan(prototype.response)
    plan.head = head
    plan.body = prototype.body if length < 0 else length
    plan.chunk = prototype.chunk
    plan.close = prototype.close
    return plan
