"""Functions whose results are kept: `@cached(ttl)`."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Coroutine, Iterable, Sequence
from typing import Any, Generic, ParamSpec, Protocol, TypeVar, cast, overload

from edgewise.contrib.cache.app_cache import AppCache, check_times
from edgewise.contrib.cache.filling import MISSING, Wanted
from edgewise.contrib.cache.keys import FunctionKeys
from edgewise.contrib.cache.store import tag_digests
from edgewise.contrib.cache.values import Codec, Typed

P = ParamSpec("P")
R = TypeVar("R")
Tags = Iterable[str] | Callable[..., Iterable[str]]
VaryOn = Callable[[], object] | Sequence[Callable[[], object]]


@functools.cache
def default_cache() -> AppCache:
    """Return the cache of functions for which none was named: the engine of the edgewise that runs this app."""
    return AppCache()


class _Terms:
    """What `cached` was told of one function."""

    def __init__(
        self,
        keys: FunctionKeys,
        tags: Tags,
        times: tuple[float, float, float],
        cache: AppCache | None,
        codec: Codec | None,
    ) -> None:
        self.keys = keys
        self._tags = tags if callable(tags) else tuple(tags)
        self._digests = [] if callable(tags) else tag_digests(self._tags)  # type: ignore[arg-type]
        self.ttl, self.stale, self.lease = times
        self._cache = cache
        self._codec = codec

    @property
    def cache(self) -> AppCache:
        """The cache, made when first needed, as the engine may be known only then."""
        if self._cache is None:
            self._cache = default_cache()
        return self._cache

    @property
    def codec(self) -> Codec:
        """How values are written."""
        return self._codec or self.cache.codec

    def wanted(
        self, key: str, compute: Callable[[], Coroutine[Any, Any, Any]], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Wanted:
        """Return what is wanted by a call."""
        tags = tag_digests(self._tags(*args, **kwargs)) if callable(self._tags) else list(self._digests)
        if self.keys.vary_on:
            tags.append(self.keys.of_all_variants(args, kwargs))
        return Wanted(key, compute, self.codec, self.ttl, tuple(tags), self.stale, self.lease)


class CachedFunction(Generic[P, R]):
    """A function whose results are kept. Called like the function."""

    def __init__(self, function: Callable[P, R], terms: _Terms) -> None:
        functools.update_wrapper(self, function)
        self.__wrapped__ = function
        self._terms = terms

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Return the result of an earlier call, or that of one made now."""
        terms = self._terms
        key = terms.keys.of(args, kwargs)
        cache = terms.cache
        recalled = cache.recall(key, terms.codec)
        if recalled[0] is MISSING or recalled[1] is not None:
            function = self.__wrapped__

            async def compute() -> R:
                return function(*args, **kwargs)

            return cast("R", cache.compute(terms.wanted(key, compute, args, kwargs), recalled))
        return cast("R", recalled[0])

    def invalidate(self, *args: P.args, **kwargs: P.kwargs) -> None:
        """Forget the result for these arguments, whatever it varied on. A call under way is not kept."""
        terms = self._terms
        if terms.keys.vary_on:
            terms.cache.purge_digests([terms.keys.of_all_variants(args, kwargs)])
        else:
            terms.cache.forget(terms.keys.of(args, kwargs))


class CachedCoroutine(Generic[P, R]):
    """An async function whose results are kept. Called like the function."""

    def __init__(self, function: Callable[P, Coroutine[Any, Any, R]], terms: _Terms) -> None:
        functools.update_wrapper(self, function)
        self.__wrapped__ = function
        self._terms = terms

    async def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Return the result of an earlier call, or that of one made now."""
        terms = self._terms
        key = terms.keys.of(args, kwargs)
        cache = terms.cache
        recalled = cache.recall(key, terms.codec)
        if recalled[0] is MISSING or recalled[1] is not None:
            compute = functools.partial(self.__wrapped__, *args, **kwargs)
            return cast("R", await cache.acompute(terms.wanted(key, compute, args, kwargs), recalled))
        return cast("R", recalled[0])

    async def invalidate(self, *args: P.args, **kwargs: P.kwargs) -> None:
        """Forget the result for these arguments, whatever it varied on. A call under way is not kept."""
        terms = self._terms
        if terms.keys.vary_on:
            await terms.cache.apurge_digests([terms.keys.of_all_variants(args, kwargs)])
        else:
            await terms.cache.aforget(terms.keys.of(args, kwargs))


class Decorator(Protocol):
    """What `cached` returns: for async functions and for others."""

    @overload
    def __call__(  # type: ignore[overload-overlap]  # async functions are taken first
        self, function: Callable[P, Coroutine[Any, Any, R]], /
    ) -> CachedCoroutine[P, R]: ...

    @overload
    def __call__(self, function: Callable[P, R], /) -> CachedFunction[P, R]: ...


def cached(
    ttl: float,
    *,
    tags: Tags = (),
    key: Callable[..., object] | None = None,
    stale: float = 0.0,
    vary_on: VaryOn | None = None,
    lease: float = 10.0,
    type: Any = None,
    name: str | None = None,
    cache: AppCache | None = None,
) -> Decorator:
    """Keep the results of a function for `ttl` seconds, in all processes.

    `tags`: what purges them, or a function of the arguments that says so. `key`: a function of the arguments whose
    result stands for them. `stale`: seconds for which a result is still used while it is renewed. `vary_on`: functions
    without arguments whose results belong to the key. `lease`: seconds that one call may keep others waiting. `type`:
    that of the results, where they are not plain data. `name` stands for the function's own. Raises ValueError.
    """
    check_times(ttl, stale, lease)
    codec = None if type is None else Typed(type)

    def decorate(function: Callable[..., Any]) -> Any:
        terms = _Terms(FunctionKeys(function, name, key, vary_on), tags, (ttl, stale, lease), cache, codec)
        if inspect.iscoroutinefunction(function):
            return CachedCoroutine(function, terms)
        return CachedFunction(function, terms)

    return cast("Decorator", decorate)
