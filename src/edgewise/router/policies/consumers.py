"""Consumers of the configuration, and the keys of `auth` by which they are told: API keys, names with passwords."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from edgewise.config.credentials import CONSUMERS
from edgewise.gateway.api_keys import (
    ApiKeyAuthenticator,
    authorization_reader,
    cookie_reader,
    header_reader,
    query_reader,
    without_parameter,
)
from edgewise.gateway.basic import BasicAuthenticator, Users
from edgewise.gateway.consumer_records import key_digest
from edgewise.gateway.consumers import Consumer, Consumers
from edgewise.gateway.htpasswd import HtpasswdUsers
from edgewise.gateway.stored_consumers import StoredConsumers

if TYPE_CHECKING:
    from edgewise.config.consumers import Consumer as ConsumerSpec
    from edgewise.config.credentials import ApiKeys, Basic
    from edgewise.contracts.plan import Params, Route
    from edgewise.contracts.policies import Authenticator
    from edgewise.http.head import RequestHead
    from edgewise.router.policies.building import Building, Gateway

_STORED = "consumers of the state engine"
_AUTHORIZATION = "authorization"


class _Specs:
    """Key of what is made of these consumers: equal while they are."""

    def __init__(self, specs: Mapping[str, ConsumerSpec]) -> None:
        self._specs = specs

    def __hash__(self) -> int:
        return hash(frozenset(self._specs))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Specs) and self._specs == other._specs


def consumers(gateway: Gateway) -> Consumers:
    """Return the consumers of a configuration, with those that are added at run time."""
    opening = gateway.opening
    stored = None if opening is None else gateway.share(_STORED, lambda: StoredConsumers(opening))
    specs = gateway.config.consumers
    return gateway.share(
        ("consumers", _Specs(specs), stored is not None),
        lambda: Consumers([_consumer(name, spec) for name, spec in specs.items()], stored),
    )


def stored_consumers(gateway: Gateway) -> StoredConsumers | None:
    """Return the consumers that are added at run time, where a route asks for them."""
    found: StoredConsumers | None = gateway.shared.get(_STORED)
    return found


def api_keys(spec: ApiKeys, building: Building) -> Authenticator:
    """Return the way to tell who asks by an API key."""
    route, header = building.route, (spec.header or "").lower()
    readers, scheme = [], "ApiKey"
    if header == _AUTHORIZATION:
        scheme = spec.scheme
        readers.append(authorization_reader(scheme.encode()))
    elif header:
        readers.append(header_reader(header.encode()))
    if spec.query is not None:
        readers.append(query_reader(spec.query.encode()))
    if spec.cookie is not None:
        readers.append(cookie_reader(spec.cookie.encode()))
    if spec.hide and header:
        route.stripped |= {header.encode()}
    if spec.hide and spec.query is not None:
        _hide_parameter(route, spec.query.encode())
    challenge = f'{scheme} realm="{spec.realm}"'.encode()
    return ApiKeyAuthenticator(consumers(building.gateway), tuple(readers), challenge)


def _hide_parameter(route: Route, name: bytes) -> None:
    rewrite: Callable[[RequestHead, Params, bytes], bytes] | None = route.rewrite

    def hidden(head: RequestHead, params: Params, scheme: bytes) -> bytes:
        target = head.target if rewrite is None else rewrite(head, params, scheme)
        return without_parameter(target, name)

    route.rewrite = hidden


def basic(spec: Basic, building: Building) -> Authenticator:
    """Return the way to tell who asks by a name and a password."""
    gateway = building.gateway
    if spec.hide:
        building.route.stripped |= {_AUTHORIZATION.encode()}
    users: Users
    if spec.users == CONSUMERS:
        users = consumers(gateway)
    else:
        path = Path(spec.users)
        users = gateway.share(("htpasswd", path), lambda: HtpasswdUsers(path))
    key = ("basic", users, spec.realm, spec.cache)
    return gateway.share(key, lambda: BasicAuthenticator(users, spec.realm, spec.cache))


def _consumer(name: str, spec: ConsumerSpec) -> Consumer:
    return Consumer(
        name,
        digests=[_digest(text) for text in spec.api_keys],
        passwords=spec.passwords,
        groups=spec.groups,
        scopes=spec.scopes,
        claims=spec.claims,
    )


def _digest(text: str) -> bytes:
    """Return the SHA-256 of an API key as it is configured: plain, or as that."""
    kind, colon, digest = text.partition(":")
    if kind == "sha256" and colon:
        return bytes.fromhex(digest)
    return key_digest(text.encode())
