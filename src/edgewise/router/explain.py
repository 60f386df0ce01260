"""Says what would become of a request: the route and why not the nearer ones, what is sent, to whom, what bounds it."""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from edgewise.cache.route import HttpCache
from edgewise.contracts.files import Representation
from edgewise.contracts.plan import Plan
from edgewise.contracts.table import Table
from edgewise.gateway.cors import preflight_method
from edgewise.http.head import CHUNKED
from edgewise.http.masking import Masking
from edgewise.http.preconditions import outcome
from edgewise.protocols.errors import ProtocolError
from edgewise.protocols.grpc import Kind
from edgewise.protocols.http1 import parse_request_head
from edgewise.proxy.plans import make_plan
from edgewise.router.build import build, route_names
from edgewise.router.caching import clearing
from edgewise.router.match import Matcher
from edgewise.router.policies.explaining import policy_lines
from edgewise.router.policies.hosts import most_specific
from edgewise.router.policies.identity import told_names
from edgewise.router.policies.levels import held
from edgewise.router.policies.limits import limit_lines
from edgewise.router.policies.logins import LOGIN_ROUTE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgewise.config.schema import Config, Health, Static
    from edgewise.config.schema import Route as RouteSpec
    from edgewise.config.schema import Upstream as UpstreamSpec

_CANDIDATES = 12
"""Candidates shown at most."""


def explain(config: Config, method: str, url: str, headers: Sequence[tuple[str, str]] = ()) -> str:
    """Return a text that explains the request `method` `url` with `headers`; nothing is sent, and secrets are masked.

    Raises ValueError where no such request can be written.
    """
    parts = urlsplit(url)
    head = _head(method, parts.netloc or "any.invalid", url, headers)
    table = build(config)
    masking = Masking(config.secret_parameters(), config.access_log.show)
    lines = [f"{method} {masking.url(url.encode()).decode()}"]
    try:
        request = parse_request_head(head, table.limits.head_fields)
        plan = make_plan(table, head, (parts.scheme or "http").encode(), trusted=False)
    except ProtocolError as error:
        return "\n".join([*lines, "", f"refused   {error.status}: {error.detail} (no route is looked at)"])
    asked = (plan.route.preflights and preflight_method(request)) or request.method
    verdicts = Matcher(config.routes).why(request.host, request.path, asked, request.query, request)
    names = route_names(config)
    lines += ["", "routes    most specific first"]
    for verdict in verdicts[:_CANDIDATES]:
        mark = "->" if verdict.matched else "  "
        lines.append(f"  {mark} {names[verdict.route]}  [{verdict.host} {verdict.path}]  {verdict.reason}")
    if len(verdicts) > _CANDIDATES:
        lines.append(f"     ... and {len(verdicts) - _CANDIDATES} more")
    spec: RouteSpec | None = plan.route.spec
    if config.tls.redirect and parts.scheme == "http":
        lines += ["", "redirect  308 to https, where the host has a certificate (tls.redirect); else:"]
    scheme = (parts.scheme or "http").encode()
    return "\n".join([*lines, "", *map(masking.line, _outcome(config, table, plan, spec, scheme))])


