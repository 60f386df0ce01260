"""Configuration to table: every decision that does not need a request is made here."""

from __future__ import annotations

from bisect import bisect
from collections.abc import Callable, Mapping
from copy import copy
from itertools import accumulate
from random import random
from typing import TYPE_CHECKING, Protocol

from edgewise.contracts.plan import Answer, Params, Route
from edgewise.contracts.table import Limits, Table, TcpRoute
from edgewise.http.targets import normalise_path
from edgewise.router.caching import Caches, caches, clearing, route_cache
from edgewise.router.compression import compression
from edgewise.router.files import static_files
from edgewise.router.filters import load_filters
from edgewise.router.https import PlainMatch, TlsMatch, hsts_field, plain_routes, redirect_port
from edgewise.router.match import Matcher, route_finder
from edgewise.router.networks import within
from edgewise.router.policies.browsers import PreflightMatch
from edgewise.router.policies.building import Gateway, make_gateway
from edgewise.router.policies.hosts import HostMatch
from edgewise.router.policies.identity import add_telling
from edgewise.router.policies.levels import Held, held
from edgewise.router.policies.logins import login_routes
from edgewise.router.policies.order import attach
from edgewise.router.responses import Answering, answering, delayed
from edgewise.router.sessions import GatewaySessions, gateway_sessions, request_checks
from edgewise.router.templates import compile_redirect, compile_rewrite, early_hints, strip_prefix
from edgewise.router.upstreams import build_upstreams
from edgewise.tls.contexts import ContextSet
from edgewise.tls.managed import build_contexts

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edgewise.config.identity import Identity
    from edgewise.config.schema import Config, HeaderEdits, RouteTimeouts, Server, TunnelTimeouts
    from edgewise.config.schema import Route as RouteSpec
    from edgewise.contracts.endpoint import Upstream
    from edgewise.contracts.exchange import Exchange
    from edgewise.contracts.limits import LimitMemory
    from edgewise.http.head import RequestHead

UNMATCHED = "(unmatched)"
"""Name under which requests without a route are counted."""


class Slots(Protocol):
    """Rows of shared memory that the supervisor gave to routes and endpoints."""

    @property
    def routes(self) -> Mapping[str, int]:
        """Route name -> row."""

    @property
    def endpoints(self) -> Mapping[str, int]:
        """Endpoint key -> row."""

    @property
    def limits(self) -> LimitMemory | None:
        """In which all workers count for limits; None: each for itself."""


def build(
    config: Config,
    previous: Table | None = None,
    shared: Slots | None = None,
    worker: int = 0,
    contexts: ContextSet | None = None,
) -> Table:
    """Compile `config`; upstreams that `previous` holds with equal settings are kept with their pools and health.

    `contexts` are those of this configuration where they are made already: before a fork, so that workers share them.
    Raises ValueError, ImportError or TlsError (a filter, template or certificate that cannot be loaded).
    """
    upstreams = build_upstreams(config, previous.upstreams if previous is not None else {}, shared)
    names = route_names(config)
    rows = {name: shared.routes[name] if shared is not None else index for index, name in enumerate(names)}
    server = config.server
    before = {route.name: route for route in previous.routes} if previous is not None else {}
    sessions = gateway_sessions(config, previous)
    shared_caches = caches(config, previous)
    gateway = make_gateway(config, sessions, previous, shared.limits if shared is not None else None, worker)
    routes = tuple(
        _route(spec, name, rows[name], upstreams, before) for spec, name in zip(config.routes, names, strict=False)
    )
    internal = any(route.internal for route in routes)
    for route in routes:
        _add_cache(route, config, shared_caches, before)
        _add_checks(route, config, sessions)
        _limit_tunnels(route, route.spec.timeouts, server)
        add_telling(route, config, gateway)
        route.answer = _answer(route.spec, config.identity)
        route.accel_internal = internal
    copies = {host: _of_host(config, host, routes, gateway) for host in config.hosts}
    for route in routes:
        _add_policies(route, held(config, route.spec), gateway)
    logins = login_routes(config, gateway, rows[UNMATCHED])
    match = route_finder(Matcher([*config.routes, *logins.specs]), (*routes, *logins.routes))
    own_routes = logins.routes
    if copies:
        match = host_match = HostMatch(match, {host: twins | logins.copies[host] for host, twins in copies.items()})
        own_routes += host_match.routes
    if any(level.cors is not None for level in config.levels()):
        match = PreflightMatch(match)
    contexts = contexts or _contexts(config, previous)
    unmatched = Route(UNMATCHED, rows[UNMATCHED])
    match_plain = match_tls = hsts = None
    if contexts is not None:
        plain = plain_routes(unmatched.index)
        routes_here, own_routes = (*routes, *own_routes), (*own_routes, *plain)
        match_plain = PlainMatch(match, contexts, plain, redirect_port(config))
        if config.tls.hsts is not None:
            hsts = hsts_field(config.tls.hsts)
            match_tls = TlsMatch(match, routes_here, hsts)
            own_routes += match_tls.routes
    return Table(
        generation=previous.generation + 1 if previous is not None else 1,
        match=match,
        match_internal=route_finder(Matcher(config.routes, internal=True), routes) if internal else None,
        routes=routes,
        upstreams=upstreams,
        unmatched=unmatched,
        limits=_limits(config),
        is_trusted=within(server.trusted_proxies),
        accept_proxy_protocol=server.accept_proxy_protocol,
        contexts=contexts,
        match_plain=match_plain,
        match_tls=match_tls,
        hsts=hsts,
        own_routes=own_routes,
        caches=shared_caches,
        sessions=sessions,
        gateway=gateway,
        tcp=_tcp_routes(config, rows, upstreams),
    )


