"""Which nodes share an engine: each writes an entry that ends soon after the node does."""

from __future__ import annotations

import msgspec

from edgewise.contracts.state import StateEngine
from edgewise.state.adoption import Standing

PREFIX = "nodes/"
EVERY = 3.0
"""Seconds between two signs of life."""
LIFE = 10.0
"""Seconds after the last sign of life for which a node is still listed."""


class Node(msgspec.Struct):
    """What a node says of itself."""

    id: str
    host: str
    pid: int
    version: str
    started: float
    """Unix time."""
    generation: int
    """Of its configuration."""
    config: str
    """First digits of a hash of the configuration in force: the same on nodes that run the same."""
    standing: Standing | None = None
    """With what is published to all nodes; None where the node does not follow that."""


async def tell(engine: StateEngine, node: Node) -> None:
    """Give a sign of life. Raises StateUnavailable."""
    await engine.set(PREFIX + node.id, msgspec.json.encode(node), LIFE)


async def leave(engine: StateEngine, node: Node) -> None:
    """Be listed no more. Raises StateUnavailable."""
    await engine.delete(PREFIX + node.id)


async def nodes(engine: StateEngine) -> list[Node]:
    """Return the nodes that gave a sign of life lately, at most a thousand. Raises StateUnavailable."""
    found = await engine.entries(PREFIX)
    return [msgspec.json.decode(entry.value, type=Node) for entry in found]
