"""`@cached`: what a decorated function returns, when it is called, and what its type is."""

from __future__ import annotations

import asyncio
import dataclasses
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, assert_type

import pytest

from edgewise.contracts.state import StateError
from edgewise.contrib.cache import AppCache, CachedCoroutine, CachedFunction, cached
from edgewise.sessions import StateSettings
from support.state_servers import SqliteServer


@dataclasses.dataclass
class Price:
    amount: int
    sizes: tuple[int, ...] = ()


calls: list[Any] = []


@pytest.fixture
def cache(tmp_path: Path) -> Iterator[AppCache]:
    server = SqliteServer(tmp_path)
    server.start()
    cache = AppCache(state=StateSettings(url=server.url, patience=15.0))
    calls.clear()
    yield cache
    cache.close()
    server.kill()


def test_a_function_keeps_its_type(cache: AppCache) -> None:
    @cached(60, cache=cache, name="double")
    def double(number: int, *, by: int = 2) -> int:
        """Return a multiple."""
        calls.append(number)
        return number * by

    assert_type(double(2), int)
    assert isinstance(double, CachedFunction)
    assert [double(2), double(2, by=2), double(number=2), double(2, by=3)] == [4, 4, 4, 6]
    assert calls == [2, 2]
    assert (double.__name__, double.__doc__) == ("double", "Return a multiple.")  # type: ignore[attr-defined]


def test_an_async_function_keeps_its_type(cache: AppCache) -> None:
    @cached(60, cache=cache, name="double")
    async def double(number: int) -> int:
        calls.append(number)
        return number * 2

    async def run() -> None:
        assert_type(await double(2), int)
        assert isinstance(double, CachedCoroutine)
        assert [await double(2), await double(number=2)] == [4, 4]
        assert calls == [2]
        await double.invalidate(2)
        assert await double(2) == 4
        assert calls == [2, 2]
        await cache.aclose()

    asyncio.run(run())


def test_tags_may_follow_from_the_arguments(cache: AppCache) -> None:
    @cached(60, cache=cache, name="price", tags=lambda product, currency: ["prices", f"product-{product}"])
    def price(product: int, currency: str) -> int:
        calls.append((product, currency))
        return product

    def asked(*tags: str) -> list[Any]:
        cache.purge_tags(tags)
        calls.clear()
        for product, currency in ((1, "eur"), (1, "usd"), (2, "eur")):
            price(product, currency)
        return list(calls)

    every = [(1, "eur"), (1, "usd"), (2, "eur")]
    assert asked("prices") == every
    assert asked() == []
    assert asked("product-1") == every[:2]
    assert asked("product-2") == every[2:]
    assert asked("another") == []
    assert asked("prices") == every


def test_invalidate_forgets_one_call_in_all_that_it_varies_on(cache: AppCache) -> None:
    language = ["en"]

    @cached(60, cache=cache, name="title", vary_on=lambda: language[0])
    def title(page: int) -> str:
        calls.append(page)
        return f"{language[0]} {page}"

    def read() -> list[str]:
        found = []
        for language[0] in ("en", "de"):
            found += [title(1), title(2)]
        return found

    assert read() == read() == ["en 1", "en 2", "de 1", "de 2"]
    assert calls == [1, 2, 1, 2]
    title.invalidate(1)
    read()
    assert calls[4:] == [1, 1]


def test_a_declared_type_is_what_a_hit_returns(cache: AppCache) -> None:
    @cached(60, cache=cache, name="priced", type=Price)
    def priced(product: int) -> Price:
        calls.append(product)
        return Price(product, (1, 2))

    one, other = priced(1), priced(1)
    assert one == other == Price(1, (1, 2))
    other.amount = 99
    assert priced(1) == Price(1, (1, 2)), "what a caller changes is the caller's own"
    assert calls == [1]


def test_signed_pickles_are_kept_by_choice(cache: AppCache, tmp_path: Path) -> None:
    url = f"sqlite:{tmp_path / 's'}"
    signing = AppCache(state=StateSettings(url=url), namespace="pickles", pickle_secrets=["s" * 32])
    stranger = AppCache(state=StateSettings(url=url), namespace="pickles", pickle_secrets=["o" * 32])
    signing.set("k", (1, {2}), 60)
    assert signing.get("k") == (1, {2})
    assert stranger.get("k") is None
    signing.close()
    stranger.close()


def test_a_forked_process_goes_on_with_a_cache_of_its_own(cache: AppCache) -> None:
    @cached(60, cache=cache, name="forked")
    def made(number: int) -> int:
        calls.append(number)
        return number

    made(1)
    child = os.fork()
    if child == 0:
        right = made(1) == 1 and calls == [1] and made(2) == 2 and calls == [1, 2]
        os._exit(0 if right else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert made(2) == 2
    assert calls == [1]


def test_without_an_engine_a_call_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EDGEWISE_STATE_URL", raising=False)

    @cached(60, cache=AppCache(), name="none")
    def made() -> int:
        return 1

    with pytest.raises(StateError, match=r"\[state\] table"):
        made()


@pytest.mark.parametrize(
    ("terms", "message"),
    [
        ({"ttl": 0}, "ttl is"),
        ({"ttl": 40 * 86400}, "ttl is"),
        ({"ttl": float("nan")}, "ttl is"),
        ({"ttl": 60, "stale": -1}, "ttl is"),
        ({"ttl": 60, "lease": 0.5}, "lease is"),
        ({"ttl": 60, "tags": [str(number) for number in range(65)]}, "65 tags"),
    ],
)
def test_terms_out_of_bounds_are_told_as_the_function_is_defined(terms: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        cached(**terms)(test_terms_out_of_bounds_are_told_as_the_function_is_defined)
