"""Django's cache on real engines, by what Django documents of its cache API."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.core.cache.backends.base import CacheKeyWarning
from django.core.exceptions import ImproperlyConfigured

from edgewise.contrib.django_cache import EdgewiseCache
from support.state_servers import StateServer

PATIENCE = 20.0
LARGE = os.urandom(70_000)
numbers = itertools.count()
Make = Callable[..., EdgewiseCache]


@pytest.fixture
def make(server: StateServer) -> Make:
    namespace = f"n{next(numbers)}"

    def make(*, options: dict[str, Any] | None = None, **params: Any) -> EdgewiseCache:
        fixed = {"namespace": namespace, "patience": 15.0, "copy_age": 0.0}
        return EdgewiseCache(server.url, {"OPTIONS": {**fixed, **(options or {})}, **params})

    return make


@pytest.fixture
def cache(make: Make) -> EdgewiseCache:
    return make()


def gone(cache: EdgewiseCache, key: str) -> bool:
    """Wait for a value to end."""
    deadline = time.monotonic() + PATIENCE
    while key in cache:
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def test_get_returns_what_was_set_none_included_and_the_default_for_what_was_not(cache: EdgewiseCache) -> None:
    cache.set("a", {"b": [1, None, 2.5, b"x", "\u00e9"]})
    cache.set("none", None)
    assert cache.get("a") == {"b": [1, None, 2.5, b"x", "\u00e9"]}
    assert cache.get("none", "default") is None
    assert cache.get("missing") is None
    assert cache.get("missing", "default") == "default"
    assert "none" in cache
    assert not cache.has_key("missing")


def test_add_sets_only_what_is_not_there(cache: EdgewiseCache) -> None:
    assert cache.add("a", 1)
    assert not cache.add("a", 2)
    assert cache.get("a") == 1
    cache.clear()
    assert cache.add("a", 3)
    assert cache.get("a") == 3
    cache.delete("a")
    assert cache.add("a", 4, timeout=0.1)
    assert gone(cache, "a")
    assert cache.add("a", 5)


def test_of_many_that_add_at_once_one_does(make: Make) -> None:
    caches = [make(), make(options={"memory": 1 << 20})]
    with ThreadPoolExecutor(8) as threads:
        for key in "abcdef":
            added = list(threads.map(lambda number, key=key: caches[number % 2].add(key, number), range(16)))
            assert added.count(True) == 1
            assert caches[0].get(key) == added.index(True)


def test_a_timeout_of_none_never_ends_and_one_of_zero_or_less_is_never_kept(cache: EdgewiseCache, make: Make) -> None:
    cache.set("never", 1, timeout=None)
    cache.set("soon", 1, timeout=0.1)
    for timeout in (0, -1):
        cache.set("ended", 1)
        cache.set("ended", 2, timeout=timeout)
        assert cache.get("ended") is None
        assert cache.add("ended", 3, timeout=timeout)
        assert cache.get("ended") is None
    assert gone(cache, "soon")
    assert cache.get("never") == 1
    lasting = make(TIMEOUT=None)
    assert lasting.get_backend_timeout() is None
    assert make(TIMEOUT=0).get_backend_timeout() == 0
    assert cache.get_backend_timeout() == 300


def test_touch_gives_another_timeout(cache: EdgewiseCache) -> None:
    assert not cache.touch("missing", 10)
    cache.set("a", 1, timeout=600)
    assert cache.touch("a", 0.1)
    assert gone(cache, "a")
    cache.set("a", 1, timeout=600)
    assert cache.touch("a", None)
    assert cache.get("a") == 1
    assert cache.touch("a", 0)
    assert cache.get("a") is None


def test_incr_and_decr_change_numbers_that_are_there_and_keep_their_timeout(cache: EdgewiseCache) -> None:
    with pytest.raises(ValueError, match="Key 'missing' not found"):
        cache.incr("missing")
    cache.set("n", 10, timeout=None)
    assert (cache.incr("n"), cache.incr("n", 10), cache.decr("n", 5), cache.incr("n", -20)) == (11, 21, 16, -4)
    cache.set("text", "a")
    with pytest.raises(TypeError):
        cache.incr("text")
    cache.set("soon", 1, timeout=3)
    cache.incr("soon")
    assert gone(cache, "soon")
    assert cache.get("n") == -4


def test_no_addition_of_many_at_once_is_lost(make: Make) -> None:
    caches = [make(), make(options={"memory": 1 << 20})]
    caches[0].set("n", 0)
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda number: caches[number % 2].incr("n"), range(60)))
    assert caches[0].get("n") == caches[1].get("n") == 60


def test_many_at_once(cache: EdgewiseCache) -> None:
    assert cache.set_many({"a": 1, "b": None, "c": 3}) == []
    assert cache.get_many(["a", "b", "missing"]) == {"a": 1, "b": None}
    cache.delete_many(["a", "missing"])
    assert cache.get_many(["a", "b", "c"]) == {"b": None, "c": 3}
    cache.set_many({"a": 1}, timeout=-1)
    assert "a" not in cache


def test_delete_says_whether_there_was_something(cache: EdgewiseCache) -> None:
    cache.set("a", 1)
    assert cache.delete("a")
    assert not cache.delete("a")
    cache.set("a", 1)
    cache.clear()
    assert not cache.delete("a")


def test_get_or_set_calls_the_default_only_when_nothing_is_there(cache: EdgewiseCache) -> None:
    assert cache.get_or_set("a", lambda: 1) == 1
    assert cache.get_or_set("a", lambda: 2) == 1
    assert cache.get_or_set("none", None) is None
    assert cache.get_or_set("none", 5) is None


def test_versions_and_prefixes_keep_values_apart(make: Make) -> None:
    cache, second, prefixed = make(), make(VERSION=2), make(KEY_PREFIX="p")
    cache.set("a", 1)
    second.set("a", 2)
    prefixed.set("a", 3)
    assert (cache.get("a"), cache.get("a", version=2), second.get("a", version=1)) == (1, 2, 1)
    assert prefixed.get("a") == 3
    assert cache.incr_version("a", 2) == 3
    assert (cache.get("a"), cache.get("a", version=3)) == (None, 1)
    assert cache.decr_version("a", version=3) == 2
    assert cache.get("a", version=2) == 1
    with pytest.raises(ValueError, match="not found"):
        cache.incr_version("missing")


def test_clear_removes_all_for_all_processes(make: Make) -> None:
    one, other = make(), make(options={"memory": 1 << 20})
    one.set_many({str(number): number for number in range(30)}, timeout=None)
    assert len(other.get_many([str(number) for number in range(30)])) == 30
    one.clear()
    assert other.get_many([str(number) for number in range(30)]) == {}


def test_a_change_by_one_process_is_in_the_next_read_of_another(make: Make) -> None:
    one, other = make(), make(options={"memory": 1 << 20})
    for number in range(20):
        one.set("a", number)
        assert other.get("a") == number


def test_keys_that_memcached_would_refuse_are_warned_of_and_work(cache: EdgewiseCache) -> None:
    for key in ("with space", "k" * 251):
        with pytest.warns(CacheKeyWarning):
            cache.set(key, 1)
        with pytest.warns(CacheKeyWarning):
            assert cache.get(key) == 1


def test_what_is_too_large_is_not_kept_and_leaves_nothing_old(cache: EdgewiseCache) -> None:
    cache.set("a", "old")
    cache.set("a", LARGE)
    assert cache.get("a") is None
    assert cache.set_many({"a": LARGE, "b": 1}) == ["a"]
    assert not cache.add("a", LARGE)


def test_values_that_are_not_plain_data_need_signed_pickles(make: Make) -> None:
    with pytest.raises(TypeError, match="not plain data"):
        make().set("a", (1, 2))
    pickling = make(options={"pickle_secrets": ["s" * 50]})
    pickling.set("a", (1, {2}))
    assert pickling.get("a") == (1, {2})
    stranger = make(options={"pickle_secrets": ["o" * 50]})
    assert stranger.get("a", "none of ours") == "none of ours"
    assert stranger.add("a", "b")


def test_what_is_changed_after_it_was_read_is_the_readers_own(cache: EdgewiseCache) -> None:
    cache.set("a", {"n": [1]})
    for _ in range(2):
        cache.get("a")["n"].append(2)
    assert cache.get("a") == {"n": [1]}


def test_an_option_that_is_none_is_a_mistake(make: Make) -> None:
    with pytest.raises(ImproperlyConfigured, match="memry is no option"):
        make(options={"memry": 1})
    make(options={"MAX_ENTRIES": 10})


def test_django_itself_caches_pages_and_fragments_and_asks_from_event_loops(server: StateServer) -> None:
    options = {"pickle_secrets": ["s" * 50], "patience": 15.0, "namespace": f"n{next(numbers)}"}
    backend = {"BACKEND": "edgewise.contrib.django_cache.EdgewiseCache", "LOCATION": server.url, "OPTIONS": options}
    found = subprocess.run([sys.executable, "-c", PROGRAM % {"default": backend}], capture_output=True, text=True)
    assert (found.stdout, found.stderr) == ("page 1\npage 1\nfragment\n7 {'a': 7}\n", "")


PROGRAM = """
import asyncio, django
from django.conf import settings
settings.configure(CACHES=%r, ALLOWED_HOSTS=["*"], USE_TZ=True, TEMPLATES=[
    {"BACKEND": "django.template.backends.django.DjangoTemplates"}])
django.setup()
from django.core.cache import cache
from django.http import HttpResponse
from django.template import Context, Template
from django.test import RequestFactory
from django.views.decorators.cache import cache_page

calls = []

@cache_page(60)
def page(request):
    calls.append(request)
    return HttpResponse(f"page {len(calls)}")

for _ in range(2):
    print(page(RequestFactory().get("/a")).content.decode())

template = Template("{%% load cache %%}{%% cache 60 name %%}{{ text }}{%% endcache %%}")
template.render(Context({"text": "fragment"}))
print(template.render(Context({"text": "another"})))

async def ask():
    await cache.aset("a", 7)
    print(await cache.aget("a"), await cache.aget_many(["a", "b"]))

asyncio.run(ask())
cache.clear()
"""
