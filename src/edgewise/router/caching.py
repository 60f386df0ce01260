"""The cache of the configuration: one store a worker, and a view of it for each route that caches."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from hashlib import blake2b
from pathlib import Path
from time import time
from typing import TYPE_CHECKING, Any

from edgewise.cache.coding import CodingCache
from edgewise.cache.cookies import ANALYTICS
from edgewise.cache.disk.store import DiskStore
from edgewise.cache.key import MARKETING, Keys, KeySettings, purge_prefix, purge_url
from edgewise.cache.memory import MemoryStore
from edgewise.cache.purges import Kind, Purge
from edgewise.cache.route import HttpCache
from edgewise.cache.settings import CacheSettings
from edgewise.cache.tiers import Tiers
from edgewise.cache.view import BrowserPolicy, View
from edgewise.http.head import Field
from edgewise.proxy.compressing import aside
from edgewise.router.networks import within

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edgewise.config.caching import RouteCache as RouteCacheSpec
    from edgewise.config.schema import Config
    from edgewise.contracts.compression import Compression
    from edgewise.contracts.plan import Route
    from edgewise.contracts.table import Table


_EVICTED_AT_ONCE = 500
"""Objects that give way to a smaller bound in one go: a millisecond."""


class Caches:
    """What the routes of a worker share. Kept across reloads."""

    def __init__(self, tiers: Tiers, workers: int = 1) -> None:
        """`workers` divide the memory of the configuration among them."""
        self.tiers = tiers
        self._workers = workers
        self.tell: Callable[[list[Purge], Callable[[], None] | None], None] = self._alone
        """Tells other workers of what a request made invalid; this worker's memory knows already."""

    @property
    def disk(self) -> DiskStore | None:
        """What the workers of this machine share; None: nothing."""
        return self.tiers.disk

    def purged(self, purges: list[Purge], done: Callable[[], None] | None) -> None:
        """A request made something invalid; call `done` once other workers know."""
        self.tell(purges, done)

    def figures(self) -> tuple[int, int, int]:
        """Return bytes and objects stored, and how many gave way to others."""
        memory = self.tiers.memory
        return memory.bytes, len(memory), memory.evictions

    def disk_figures(self) -> tuple[int, int, int, int]:
        """Return bytes of disk that were taken and given back, and answers put there and removed."""
        if self.disk is None:
            return 0, 0, 0, 0
        files = self.disk.files
        return files.written, files.removed, files.added, files.lost

    def resize(self, memory: int) -> bool:
        """Have the memory that a reload says, shared by all workers; False: call again soon, much has to be evicted."""
        return self.tiers.memory.resize(memory // self._workers, _EVICTED_AT_ONCE)

    def purge(self, purges: list[Purge], *, count: bool = False) -> int:
        """Purge memory, or with `count` only say how many answers in it that would concern; 0 where it was done."""
        if count:
            return self.tiers.memory.count(purges)
        now = time()
        for purge in purges:
            self.tiers.purge(purge, now)
        return 0

    def _alone(self, purges: list[Purge], done: Callable[[], None] | None) -> None:
        """There are no other workers: purges have the numbers that this one gives them."""
        if self.disk is not None:
            for purge in purges:
                self.disk.purges.apply(purge, time())
        if done is not None:
            done()


Reading = Callable[[str], bytes]
"""Returns what a purge of a URL goes by (`HttpCache.url`); raises ValueError where it has no host."""


def purges(kind: str, text: str, *, soft: bool, reading: Iterable[Reading]) -> list[Purge]:
    """Return the purges that somebody asked for: of a URL, as the keys of every route that caches make it.

    Raises ValueError for what is none.
    """
    meant = Kind(kind)
    if meant is Kind.URL:
        return [Purge(meant, url, soft) for url in dict.fromkeys(read(text) for read in reading)]
    if meant in (Kind.PREFIX, Kind.PATTERN):
        return [Purge(meant, purge_prefix(text), soft)]
    value = text.strip().lower() if meant is Kind.HOST else text
    return [Purge(meant, b"" if meant is Kind.ALL else value.encode("latin-1"), soft)]


def readings(routes: Iterable[Route]) -> list[Reading]:
    """Return how the routes that cache read a URL."""
    return [route.cache.url for route in routes if isinstance(route.cache, HttpCache)]


def url_rules(config: Config) -> dict[bytes, Reading]:
    """Return the same for a configuration, each way once, by a digest that tells whether it is the same as another."""
    rules: dict[bytes, Reading] = {}
    for spec in (route.cache for route in config.routes if route.cache is not None):
        query, ignored = _query(spec)
        digest = blake2b(repr((query, ignored, spec.sort_query)).encode(), digest_size=16).digest()
        keys = Keys(KeySettings(query=query, ignore_query=ignored, sort_query=spec.sort_query))
        rules[digest] = partial(purge_url, keys=keys)
    return rules


def _query(spec: RouteCacheSpec) -> tuple[tuple[bytes, ...] | None, tuple[bytes, ...]]:
    """Return the query parameters that count (None: all), and those that do not."""
    ignored = _bytes(spec.ignore_query) + (MARKETING if spec.ignore_marketing else ())
    return None if spec.query is None else _bytes(spec.query), ignored


def looked_at(url: str, routes: Iterable[Route]) -> list[dict[str, Any]]:
    """Return what is stored of a URL and why what is not was not, by route, for those where there is something to tell.

    Raises ValueError where it is no URL with a host.
    """
    found = []
    for route in routes:
        if isinstance(route.cache, HttpCache):
            held, refused = route.cache.report(url)
            if held or refused:
                found.append({"route": route.name, "held": held, "refused": refused})
    return found


def caches(config: Config, previous: Table | None) -> Caches | None:
    """Return the worker's caches: those it has, where there are some; None where no route caches.

    A directory is filled in by whoever starts edgewise: without one nothing is kept on disk.
    """
    before = previous.caches if previous is not None else None
    if not any(route.cache is not None for route in config.routes):
        return None
    if isinstance(before, Caches):
        return before
    spec = config.cache
    memory = MemoryStore(spec.memory // config.server.workers, second_hit=spec.second_hit)
    disk = DiskStore(Path(spec.directory)) if spec.disk and spec.directory is not None else None
    return Caches(Tiers(memory, disk), config.server.workers)


def route_cache(
    name: str,
    spec: RouteCacheSpec,
    shared: Caches,
    before: Mapping[str, Route],
    compression: Compression | None = None,
    added: tuple[Field, ...] = (),
    *,
    authenticated: bool,
) -> HttpCache:
    """Return the cache of the route `name`: the one it had, where nothing about it changed.

    `compression` is the route's, `added` are fields that clients get with all that is stored; `authenticated`: servers
    are told who asks.
    """
    settings = _settings(spec, added, authenticated=authenticated)
    keys = _key_settings(name, spec)
    kept = before[name].cache if name in before else None
    same = (settings, keys, compression)
    if isinstance(kept, HttpCache) and (kept.settings, kept.key_settings, kept.compression) == same:
        return kept
    common = (shared.tiers, settings, keys, shared.purged, within(spec.purge_from))
    policy = BrowserPolicy(settings.browser) if settings.browser else None
    view = View(policy, settings.hide, compression, added)
    if compression is None:
        return HttpCache(*common, view if policy is not None or settings.hide or added else None)
    return CodingCache(*common, view, compression, aside)


def _settings(spec: RouteCacheSpec, added: tuple[Field, ...], *, authenticated: bool) -> CacheSettings:
    return CacheSettings(
        targets=_names(spec.targets),
        default_ttl=spec.default_ttl,
        status_ttl={int(status): seconds for status, seconds in spec.status_ttl.items()},
        heuristic_share=spec.heuristic_share,
        stale_while_revalidate=spec.stale_while_revalidate,
        stale_if_error=spec.stale_if_error,
        stale_on_disconnect=spec.stale_on_disconnect,
        request_directives=spec.request_directives,
        store_set_cookie=spec.store_set_cookie,
        authenticated=authenticated,
        purge_from=tuple(spec.purge_from),
        etag=spec.etag or "",
        browser=b"" if spec.browser is None else spec.browser.encode(),
        hide=_names(spec.hide),
        added=added,
        most_bytes=spec.max_object,
        slice=spec.slice,
    )


def _key_settings(name: str, spec: RouteCacheSpec) -> KeySettings:
    query, ignored = _query(spec)
    return KeySettings(
        partition=name.encode(),
        query=query,
        ignore_query=ignored,
        sort_query=spec.sort_query,
        headers=_names(spec.headers),
        cookies=_bytes(spec.cookies),
        session_cookies=None if spec.session_cookies is None else _bytes(spec.session_cookies),
        ignore_cookies=ANALYTICS if spec.ignore_cookies is None else _bytes(spec.ignore_cookies),
        device=tuple(kind.encode() for kind in spec.device),
        languages=_names(spec.languages),
    )


def clearing(kinds: Sequence[str]) -> tuple[Field, ...]:
    """Return the field that has browsers drop kinds of data (W3C Clear Site Data, section 3.1)."""
    value = ", ".join(f'"{kind}"' for kind in kinds).encode()
    return (Field(b"clear-site-data", value, b"Clear-Site-Data: %b\r\n" % value),) if kinds else ()


def _bytes(texts: list[str]) -> tuple[bytes, ...]:
    return tuple(text.encode() for text in texts)


def _names(texts: list[str]) -> tuple[bytes, ...]:
    return tuple(text.lower().encode() for text in texts)
