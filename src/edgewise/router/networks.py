"""Is an address one of some networks?"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from functools import lru_cache


def within(networks: list[str]) -> Callable[[str], bool]:
    """Return whether an address, as text, is in one of the networks; what is no address is in none."""
    parsed = [ipaddress.ip_network(text, strict=False) for text in networks]
    if not parsed:
        return lambda ip: False

    @lru_cache(maxsize=4096)
    def is_within(ip: str) -> bool:
        try:
            address = ipaddress.ip_address(ip)
        except ValueError:
            return False
        return any(address in network for network in parsed)

    return is_within
