"""The table `transform` to changes of a route: what follows from heads by its edits, the rest by policies."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from edgewise.gateway.json_edits import JsonEdits, parse_path
from edgewise.gateway.target_edits import TargetEdits
from edgewise.gateway.templates import Template
from edgewise.gateway.transform import (
    BodyEdits,
    Lines,
    Params,
    RequestTransform,
    ResponseTransform,
    json_value,
    no_params,
)
from edgewise.proxy.editing import edit
from edgewise.proxy.revising import revise
from edgewise.router.match import Matcher, NoMatch

if TYPE_CHECKING:
    from edgewise.config.transform import BodyChanges, HeaderChanges, RequestChanges, Transform
    from edgewise.contracts.plan import Route
    from edgewise.contracts.policies import Policy
    from edgewise.http.head import RequestHead
    from edgewise.router.policies.building import Building

Edits = tuple[tuple[str, bytes, bytes], ...]
_AS_IT_IS: Edits = (
    ("set", b"accept-encoding", b"Accept-Encoding: identity\r\n"),
    ("remove", b"range", b""),
    ("remove", b"if-range", b""),
)
"""What a server is asked for whose answer is edited: the whole of it, not compressed."""
_DIGESTS: Edits = tuple(
    ("remove", name, b"") for name in (b"content-digest", b"content-md5", b"digest", b"repr-digest")
)
"""Fields of requests that would be wrong of edited content."""


def request_transform(spec: Transform, building: Building) -> Policy | None:
    """Change the route's edits of requests; return the policy that makes the other changes."""
    route, changes = building.route, spec.request
    edits, lines = _of_headers(changes.headers)
    replaced = frozenset(name.lower().encode() for name, _ in _with_fields(changes.headers.set))
    route.forward_edits += edits
    route.stripped |= replaced
    target = _target(changes)
    if target is not None and target.of_head:
        route.rewrite, target = target.after(route.rewrite), None
    body = _body(changes.body, strict=True)
    route.forward_edits += _DIGESTS if body is not None else ()
    if not lines and target is None and body is None:
        return None
    templates = [template for _, template in lines] + (target.templates if target is not None else [])
    params = _params(route, wanted=body is not None or any(template.wants_params for template in templates))
    return RequestTransform(lines, replaced, target, body, params, revise).transform


def response_transform(spec: Transform, building: Building) -> Policy | None:
    """Change the route's edits of answers; return the policy that makes the other changes."""
    route, changes = building.route, spec.response
    edits, lines = _of_headers(changes.headers)
    edits += tuple(("remove", name.lower().encode(), b"") for name, _ in _with_fields(changes.headers.set))
    own = len(route.response_edits) - len(route.client_edits)
    route.response_edits = (*route.response_edits[:own], *edits, *route.response_edits[own:])
    body = _body(changes.body, strict=changes.body is None or changes.body.on_error == "refuse")
    if body is not None:
        route.forward_edits += _AS_IT_IS
        route.compression = None
    if not lines and body is None:
        return None
    params = _params(route, wanted=body is not None or any(template.wants_params for _, template in lines))
    return ResponseTransform(lines, body, params, edit, revise).transform


def _of_headers(changes: HeaderChanges) -> tuple[Edits, Lines]:
    """Return the changes that are always the same, and the fields that are made for each request."""
    edits: list[tuple[str, bytes, bytes]] = [("remove", name.lower().encode(), b"") for name in changes.remove]
    edits += [("rename", old.lower().encode(), new.encode()) for old, new in changes.rename.items()]
    for action, fields in (("set", changes.set), ("add", changes.add)):
        edits += [
            (action, name.lower().encode(), f"{name}: {value}\r\n".encode("latin-1"))
            for name, value in fields.items()
            if Template(value).fixed
        ]
    made = (*_with_fields(changes.set), *_with_fields(changes.add))
    return tuple(edits), tuple((name.encode(), template) for name, template in made)


def _with_fields(fields: Mapping[str, str]) -> list[tuple[str, Template]]:
    templates = [(name, Template(value)) for name, value in fields.items()]
    return [(name, template) for name, template in templates if not template.fixed]


def _target(changes: RequestChanges) -> TargetEdits | None:
    query = changes.query
    edits = TargetEdits(
        path=None if changes.path is None else Template(changes.path),
        remove=frozenset(name.encode() for name in query.remove),
        rename=tuple((old.encode(), new.encode()) for old, new in query.rename.items()),
        set=tuple((name.encode(), Template(value)) for name, value in query.set.items()),
        add=tuple((name.encode(), Template(value)) for name, value in query.add.items()),
    )
    return None if edits == TargetEdits() else edits


def _body(changes: BodyChanges | None, *, strict: bool) -> BodyEdits | None:
    if changes is None:
        return None
    edits = JsonEdits(
        unwrap=None if changes.unwrap is None else parse_path(changes.unwrap),
        remove=tuple(map(parse_path, changes.remove)),
        rename=tuple((parse_path(path), name) for path, name in changes.rename.items()),
        set=tuple((parse_path(path), json_value(value)) for path, value in changes.set.items()),
        wrap=changes.wrap,
    )
    return BodyEdits(edits, changes.most, strict)


def _params(route: Route, *, wanted: bool) -> Params:
    """Return how the parameters of the route's path are found again, where they are asked for."""
    if not wanted or not any("{" in path for path in route.spec.paths):
        return no_params
    matcher = Matcher([route.spec], internal=True)

    def find(head: RequestHead) -> Mapping[str, bytes]:
        found = matcher.match(head.host, head.path, head.method, head.query, head)
        return {} if isinstance(found, NoMatch) else found[1]

    return find
