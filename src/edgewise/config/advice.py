"""What is allowed in a configuration and hardly meant: `edgewise check` says it, nothing is refused."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edgewise.config.schema import Config


def advice(config: Config) -> Iterator[str]:
    """Yield a sentence for each, beginning with the key."""
    cache = config.cache
    caching = {
        f"routes[{number}]": route.cache for number, route in enumerate(config.routes) if route.cache is not None
    }
    if cache.disk and not caching:
        yield "cache.disk: no route has a cache, so nothing is kept on disk"
    if cache.directory is not None and not cache.disk:
        yield "cache.directory: without cache.disk nothing is kept there"
    share = cache.memory // config.server.workers
    for route, spec in caching.items():
        if not cache.disk and "max_object" in spec.model_fields_set and spec.max_object > share:
            yield (
                f"{route}.cache.max_object: {spec.max_object} bytes are more than a worker's share of cache.memory "
                f"({share}), so answers of that size are not kept; cache.disk would keep them"
            )