def route_names(config: Config) -> list[str]:
    """Return a unique name for each route, then for each layer 4 route, and last that of requests without a route."""
    wanted = [spec.name or f"{'|'.join(spec.hosts) or '*'}{'|'.join(spec.paths)}" for spec in config.routes]
    wanted += [f"tcp {spec.listen}" for spec in config.tcp]
    names: list[str] = []
    for name in wanted:
        twins = sum(other == name or other.startswith(f"{name} #") for other in names)
        names.append(f"{name} #{twins + 1}" if twins else name)
    return [*names, UNMATCHED]


def _route(spec: RouteSpec, name: str, row: int, upstreams: dict[str, Upstream], before: Mapping[str, Route]) -> Route:
    route = Route(name, row)
    route.spec = spec
    route.upstream = upstreams[spec.upstream] if spec.upstream is not None else None
    if spec.split:
        route.split = _split({upstreams[key]: weight for key, weight in spec.split.items()})
    names = [spec.upstream] if spec.upstream is not None else list(spec.split)
    route.http2 = bool(names) and all(upstreams[name].http2 for name in names)
    route.compression = compression(spec.compress) if spec.compress is not None else None
    route.early_hints = early_hints(spec.early_hints)
    route.early_hints_http1 = spec.early_hints_http1
    route.files = static_files(spec.static) if spec.static is not None else None
    route.rewrite = _rewrite(spec)
    route.forward_edits = _edits(spec.request_headers)
    route.response_edits = _edits(spec.response_headers)
    route.request_filters, route.response_filters = load_filters(spec.filters)
    route.filter_timeout = spec.filter_timeout
    route.body_limit = spec.body_limit
    route.call_limit = spec.body_limit if "body_limit" in spec.model_fields_set else 0
    route.body_timeout = spec.timeouts.body
    route.response_timeout = spec.timeouts.response or 0.0
    route.buffer_request = spec.buffer_request
    route.preserve_host = spec.preserve_host
    route.websocket = spec.websocket
    route.internal = spec.internal
    route.accel_roots = tuple((prefix.encode(), root) for prefix, root in spec.accel.items())
    return route


def _add_cache(route: Route, config: Config, shared: Caches | None, before: Mapping[str, Route]) -> None:
    """Give a route its cache, where it has one, and what clients see in other words than servers say it."""
    added = clearing(route.spec.clear_site_data)
    if shared is not None and route.spec.cache is not None:
        asked = any("auth" in held(config, route.spec, host) for host in (None, *config.hosts))
        known = route.spec.session is not None or asked
        route.cache = route_cache(
            route.name, route.spec.cache, shared, before, route.compression, added, authenticated=known
        )
        route.device = route.cache.device
        route.client_edits = tuple(("remove", name, b"") for name in route.cache.settings.hide)
    route.client_edits += tuple(("set", field.name, field.line) for field in added)
    route.response_edits += route.client_edits


def _add_checks(route: Route, config: Config, sessions: GatewaySessions | None) -> None:
    """Put the gateway's own checks before the route's filters: those see who was verified, and nobody else."""
    requests: list[Callable[..., object]] = request_checks(config, route.spec)
    if sessions is not None:
        before, after = sessions.hooks(route.spec)
        requests += before
        route.response_filters += tuple(after)
        sessions.protect(route)
    route.request_filters = (*requests, *route.request_filters)


def _add_policies(route: Route, policies: Mapping[str, Held], gateway: Gateway) -> None:
    """Give a route what its requests must pass; then it is known whether some need nothing of all that."""
    attach(route, policies, gateway)
    respond = route.spec.respond
    if respond is not None and respond.delay:
        route.policies += (delayed(respond.delay),)
    plain = route.upstream is not None and route.upstream.breaker is None
    waits = route.request_filters or route.buffer_request or route.cache or route.early_hints
    route.direct = plain and not (waits or route.policies)


