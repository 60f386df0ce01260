"""Does the server keep what it is given? Redis may be a cache that drops keys, or hold them in memory alone."""

from __future__ import annotations

from edgewise.contracts.state import StateError
from edgewise.state.redis.connection import Connections

_KEEPS = "noeviction"


async def server_info(connections: Connections) -> dict[str, str]:
    """Return the fields of INFO."""
    text = await connections.command("INFO", again=True)
    lines = (line.partition(":") for line in text.decode(errors="replace").splitlines() if ":" in line)
    return {name: value for name, _, value in lines}


async def inspect_server(connections: Connections, allow_eviction: bool) -> list[str]:
    """Return what may cost data. Raises StateError where the server drops keys when full and that is not allowed."""
    info = await server_info(connections)
    warnings = []
    limit, policy = info.get("maxmemory", "0"), info.get("maxmemory_policy", _KEEPS)
    if policy != _KEEPS and limit != "0":
        what = f"the server drops keys when its memory is full (maxmemory {limit}, maxmemory-policy {policy})"
        if not allow_eviction:
            raise StateError(f"{what}: set maxmemory-policy {_KEEPS}, or state.allow_eviction = true to live with it")
        warnings.append(f"{what}: sessions may end and counters begin anew at any time")
    elif policy != _KEEPS:
        warnings.append(f"maxmemory-policy is {policy}: should maxmemory be set, the server would drop keys")
    if info.get("aof_enabled") != "1":
        warnings.append(await _without_log(connections))
    return warnings


async def _without_log(connections: Connections) -> str:
    """Say what is lost when a server that writes no append-only file ends."""
    try:
        answer = await connections.command("CONFIG", "GET", "save", again=True)
    except StateError:  # managed servers refuse CONFIG
        return "appendonly is off: what was written since the last snapshot is lost when the server ends"
    pairs = list(answer.items()) if isinstance(answer, dict) else list(zip(answer[::2], answer[1::2], strict=True))
    if not pairs or not pairs[0][1]:
        return "the server persists nothing (appendonly no, save ''): everything is lost when it ends"
    schedule = pairs[0][1].decode(errors="replace")
    return f"appendonly is off: what was written since the last snapshot (save {schedule}) is lost when the server ends"
