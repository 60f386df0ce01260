"""May a request come from its address? Nested networks are made one row of intervals, in which the smallest decided."""

from __future__ import annotations

import ipaddress
from bisect import bisect_right
from collections.abc import Iterable
from functools import lru_cache
from typing import TYPE_CHECKING, TypeAlias

from edgewise.contracts.policies import Denial, Outcome

if TYPE_CHECKING:
    from edgewise.contracts.exchange import Exchange

Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network
_DENIED = Denial(403, "ip", "Requests are not accepted from your address.")
_REMEMBERED = 8192
"""Addresses whose verdict is kept."""


class Verdicts:
    """What networks of one IP version say of addresses: the bounds at which the verdict changes, and the verdicts."""

    def __init__(self, allowed: Iterable[Network], denied: Iterable[Network], other: bool) -> None:
        """`other`: may those come that are in no network?"""
        known = dict.fromkeys(map(_bounds, allowed), True) | dict.fromkeys(map(_bounds, denied), False)
        self._starts = [-1]
        self._allowed = [other]
        around = [(1 << 129, other)]
        for first, after in sorted(known, key=lambda bounds: (bounds[0], -bounds[1])):
            self._close(around, first)
            self._change(first, known[first, after])
            around.append((after, known[first, after]))
        self._close(around, 1 << 128)

    def _close(self, around: list[tuple[int, bool]], address: int) -> None:
        """Leave the networks that end at or before an address: behind each, the one around it decides."""
        while around[-1][0] <= address:
            end, _ = around.pop()
            self._change(end, around[-1][1])

    def _change(self, address: int, allowed: bool) -> None:
        if self._starts[-1] == address:
            self._allowed[-1] = allowed
        else:
            self._starts.append(address)
            self._allowed.append(allowed)

    def of(self, address: int) -> bool:
        """May an address come?"""
        return self._allowed[bisect_right(self._starts, address) - 1]


class AddressCheck:
    """The policy `ip`."""

    def __init__(self, allowed: list[Network], denied: list[Network], *, unix: bool) -> None:
        """`unix`: those come who have no address, by a Unix socket, where others must be in a network."""
        other = not allowed
        self._unix = unix or other
        self._ipv4, self._ipv6 = (
            Verdicts(
                [network for network in allowed if network.version == version],
                [network for network in denied if network.version == version],
                other,
            )
            for version in (4, 6)
        )
        self.may_come = lru_cache(_REMEMBERED)(self._may_come)
        """Whether requests of an address, as text, may come."""

    def check(self, exchange: Exchange) -> Outcome:
        """Refuse who may not come from where it does."""
        return None if self.may_come(exchange.client.peer_ip) else _DENIED

    def _may_come(self, text: str) -> bool:
        if text == "unix:":
            return self._unix
        try:
            address = ipaddress.ip_address(text)
        except ValueError:
            return False
        if isinstance(address, ipaddress.IPv6Address):
            if address.ipv4_mapped is None:
                return self._ipv6.of(int(address))
            address = address.ipv4_mapped
        return self._ipv4.of(int(address))


def _bounds(network: Network) -> tuple[int, int]:
    """Return the first address of a network and the first behind it."""
    first = int(network.network_address)
    return first, first + (1 << (network.max_prefixlen - network.prefixlen))
