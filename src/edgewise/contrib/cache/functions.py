"""Functions whose results are kept: `@cached(ttl)`."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Coroutine, Iterable, Sequence
from typing import Any, Generic, ParamSpec, Protocol, TypeVar, cast, overload

from edgewise.contrib.cache.app_cache import AppCache, Recalled, check_times
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
        self.cache = cache
        """None until the first call for the default one, whose engine may be known only then."""
        self._codec = codec

    def recall(self, key: str) -> Recalled:
        """Return what memory has of a call."""
        cache = self.cache or self.opened()
        return cache.recall(key, self._codec or cache.codec)

    def opened(self) -> AppCache:
        """Return the cache."""
        if self.cache is None:
            self.cache = default_cache()
        return self.cache

    def wanted(
        self, key: str, compute: Callable[[], Coroutine[Any, Any, Any]], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Wanted:
        """Return what is wanted by a call."""
        names = tuple(self._tags(*args, **kwargs) if callable(self._tags) else self._tags)
        tags = tag_digests(names) if callable(self._tags) else list(self._digests)
        if self.keys.vary_on:
            tags.append(self.keys.of_all_variants(args, kwargs))
        codec = self._codec or self.opened().codec
        return Wanted(key, compute, codec, self.ttl, tuple(tags), self.stale, self.lease, names)


class CachedFunction(Generic[P, R]):
    """A function whose results are kept. Called like the function."""

    def __init__(self, function: Callable[P, R], terms: _Terms) -> None:
        functools.update_wrapper(self, function)
        self.__wrapped__ = function
        self._terms = terms

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Return the result of an earlier call, or that of one made now."""
        key = self._terms.keys.of(args, kwargs)
        recalled = self._terms.recall(key)
        value, due = recalled
        if value is MISSING or due is not None:
            value = self._made(key, recalled, *args, **kwargs)
        return value  # type: ignore[no-any-return]

    def _made(self, key: str, recalled: Recalled, *args: P.args, **kwargs: P.kwargs) -> Any:
        async def compute() -> R:
            return self.__wrapped__(*args, **kwargs)

        return self._terms.opened().compute(self._terms.wanted(key, compute, args, kwargs), recalled)

    def invalidate(self, *args: P.args, **kwargs: P.kwargs) -> None:
        """Forget the result for these arguments, whatever it varied on. A call under way is not kept."""
        terms = self._terms
        if terms.keys.vary_on:
            terms.opened().purge_digests([terms.keys.of_all_variants(args, kwargs)])
        else:
            terms.opened().forget(terms.keys.of(args, kwargs))


class CachedCoroutine(Generic[P, R]):
    """An async function whose results are kept. Called like the function."""

    def __init__(self, function: Callable[P, Coroutine[Any, Any, R]], terms: _Terms) -> None:
        functools.update_wrapper(self, function)
        self.__wrapped__ = function
        self._terms = terms

    async def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Return the result of an earlier call, or that of one made now."""
        key = self._terms.keys.of(args, kwargs)
        recalled = self._terms.recall(key)
        value, due = recalled
        if value is MISSING or due is not None:
            compute = functools.partial(self.__wrapped__, *args, **kwargs)
            wanted = self._terms.wanted(key, compute, args, kwargs)
            value = await self._terms.opened().acompute(wanted, recalled)
        return value  # type: ignore[no-any-return]

    async def invalidate(self, *args: P.args, **kwargs: P.kwargs) -> None:
        """Forget the result for these arguments, whatever it varied on. A call under way is not kept."""
        terms = self._terms
        if terms.keys.vary_on:
            await terms.opened().apurge_digests([terms.keys.of_all_variants(args, kwargs)])
        else:
            await terms.opened().aforget(terms.keys.of(args, kwargs))


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
