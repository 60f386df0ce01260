"""The table `maintenance` to what answers in a service's place."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from edgewise.gateway.maintenance import Bypass, Maintenance
from edgewise.router.networks import within

if TYPE_CHECKING:
    from edgewise.config.maintenance import Maintenance as MaintenanceSpec
    from edgewise.contracts.policies import Policy
    from edgewise.router.policies.building import Building

_MOST_PAGE = 1 << 20
"""Bytes of the page."""


def maintenance(spec: MaintenanceSpec, building: Building) -> Policy:
    """Return the policy that refuses all but those who may look. Raises OSError or ValueError for its page."""
    bypass = None
    if spec.bypass_secret is not None:
        bypass = Bypass(spec.bypass_secret, spec.bypass_header, spec.bypass_cookie)
        building.route.stripped |= {spec.bypass_header.lower().encode()}
    page = None if spec.page is None else _page(Path(spec.page))
    return Maintenance(spec.message, int(spec.retry_after), page=page, allowed=within(spec.allow), bypass=bypass).check


def _page(path: Path) -> bytes:
    with path.open("rb") as file:
        content = file.read(_MOST_PAGE + 1)
    if len(content) > _MOST_PAGE:
        raise ValueError(f"{path} is too long for a page of maintenance")
    return content