def _head(method: str, authority: str, url: str, headers: Sequence[tuple[str, str]]) -> bytes:
    parts = urlsplit(url)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    lines = [f"{method} {target} HTTP/1.1"]
    if not any(name.lower() == "host" for name, _ in headers):
        lines.append(f"Host: {authority}")
    lines += [f"{name}: {value}" for name, value in headers]
    for line in lines:
        if "\r" in line or "\n" in line:
            raise ValueError("a line break in the request")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def _outcome(config: Config, table: Table, plan: Plan, spec: RouteSpec | None, scheme: bytes) -> list[str]:
    if plan.route.name.startswith(LOGIN_ROUTE):
        return [f"route     {plan.route.name}", "answer    made at the edge: where logins begin, come back to or end"]
    if spec is None:
        assert plan.answer is not None
        allowed = [value.decode() for name, value in plan.answer.fields if name == b"Allow"]
        return [f"answer    {plan.answer.status}" + (f", Allow: {allowed[0]}" if allowed else ": no route matches")]
    lines = [f"route     {plan.route.name}"]
    host = most_specific(plan.request.host.decode("latin-1"), config.hosts)
    lines += policy_lines(config, spec, host)
    if plan.route.preflights and preflight_method(plan.request) is not None:
        return [*lines, "answer    to a preflight, by cors"]
    lines += limit_lines(held(config, spec, host))
    lines += _sessions(config, spec)
    lines.append(f"filters   {', '.join(spec.filters) or 'none'}")
    if plan.answer is not None:
        lines.append(f"answer    {plan.answer.status}, made at the edge")
        lines += [f"          {name.decode()}: {value.decode('latin-1')}" for name, value in plan.answer.fields]
        return lines
    if spec.static is not None:
        return lines + _file(plan, spec.static)
    if spec.cache is not None:
        lines.append(f"cache     {_kept(plan, scheme)}")
        if config.cache.disk:
            lines.append(f"          in memory, and on disk ({config.cache.directory or 'in the state directory'})")
    for name in [spec.upstream] if spec.upstream is not None else list(spec.split):
        share = f" ({spec.split[name]} of {sum(spec.split.values())})" if spec.split else ""
        lines += _upstream(name, share, config.upstreams[name])
    lines += _sent(plan, told_names(config, asked="auth" in held(config, spec, host) or spec.session is not None))
    lines += _told(spec)
    lines += [f"hint      103 before a server is asked: Link: {link}" for link in spec.early_hints]
    if spec.compress is not None:
        lines.append(
            f"compress  {plan.coding.decode() or 'not for this client'}, where the answer's type and size are for it"
        )
    lines += _limits(config, spec, plan)
    return lines


def _kept(plan: Plan, scheme: bytes) -> str:
    """Say how the route's cache takes a request; what it holds only a running edgewise knows (`--cache`)."""
    assert isinstance(plan.route.cache, HttpCache)
    request = plan.route.cache.request(plan.request, scheme)
    if request is None:
        return "goes by: only GET and HEAD without content and without If-Match are answered from it"
    device = plan.route.cache.device
    kind = "" if device is None else f", for {device(plan.request.fields).decode()} devices"
    return f"answered and kept as answers say, by {scheme.decode()}://{request.url.decode('latin-1')}{kind}"


def _told(spec: RouteSpec) -> list[str]:
    """Return what browsers are told that servers do not say, and what they are not told."""
    told = []
    if spec.cache is not None and spec.cache.browser is not None:
        told.append(f"Cache-Control: {spec.cache.browser} with what is kept, its seconds from then on")
    if spec.cache is not None and spec.cache.etag is not None:
        told.append(f"a {spec.cache.etag} ETag of the content, with what is kept whole and has none")
    if spec.cache is not None and spec.cache.hide:
        told.append(f"nothing of {', '.join(spec.cache.hide)}")
    if spec.clear_site_data:
        told.append(f"Clear-Site-Data: {clearing(spec.clear_site_data)[0].value.decode()}")
    return [f"{'browsers' if not index else '':10}{text}" for index, text in enumerate(told)]


def _file(plan: Plan, spec: Static) -> list[str]:
    """Return what a route's files answer: which is there now."""
    files = plan.route.files
    assert files is not None
    path = plan.file.target.name.decode("utf-8", "backslashreplace") if plan.file.target is not None else "no name"
    lines = [f"file      {path} below {spec.root}"]
    found = files.find(plan.file, monotonic())
    if isinstance(found, int):
        return [*lines, f"answer    {found}"]
    status = found.status
    if isinstance(found, Representation) and plan.file.conditions is not None:
        status = outcome(plan.file.conditions, found.etag, found.modified) or status
    lines.append(f"answer    {status}")
    return lines + [f"          {name.decode()}: {value.decode('latin-1')}" for name, value in found.fields]


