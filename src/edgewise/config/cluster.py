"""The table of nodes that act together: what they share beside state."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from edgewise.config.types import FileName, Model


class Cluster(Model):
    """Nodes with a common [state] that share configuration, certificates and what they find of servers."""

    key: Annotated[str, Field(min_length=32)] | None = Field(default=None, repr=False)
    """Secret that the nodes have in common, of 32 random characters or more: what they tell each other is sealed."""
    key_file: FileName | None = None
    """File with that secret, in place of key."""
    configuration: bool = True
    """Run the newest configuration published with `edgewise cluster apply`, but for what is each node's own."""
    certificates: bool = True
    """Order each certificate of tls.acme once for all nodes; every one answers the authority's questions."""
    health_hints: bool = True
    """Tell the other nodes of servers that fail, and look at those that they tell of."""
