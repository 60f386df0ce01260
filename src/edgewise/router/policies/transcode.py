"""The table `transcode` to the policy of a route."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

from edgewise.gateway.transcoding.reflection import Reflected
from edgewise.gateway.transcoding.sources import Fixed
from edgewise.gateway.transcoding.transcoder import Settings
from edgewise.protocols.protobuf.descriptors import DescriptorError
from edgewise.protocols.protobuf.types import Style
from edgewise.proxy.transcoding import Transcoding

if TYPE_CHECKING:
    from edgewise.config.transcode import Transcode
    from edgewise.contracts.policies import Policy
    from edgewise.router.policies.building import Building


def transcode(spec: Transcode, building: Building) -> Policy | None:
    """Return the policy that makes requests with JSON calls. Raises ValueError for descriptors that cannot be used."""
    route = building.route
    if not route.http2:  # a level above holds for servers of HTTP/1 too
        return None
    if route.spec.cache is not None:
        raise ValueError(f"route {route.name}: answers of gRPC are not cached, and `transcode` holds for it")
    services, settings = tuple(spec.services), _settings(spec)
    share = building.gateway.share
    if spec.descriptors is None:
        upstream = route.upstream
        assert upstream is not None  # `config.checks.transcode` sees to it
        asked = ("transcode", upstream, services, settings, spec.refresh)
        reflected = share(asked, lambda: Reflected(upstream, services, settings, spec.refresh))
        return Transcoding(reflected).check
    try:
        content = Path(spec.descriptors).read_bytes()
        key = ("transcode", hashlib.sha256(content).digest(), services, settings)
        return Transcoding(share(key, lambda: Fixed(content, services, settings))).check
    except (OSError, DescriptorError) as error:
        raise ValueError(f"{spec.descriptors}: {error}") from None


def _settings(spec: Transcode) -> Settings:
    style = Style(spec.original_names, spec.print_defaults, spec.enums_as_numbers, spec.ignore_unknown_fields)
    return Settings(
        style,
        unannotated=spec.unannotated,
        ignore_unknown=spec.ignore_unknown_parameters,
        ignored=frozenset(spec.ignored_parameters),
        most_request=spec.request_limit,
        most_answer=spec.response_limit,
    )
