"""Issuers of tokens to the way of authentication that asks for theirs."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from edgewise.config.jwt import is_url
from edgewise.contracts.policies import FetchError
from edgewise.gateway.bearer import BearerTokens, Places
from edgewise.gateway.fetching import Fetcher
from edgewise.gateway.jwt import Issuer, TokenVerifier
from edgewise.gateway.jwt_keys import FixedKeys, Jwks, Keys
from edgewise.gateway.jwt_rules import Naming, Rules
from edgewise.protocols.jose import json_object
from edgewise.protocols.jwa import ASYMMETRIC
from edgewise.protocols.jwk import MOST_SET_BYTES, KeySet, pem_key, read_key_set, secret_key

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from edgewise.config.jwt import Jwt
    from edgewise.contracts.policies import Authenticator, Fetch
    from edgewise.router.policies.building import Building, Gateway

_WELL_KNOWN = "/.well-known/openid-configuration"
_MOST_SECRET = 4096
_MOST_PEM = 1 << 16
Made = TypeVar("Made")


def jwt(value: str | list[str], building: Building) -> Authenticator:
    """Return the way to tell who asks by a token of one of the issuers named.

    Raises ValueError or OSError for files that cannot be used.
    """
    names = [value] if isinstance(value, str) else value
    gateway = building.gateway
    specs = [gateway.config.jwt[name] for name in names]
    first = specs[0]
    if first.hide and first.header is not None:
        building.route.stripped |= {first.header.lower().encode()}
    issuers = tuple(Issuer(_keys(spec, gateway), _rules(spec), _naming(spec)) for spec in specs)
    remembered = max(spec.remembered for spec in specs)
    places = Places(*(None if name is None else name.encode() for name in _places(first)))
    return gateway.share(
        ("jwt", issuers, repr(issuers), remembered, places, first.realm),  # repr: 1 is equal to true
        lambda: BearerTokens(TokenVerifier(issuers, remembered=remembered), places, first.realm),
    )


def _places(spec: Jwt) -> tuple[str | None, str | None, str | None]:
    return spec.header and spec.header.lower(), spec.cookie, spec.query


def _rules(spec: Jwt) -> Rules:
    values = ((path, tuple(one if isinstance(one, list) else [one])) for path, one in spec.require_claims.items())
    return Rules(
        issuers=frozenset(spec.issuers),
        audiences=frozenset(spec.audiences),
        algorithms=_algorithms(spec),
        types=frozenset(name.lower().removeprefix("application/") for name in spec.types),
        leeway=spec.leeway,
        required=tuple(spec.require),
        values=tuple(values),
        longest=spec.max_bytes,
    )


def _naming(spec: Jwt) -> Naming:
    return Naming(spec.user_claim, spec.consumer_claim, tuple(spec.groups_claims), tuple(spec.scope_claims))


def _algorithms(spec: Jwt) -> frozenset[str]:
    """Return those accepted; of a key that is for several, a token may use any of them."""
    if spec.algorithms:
        return frozenset(spec.algorithms)
    return frozenset(("HS256",)) if spec.secret_file or spec.secret_env else ASYMMETRIC


# ---- keys ------------------------------------------------------------------------------------------------------------


def _keys(spec: Jwt, gateway: Gateway) -> Keys:
    """Return an issuer's keys: those of a URL shared by all who use it, those of equal files and secrets as well."""
    algorithms = _algorithms(spec)
    if spec.discovery or (spec.jwks is not None and is_url(spec.jwks)):
        where = spec.jwks or spec.issuers[0]
        trusted = Path(spec.ca_file).read_bytes() if spec.ca_file is not None else None
        key = ("jwks", where, spec.discovery, algorithms, spec.max_age, spec.stale, spec.ca_file, trusted)
        return gateway.share(key, lambda: _remote(spec, gateway.fetch, algorithms))
    keys = _fixed(spec, algorithms)
    return gateway.share(("keys", keys.prints), lambda: FixedKeys(keys))


def _remote(spec: Jwt, fetch: Fetch, algorithms: frozenset[str]) -> Jwks:
    if spec.ca_file is not None:
        fetch = Fetcher(spec.ca_file)
    url: str | Callable[[], Awaitable[str]] = spec.jwks or ""
    if spec.discovery:
        url = partial(discovered, spec.issuers[0], fetch)
    return Jwks(url, fetch, algorithms, most_age=spec.max_age, stale=spec.stale)


async def discovered(issuer: str, fetch: Fetch) -> str:
    """Return the URL of an issuer's keys (OpenID Connect Discovery 1.0 section 4). Raises FetchError."""
    answer = await fetch("GET", issuer.removesuffix("/") + _WELL_KNOWN)
    try:
        found = json_object(answer.content) if answer.status == 200 else {}
    except ValueError:
        found = {}
    url = found.get("jwks_uri")
    if found.get("issuer") != issuer:
        raise FetchError(f"the openid-configuration of {issuer} cannot be read or is another issuer's")
    if not isinstance(url, str) or not is_url(url):
        raise FetchError(f"{issuer} names no URL of its keys")
    return url


def _fixed(spec: Jwt, algorithms: frozenset[str]) -> KeySet:
    """Return the keys in files or in the environment. Raises ValueError or OSError."""
    if spec.jwks is not None:
        return _from_file(spec.jwks, MOST_SET_BYTES, lambda data: _usable(*read_key_set(data, algorithms)))
    if spec.key_files:
        return KeySet([_from_file(name, _MOST_PEM, lambda data: pem_key(data, algorithms)) for name in spec.key_files])
    if spec.secret_file is not None:
        secret = _from_file(spec.secret_file, _MOST_SECRET, lambda data: secret_key(data.rstrip(b"\r\n"), algorithms))
        return KeySet([secret])
    name = spec.secret_env or ""
    if name not in os.environ:
        raise ValueError(f"the environment has no {name}")
    try:
        return KeySet([secret_key(os.environb[name.encode()], algorithms)])
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None


def _usable(keys: KeySet, left: list[str]) -> KeySet:
    if not keys.keys:
        raise ValueError("; ".join(["no key that can be used", *left]))
    return keys


def _from_file(name: str, most: int, make: Callable[[bytes], Made]) -> Made:
    """Return what is made of a file of at most `most` bytes. Raises ValueError or OSError."""
    with Path(name).open("rb") as file:
        data = file.read(most + 1)
    try:
        if len(data) > most:
            raise ValueError(f"a file of more than {most} bytes")
        return make(data)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None
