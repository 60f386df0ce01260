"""Which kind of device asks, by what its browser says of itself.

An app's pages for phones are then kept once for all phones, not once for each of thousands of User-Agents.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial

from edgewise.cache.directives import joined
from edgewise.contracts.cache import DEVICE
from edgewise.http.head import Field
from edgewise.protocols.memo import Memo

DESKTOP, MOBILE, TABLET = b"desktop", b"mobile", b"tablet"
SAYING = (b"user-agent", b"sec-ch-ua-mobile", DEVICE.lower())
"""Fields that say nothing else to a server than the kind."""
_TABLETS = re.compile(rb"iPad|Tablet(?! PC)|Kindle|Silk/|PlayBook|Android(?!.*Mobile)")
_PHONES = re.compile(rb"Mobi|iPhone|iPod|Windows Phone|BlackBerry|Opera Mini")
_LONGEST = 512
"""Bytes of User-Agent that are looked at."""

Device = Callable[[tuple[Field, ...]], bytes]
"""Returns the kind of device that sent a request."""


def device_of(kinds: tuple[bytes, ...]) -> Device:
    """Return what tells kinds of devices apart; one that is not among `kinds` is a desktop."""
    return partial(_device, Memo(_by_agent, entries=1024, longest=_LONGEST), frozenset(kinds))


def _device(agents: Memo[bytes], kinds: frozenset[bytes], fields: tuple[Field, ...]) -> bytes:
    """A browser's plain word on whether it is on a phone goes before its name (User-Agent Client Hints)."""
    hint = joined(fields, b"sec-ch-ua-mobile")
    agent = joined(fields, b"user-agent") or b""
    kind = MOBILE if hint == b"?1" else agents[agent[:_LONGEST]]
    if kind == MOBILE and hint == b"?0":
        kind = DESKTOP
    return kind if kind in kinds else DESKTOP


def _by_agent(agent: bytes) -> bytes:
    if _TABLETS.search(agent):
        return TABLET
    return MOBILE if _PHONES.search(agent) else DESKTOP
