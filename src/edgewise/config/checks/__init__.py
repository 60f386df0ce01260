"""Checks between keys: names that must exist, choices that exclude each other, files, addresses taken twice.

They read the plain document, not the validated model, so that their findings stand beside those of the schema.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path as FilePath
from typing import Any

from edgewise.config.checks.caching import check_cache
from edgewise.config.checks.certificates import check_certificates
from edgewise.config.checks.cluster import check_cluster
from edgewise.config.checks.consumers import check_consumers
from edgewise.config.checks.forward import check_forward
from edgewise.config.checks.identity import check_identity
from edgewise.config.checks.ip import check_ip
from edgewise.config.checks.jwt import check_jwt
from edgewise.config.checks.limits import check_limits
from edgewise.config.checks.listeners import check_listeners
from edgewise.config.checks.oidc import check_oidc
from edgewise.config.checks.policies import check_policies
from edgewise.config.checks.routes import check_routes
from edgewise.config.checks.sessions import check_sessions
from edgewise.config.checks.signatures import check_signatures
from edgewise.config.checks.tls import check_tls
from edgewise.config.checks.transcode import check_transcode
from edgewise.config.checks.upstreams import check_upstreams
from edgewise.config.problems import Mistake


def check(data: dict[str, Any], directory: FilePath) -> Iterator[Mistake]:
    """Yield the mistakes between the keys of a document; values of a wrong type are passed over."""
    yield from check_upstreams(data)
    yield from check_routes(data, directory)
    yield from check_listeners(data)
    yield from check_tls(data, directory)
    yield from check_sessions(data, directory)
    yield from check_identity(data, directory)
    yield from check_cache(data, directory)
    yield from check_cluster(data, directory)
    yield from check_policies(data, directory)
    yield from check_transcode(data, directory)
    yield from check_oidc(data, directory)
    yield from check_consumers(data, directory)
    yield from check_jwt(data, directory)
    yield from check_ip(data, directory)
    yield from check_limits(data)
    yield from check_certificates(data, directory)
    yield from check_forward(data)
    yield from check_signatures(data, directory)
