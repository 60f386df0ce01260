"""Upstreams from configuration; what is unchanged keeps its endpoints, pools and health across reloads."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from edgewise.balancer.breaker import BreakerSettings, CircuitBreaker
from edgewise.balancer.observing import observer_of
from edgewise.balancer.outlier import Ejection, OutlierDetector
from edgewise.balancer.policies import make_policy
from edgewise.balancer.sticky import Sticky
from edgewise.config.addresses import SERVER_HOST, parse_address
from edgewise.config.values import GRPC_RETRIES
from edgewise.contracts.endpoint import Address, Endpoint, Retry, Upstream
from edgewise.router.discovery import host_name
from edgewise.tls.upstream import upstream_context

if TYPE_CHECKING:
    from edgewise.config.schema import Config, UpstreamServer
    from edgewise.config.schema import Upstream as Spec
    from edgewise.contracts.balancing import BalancingPolicy
    from edgewise.router.build import Slots


def build_upstreams(config: Config, previous: dict[str, Upstream], shared: Slots | None) -> dict[str, Upstream]:
    """Return the upstreams by name; one whose settings did not change is the object it was."""
    found: dict[str, Upstream] = {}
    for name, spec in config.upstreams.items():
        before = previous.get(name)
        same = before is not None and before.spec == spec
        found[name] = before if same and before is not None else _build(name, spec, before, shared)
    return found


def endpoint_key(upstream: str, server: UpstreamServer) -> str:
    """Return what `edgewise drain` and the shared memory call a configured server."""
    return f"{upstream}/{server.address}"


def _build(name: str, spec: Spec, before: Upstream | None, shared: Slots | None) -> Upstream:
    kept = _kept_endpoints(spec, before)
    endpoints: list[Endpoint] = []
    names: dict[str, Endpoint] = {}
    for server in spec.servers:
        endpoint = _endpoint(name, server, spec, kept)
        if shared is not None:
            endpoint.slot = shared.endpoints[endpoint.key]
        if host_name(server) is None:
            endpoints.append(endpoint)
        else:
            names[endpoint.key] = endpoint
            endpoints += [one for one in kept.values() if one.origin == endpoint.key]
    if spec.srv is not None:
        key = f"{name}/{spec.srv}"
        names[key] = Endpoint(key, (spec.srv, 0), max_connections=spec.max_connections)
        if shared is not None:
            names[key].slot = shared.endpoints[key]
        endpoints += [one for one in kept.values() if one.origin == key]
    upstream = Upstream(name, endpoints, _policy(spec))
    upstream.names = names
    upstream.spec = spec
    _settings(upstream, spec)
    return upstream


def _kept_endpoints(spec: Spec, before: Upstream | None) -> dict[str, Endpoint]:
    """Return the endpoints whose idle connections would be made the same way today."""
    if before is None or _wire(before.spec) != _wire(spec):
        return {}
    return {endpoint.key: endpoint for endpoint in before.endpoints}


def _wire(spec: Spec) -> tuple[object, ...]:
    return (spec.tls, spec.proxy_protocol, spec.protocol)


def _endpoint(name: str, server: UpstreamServer, spec: Spec, kept: dict[str, Endpoint]) -> Endpoint:
    key = endpoint_key(name, server)
    address: Address = parse_address(server.address, SERVER_HOST)
    limit = server.max_connections or spec.max_connections
    endpoint = Endpoint(key, address, server.weight, backup=server.backup, max_connections=limit)
    before = kept.get(key)
    if before is None:
        return endpoint
    if not spec.eject:
        before.ejected = False
    wanted = (server.weight, server.backup, limit)
    if (before.weight, before.backup, before.max_connections) == wanted:
        return before
    endpoint.health, endpoint.drained = before.health, before.drained
    return endpoint


def _policy(spec: Spec) -> BalancingPolicy:
    policy = make_policy(spec.balance, slow_start=spec.slow_start, hash_key=spec.hash_key)
    if spec.sticky is None:
        return policy
    sticky = spec.sticky
    secret = sticky.secret.encode() if sticky.secret is not None else secrets.token_bytes(32)
    return Sticky(policy, secret, cookie=sticky.cookie, secure=sticky.secure, max_age=sticky.max_age)


def _settings(upstream: Upstream, spec: Spec) -> None:
    statuses = frozenset(one for one in spec.retry.on if isinstance(one, int))
    upstream.retry = Retry(
        attempts=spec.retry.attempts,
        on_connect="connect" in spec.retry.on,
        on_statuses=statuses,
        on_grpc=frozenset(GRPC_RETRIES[one] for one in spec.retry.on if one in GRPC_RETRIES),
        body_limit=spec.retry.body_limit,
        budget_ratio=spec.retry.budget_ratio,
        budget_min=spec.retry.budget_min,
    )
    upstream.connect_timeout = spec.timeouts.connect
    upstream.response_timeout = spec.timeouts.response
    upstream.queue_timeout = spec.timeouts.queue
    upstream.idle_timeout = spec.timeouts.idle
    # A PROXY header names one client, so its connection may serve no other.
    upstream.max_idle = 0 if spec.proxy_protocol else spec.max_idle
    upstream.max_waiting = spec.max_waiting
    upstream.hedge_after = spec.hedge.after if spec.hedge is not None else 0.0
    upstream.proxy_protocol = spec.proxy_protocol
    if spec.servers:
        upstream.authority = (
            spec.servers[0].address.encode() if not spec.servers[0].address.startswith("unix:") else b"localhost"
        )
    upstream.http2 = spec.protocol != "http1"
    if spec.tls:
        upstream.tls = upstream_context(spec.tls, http2=upstream.http2)
        upstream.server_name = spec.tls.server_name
    upstream.outlier = _outlier(upstream, spec)
    eject = spec.eject
    by_rate = eject is not False and (eject.success_rate is not None or eject.latency_factor is not None)
    upstream.timed = by_rate or spec.breaker is not None or observer_of(upstream.policy) is not None
    if spec.breaker is not None:
        breaker = spec.breaker
        upstream.breaker = CircuitBreaker(
            upstream,
            BreakerSettings(
                max_active=breaker.max_active,
                error_rate=breaker.error_rate,
                min_requests=breaker.min_requests,
                window=breaker.window,
                open_time=breaker.open_time,
            ),
        )


def _outlier(upstream: Upstream, spec: Spec) -> OutlierDetector | None:
    """Return the detector, or None where neither ejection, slow start nor the policy needs one."""
    if not spec.eject:
        if not spec.slow_start and observer_of(upstream.policy) is None:
            return None
        return OutlierDetector(upstream, None, slow_start=spec.slow_start)
    eject = spec.eject
    settings = Ejection(
        consecutive_errors=eject.consecutive_errors,
        success_rate=eject.success_rate,
        latency_factor=eject.latency_factor,
        interval=eject.interval,
        min_requests=eject.min_requests,
        base_time=eject.base_time,
        max_time=eject.max_time,
        max_share=eject.max_share,
    )
    return OutlierDetector(upstream, settings, slow_start=spec.slow_start)
