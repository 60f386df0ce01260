"""What clients ask in vain over HTTP/2, kept by address: it outlives a connection, so that nothing is gained by
making another one."""

from __future__ import annotations

import logging
from collections import OrderedDict

from edgewise.http.addresses import client_network
from edgewise.protocols.http2_frames import ENHANCE_YOUR_CALM, goaway_frame, settings_frame

FORGIVE_SECONDS = 30.0
"""Time in which half of all vain work is forgotten, a connection's as well as an address's."""
REFUSAL = settings_frame({}) + goaway_frame(0, ENHANCE_YOUR_CALM, b"too much was asked in vain from this address")
"""All that a refused connection hears: the server's preface comes first (RFC 9113 section 3.4)."""
_QUIET_SECONDS = 1.0
"""Time between two lines in the log: an attack may come from thousands of addresses."""

_log = logging.getLogger("edgewise.http2")


class AddressGlitches:
    """Scores by address, in the units of `protocols.http2_abuse`; of IPv6 by /64.

    At most `entries` are kept: those that were charged last.
    """

    __slots__ = ("_entries", "_quiet_until", "_scores", "given_up", "refused")

    def __init__(self, entries: int = 10_000) -> None:
        self._entries = entries
        self._scores: OrderedDict[str, tuple[float, float]] = OrderedDict()
        """Address -> score and when it was that (monotonic seconds)."""
        self._quiet_until = 0.0
        self.refused = 0
        """Connections refused or ended for what their address had done."""
        self.given_up = 0
        """Requests never begun, since their reset came along with them."""

    def score(self, ip: str, now: float) -> float:
        """Return what an address has to answer for at `now`."""
        return self._score(client_network(ip), now)

    def charge(self, ip: str, cost: int, limit: int, now: float) -> bool:
        """Add what a connection did in vain; is the address over `limit` now?

        One that passes the limit is set to twice of it, so that it is refused for `FORGIVE_SECONDS`, and no longer
        unless it goes on.
        """
        address = client_network(ip)
        before = self._score(address, now)
        after = before + cost
        if after > limit:
            after = 2.0 * limit
            if before <= limit:
                self._tell(ip, now)
        self._scores[address] = after, now
        self._scores.move_to_end(address)
        if len(self._scores) > self._entries:
            self._scores.popitem(last=False)
        return after > limit

    def __len__(self) -> int:
        return len(self._scores)

    def _score(self, address: str, now: float) -> float:
        score, since = self._scores.get(address, (0.0, now))
        return score if score == 0.0 else float(score * 0.5 ** ((now - since) / FORGIVE_SECONDS))

    def _tell(self, ip: str, now: float) -> None:
        if now >= self._quiet_until:
            self._quiet_until = now + _QUIET_SECONDS
            _log.warning(
                "HTTP/2 connections of %s are refused for %d seconds: too much was asked in vain", ip, FORGIVE_SECONDS
            )