def _upstream(name: str, share: str, spec: UpstreamSpec) -> list[str]:
    by = f" by {spec.hash_key}" if spec.balance == "consistent_hash" else ""
    sticky = f", sticky cookie {spec.sticky.cookie}" if spec.sticky is not None else ""
    lines = [f"upstream  {name}{share}: {spec.balance}{by}{sticky}"]
    for server in spec.servers:
        notes = [f"weight {server.weight}"] if server.weight != 1 else []
        notes += ["backup, used when no other is available"] if server.backup else []
        limit = server.max_connections or spec.max_connections
        notes += [f"at most {limit} connections a worker"] if limit else []
        lines.append(f"          {server.address}" + (f" ({', '.join(notes)})" if notes else ""))
    if spec.srv is not None:
        lines.append(f"          servers of SRV {spec.srv}")
    if spec.app is not None:
        lines.append(f"          {spec.processes} processes of {spec.app}")
    if spec.health is not None:
        lines.append(f"          health: {_check(spec.health)} every {spec.health.interval:g} s")
    retry = spec.retry
    on = ", ".join(str(one) for one in retry.on)
    lines.append(
        f"          attempts: {retry.attempts}, again on: {on or 'nothing'}; retry budget {retry.budget_ratio:.0%}"
    )
    return lines


def _check(health: Health) -> str:
    if health.grpc is not None:
        return f"gRPC health of {health.grpc or 'the server'}"
    return f"GET {health.path}" if health.type == "http" else "TCP connect"


def _sessions(config: Config, spec: RouteSpec) -> list[str]:
    lines = []
    if spec.csrf == "token":
        lines.append("csrf      methods that change something only with a token of their session in X-CSRF-Token")
    elif spec.csrf:
        lines.append("csrf      methods that change something, and WebSockets, only from pages of the same origin")
    if spec.session is None:
        return lines
    sessions = config.sessions
    lines.append(f"session   {spec.session}, {sessions.mode}; the upstream does not get the cookie")
    if spec.session == "required":
        login = f"303 to {spec.login} where a browser opens a page, else " if spec.login is not None else ""
        lines.append(f"          without one: {login}401; 503 while the state engine is lost")
    else:
        lines.append("          without one, or while the state engine is lost: goes on as nobody's")
    return lines


def _sent(plan: Plan, told: list[str]) -> list[str]:
    added = b"X-Request-ID: <new>\r\ntraceparent: 00-<trace id>-<span id>-00\r\n"
    if plan.trace is not None:
        trace_id, flags = plan.trace
        added = added.replace(b"<trace id>", trace_id.encode()).replace(b"-00\r\n", f"-{flags}\r\n".encode())
    if plan.grpc is not None and plan.grpc.timeout is not None:
        added = b"grpc-timeout: <what is left>\r\n" + added
    sent = plan.head + added + b"X-Forwarded-For: <client address>\r\nX-Forwarded-Proto: <http or https>"
    first, *rest = sent.decode("latin-1").split("\r\n")
    lines = [f"sends     {first}", *(f"          {line}" for line in rest if line)]
    return lines + [f"          {name}: <of who asks>" for name in told]


def _limits(config: Config, spec: RouteSpec, plan: Plan) -> list[str]:
    call = plan.grpc is not None and plan.grpc.kind == Kind.GRPC
    most = plan.route.call_limit if call else spec.body_limit
    limit = f"at most {most} bytes" if most else "no limit"
    content = {0: "none", CHUNKED: "chunked"}.get(plan.body, f"{plan.body} bytes")
    names = [spec.upstream] if spec.upstream is not None else list(spec.split)
    timeouts = config.upstreams[names[0]].timeouts
    response = spec.timeouts.response or timeouts.response
    lines = [f"content   {content}; {limit}{', read before a server is chosen' if spec.buffer_request else ''}"]
    lines.append(
        f"timeouts  connect {timeouts.connect:g} s, queue {timeouts.queue:g} s, response {response:g} s, "
        f"content {spec.timeouts.body:g} s"
    )
    if plan.grpc is not None:
        web = "translated from gRPC-Web; " if plan.grpc.translated else ""
        lines.append(f"gRPC      {web}failures of the edge are told by grpc-status")
    if plan.upgrade is not None:
        lines.append(f"upgrade   {plan.upgrade.decode()}: a tunnel after the server's 101")
    return lines
