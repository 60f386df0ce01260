"""The table [identity] to what tells the upstreams of a route who asks, and to the names no client may use."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgewise.gateway.identity import FieldNames, IdentityFields, IdentityToken, Telling, Writer
from edgewise.gateway.identity_keys import SigningKey

if TYPE_CHECKING:
    from edgewise.config.identity import Identity
    from edgewise.config.schema import Config
    from edgewise.contracts.plan import Route
    from edgewise.contracts.policies import Policy
    from edgewise.router.policies.building import Building, Gateway

_MOST_KEY = 65536
"""Bytes of a key file."""


def own_names(config: Config) -> frozenset[bytes]:
    """Return the lower-case names of the fields that no client may send: none where nothing verifies who asks."""
    asked = any(level.auth is not None for level in config.levels())
    held = any(route.session is not None for route in config.routes)
    if not (asked or held or "identity" in config.model_fields_set):
        return frozenset()
    return frozenset(name.lower().encode() for name in config.identity.fields)


def add_telling(route: Route, config: Config, gateway: Gateway) -> None:
    """Keep clients from speaking in the gateway's fields on a route, and have the gateway speak in them."""
    names = own_names(config)
    route.stripped |= names
    spec = config.identity
    if names and spec.format != "none":
        audience = spec.jwt_audience or route.name
        writer = gateway.share(("identity", *_settings(spec)), lambda: _writer(spec))
        route.telling = gateway.share(("telling", writer, audience), lambda: Telling(writer, names, audience))


def told_names(config: Config, *, asked: bool) -> list[str]:
    """Return the fields by which servers of a route may learn who asks, where that is `asked`."""
    spec = config.identity
    if not asked or spec.format == "none":
        return []
    return [spec.jwt_field] if spec.format == "jwt" else [name for name in spec.fields if name != spec.jwt_field]


def telling(spec: Any, building: Building) -> Policy | None:
    """Return the policy behind `auth` that tells upstreams who was verified."""
    told = building.route.telling
    return None if told is None else told.tell


def load_keys(spec: Identity) -> list[SigningKey]:
    """Return the keys of [identity], the one that signs first. Raises OSError or ValueError."""
    return [_key(Path(name)) for name in spec.jwt_keys]


def _key(path: Path) -> SigningKey:
    with path.open("rb") as file:
        pem = file.read(_MOST_KEY)
    try:
        return SigningKey(pem)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def _settings(spec: Identity) -> tuple[Any, ...]:
    """Return all that a writer is made of: the text of the keys too, which may change under the same name."""
    keys = tuple(Path(name).read_bytes()[:_MOST_KEY] for name in spec.jwt_keys)
    return spec.model_dump_json(), keys


def _writer(spec: Identity) -> Writer:
    if spec.format == "jwt":
        keys = load_keys(spec)
        lifetime, claims = spec.jwt_lifetime, spec.jwt_claims
        return IdentityToken(spec.jwt_field, keys[0], issuer=spec.jwt_issuer, lifetime=lifetime, claims=claims)
    names = FieldNames(spec.user_field, spec.consumer_field, spec.groups_field, spec.scopes_field, spec.method_field)
    return IdentityFields(names, spec.claim_fields)