def _of_host(config: Config, host: str, routes: tuple[Route, ...], gateway: Gateway) -> dict[int, Route]:
    """Return copies of the routes that have the policies of a host, by the `id` of the route."""
    copies = {}
    for route in routes:
        twin = copies[id(route)] = copy(route)
        twin.response_memos = {}
        _add_policies(twin, held(config, route.spec, host), gateway)
    return copies


def _limit_tunnels(route: Route, timeouts: RouteTimeouts | TunnelTimeouts, server: Server) -> None:
    """Set how long tunnels may be idle and last: as the route says, else as the server does."""
    route.tunnel_timeout = server.tunnel_timeout if timeouts.tunnel is None else timeouts.tunnel
    lifetime = timeouts.tunnel_lifetime
    route.tunnel_lifetime = server.tunnel_lifetime if lifetime is None else lifetime


def _split(weights: dict[Upstream, int]) -> Callable[[Exchange], Upstream]:
    """Return a weighted random choice between upstreams."""
    choices = [upstream for upstream, weight in weights.items() if weight]
    bounds = list(accumulate(weight for weight in weights.values() if weight))
    total = bounds[-1]

    def split(exchange: Exchange) -> Upstream:
        return choices[bisect(bounds, random() * total)]

    return split


def _answer(spec: RouteSpec, identity: Identity) -> Answering | None:
    if spec.redirect is not None:
        template = compile_redirect(spec.redirect.to)
        status = spec.redirect.status

        def redirect(head: RequestHead, params: Params, scheme: bytes) -> Answer:
            return Answer(status, ((b"Location", template.render(head, params, scheme)),), b"")

        return redirect
    return None if spec.respond is None else answering(spec.respond, identity)


def _rewrite(spec: RouteSpec) -> Callable[[RequestHead, Params, bytes], bytes] | None:
    if spec.rewrite is not None:
        template = compile_rewrite(spec.rewrite)
        return template.render
    if spec.strip_prefix is None:
        return None
    prefix = normalise_path(spec.strip_prefix.encode())

    def strip(head: RequestHead, params: Params, scheme: bytes) -> bytes:
        path = strip_prefix(head.path, prefix)
        return path if head.query is None else path + b"?" + head.query

    return strip


def _edits(edits: HeaderEdits) -> tuple[tuple[str, bytes, bytes], ...]:
    found: list[tuple[str, bytes, bytes]] = [("remove", name.lower().encode(), b"") for name in edits.remove]
    for action, fields in (("set", edits.set), ("add", edits.add)):
        for name, value in fields.items():
            found.append((action, name.lower().encode(), f"{name}: {value}\r\n".encode("latin-1")))
    return tuple(found)


def _limits(config: Config) -> Limits:
    server = config.server
    return Limits(
        head_bytes=server.head_bytes,
        head_fields=server.head_fields,
        header_timeout=server.header_timeout,
        keepalive_timeout=server.keepalive_timeout,
        send_timeout=server.send_timeout,
        min_rate=server.min_rate,
        max_connections=server.max_connections,
        http2=server.http2,
        http2_streams=server.http2_max_concurrent_streams,
        http2_address_glitches=server.http2_address_glitches,
        memo_entries=server.memo_entries,
        memo_bytes=server.memo_bytes,
    )


def _contexts(config: Config, previous: Table | None) -> ContextSet | None:
    before = previous.contexts if previous is not None else None
    return build_contexts(config, before if isinstance(before, ContextSet) else None)


def _tcp_routes(config: Config, rows: dict[str, int], upstreams: dict[str, Upstream]) -> dict[str, TcpRoute]:
    found: dict[str, TcpRoute] = {}
    names = route_names(config)[len(config.routes) : -1]
    for spec, name in zip(config.tcp, names, strict=True):
        by_name = {host: upstreams[upstream] for host, upstream in spec.sni.items()}
        default = upstreams[spec.upstream] if spec.upstream is not None else None
        route = Route(name, rows[name])
        _limit_tunnels(route, spec.timeouts, config.server)
        choose = _by_name(by_name) if by_name else None
        found[spec.listen] = TcpRoute(route, default, choose, spec.accept_proxy_protocol)
    return found


def _by_name(upstreams: dict[str, Upstream]) -> Callable[[str], Upstream | None]:
    """Return the choice of an upstream by server name: exact before the longest wildcard, as with routes."""
    wildcards = sorted((name[1:] for name in upstreams if name.startswith("*.")), key=len, reverse=True)

    def find(name: str) -> Upstream | None:
        found = upstreams.get(name)
        if found is not None:
            return found
        suffix = next((suffix for suffix in wildcards if name.endswith(suffix) and name != suffix), None)
        return upstreams[f"*{suffix}"] if suffix is not None else None

    return find
