"""Values that refuse writes of a lease's earlier holders, on any engine."""

from __future__ import annotations

import struct
from typing import NamedTuple

from edgewise.contracts.state import Lease, StateEngine

_TOKEN = struct.Struct("!Q")


class Fenced(NamedTuple):
    """A value and the token of the lease under which it was written."""

    value: bytes
    token: int


async def get_fenced(engine: StateEngine, key: str) -> Fenced | None:
    """Return what `set_fenced` wrote; None where there is nothing."""
    entry = await engine.get(key)
    return None if entry is None else _unpack(entry.value)


async def set_fenced(engine: StateEngine, key: str, value: bytes, lease: Lease) -> bool:
    """Write under a lease; False: a later holder wrote already, so this one must stop.

    The token is kept with the value and compared in one step with the write: a holder that slept through the end of
    its lease cannot overwrite its successor, whatever its clock says.
    """
    while True:
        entry = await engine.get(key)
        if entry is not None and _unpack(entry.value).token > lease.token:
            return False
        revision = 0 if entry is None else entry.revision
        if await engine.compare_and_set(key, _TOKEN.pack(lease.token) + value, revision) is not None:
            return True


def _unpack(stored: bytes) -> Fenced:
    if len(stored) < _TOKEN.size:
        raise ValueError("the value was not written under a lease")
    return Fenced(stored[_TOKEN.size :], _TOKEN.unpack_from(stored)[0])
