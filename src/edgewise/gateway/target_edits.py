"""Edits of a request's target: its path by a template, the parameters of its query."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias
from urllib.parse import quote

from edgewise.gateway.templates import Known, Template
from edgewise.http.queries import decoded
from edgewise.protocols.errors import ProtocolError

if TYPE_CHECKING:
    from edgewise.contracts.plan import Params
    from edgewise.http.head import RequestHead

Rewrite: TypeAlias = "Callable[[RequestHead, Params, bytes], bytes]"
"""(head, path parameters, scheme) -> target, as `contracts.plan.Route.rewrite`."""
_dot_segment = re.compile(rb"/(?:\.|%2[eE]){1,2}(?:/|\Z)").search


@dataclass(frozen=True)
class TargetEdits:
    """What becomes of a target: its path, then its query, in the order remove, rename, set, add."""

    path: Template | None = None
    remove: frozenset[bytes] = frozenset()
    """Names of parameters, decoded as those below."""
    rename: tuple[tuple[bytes, bytes], ...] = ()
    set: tuple[tuple[bytes, Template], ...] = ()
    add: tuple[tuple[bytes, Template], ...] = ()

    @property
    def templates(self) -> list[Template]:
        """All templates in it."""
        own = [self.path] if self.path is not None else []
        return [*own, *(template for _, template in (*self.set, *self.add))]

    @property
    def of_head(self) -> bool:
        """Does the result follow from the request's head alone?"""
        return all(template.of_head for template in self.templates)

    def edited(self, target: bytes, known: Known) -> bytes:
        """Return the edited target.

        Raises ProtocolError(400) where the path lacks a value or would have dot segments.
        """
        path, _, query = target.partition(b"?")
        if self.path is not None:
            path = self.path.in_path(known)
            if not path:
                raise ProtocolError(400, "the path that the request is sent on to lacks a value")
            path = b"/" + path.lstrip(b"/")
            if _dot_segment(path):
                raise ProtocolError(400, "the path that the request is sent on to would have dot segments")
        query = self._query(query, known)
        return b"%b?%b" % (path, query) if query else path

    def _query(self, query: bytes, known: Known) -> bytes:
        if not (self.remove or self.rename or self.set or self.add):
            return query
        renamed = dict(self.rename)
        replaced = {name for name, _ in self.set}
        pairs = []
        for pair in query.split(b"&"):
            name, equals, value = pair.partition(b"=")
            plain = decoded(name)
            if not pair or plain in self.remove:
                continue
            if plain in renamed:
                plain = renamed[plain]
                pair = _encoded(plain) + equals + value
            if plain not in replaced:
                pairs.append(pair)
        for name, template in (*self.set, *self.add):
            value = template.in_query(known)
            pairs += [b"%b=%b" % (_encoded(name), value)] if value or template.fixed else []
        return b"&".join(pairs)

    def after(self, rewrite: Rewrite | None) -> Rewrite:
        """Return a rewrite that makes these edits on what another one makes; only where they are `of_head`."""

        def edited(head: RequestHead, params: Params, scheme: bytes) -> bytes:
            target = head.target if rewrite is None else rewrite(head, params, scheme)
            return self.edited(target, Known(head, params, scheme, None))

        return edited


def _encoded(name: bytes) -> bytes:
    return name if name.isalnum() else quote(name, safe="").encode()
