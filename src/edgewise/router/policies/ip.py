"""The table `ip` to the check of addresses."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgewise.config.ip import plain_network, read_networks
from edgewise.gateway.ip import AddressCheck
from edgewise.router.policies.building import Building

if TYPE_CHECKING:
    from edgewise.config.ip import Ip
    from edgewise.contracts.policies import Policy


def ip(spec: Ip, building: Building) -> Policy:
    """Return the policy that lets in who comes from where one may. Raises OSError or ValueError for a file."""
    allow = tuple(spec.allow + [network for file in spec.allow_files for network in read_networks(file)])
    deny = tuple(spec.deny + [network for file in spec.deny_files for network in read_networks(file)])

    def make() -> AddressCheck:
        return AddressCheck(
            [plain_network(text) for text in allow], [plain_network(text) for text in deny], unix=spec.unix
        )

    return building.gateway.share(("ip", allow, deny, spec.unix), make).check
