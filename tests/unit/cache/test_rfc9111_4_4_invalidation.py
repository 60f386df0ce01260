"""RFC 9111 section 4.4: what unsafe requests make invalid; RFC 9875 section 3: groups."""

from __future__ import annotations

import pytest

from edgewise.cache.invalidation import invalidated
from edgewise.cache.key import Keys, KeySettings
from edgewise.cache.memory import MemoryStore
from edgewise.cache.purges import Kind, Purge
from support.cache import KEYS, NOW, Lines, asking, request_head, response_head, stored


def purges(
    method: str = "POST", lines: Lines | None = None, status: int = 200, target: str = "/a/b?c=1"
) -> list[Purge]:
    return invalidated(request_head(target, {}, method), b"https", KEYS, response_head(lines, status))


def urls(lines: Lines) -> list[bytes]:
    return [purge.value for purge in purges(lines=lines)[1:]]


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "M-SEARCH", "PURGE"])
@pytest.mark.parametrize("status", [200, 204, 301, 399])
def test_4_4_an_unsafe_or_unknown_method_invalidates_its_target(method: str, status: int) -> None:
    assert purges(method, status=status) == [Purge(Kind.URL, b"a.example/a/b?c=1")]


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "TRACE"])
def test_4_4_a_safe_method_invalidates_nothing(method: str) -> None:
    assert purges(method, {"Location": "/x", "Cache-Group-Invalidation": '"g"'}) == []


@pytest.mark.parametrize("status", [400, 404, 500, 103])
def test_4_4_an_error_invalidates_nothing(status: int) -> None:
    assert purges(status=status) == []


@pytest.mark.parametrize("name", ["Location", "Content-Location"])
@pytest.mark.parametrize(
    ("reference", "url"),
    [
        ("/x/./y/../z", b"a.example/x/z"),
        ("x", b"a.example/a/x"),
        ("?d=2", b"a.example/a/b?d=2"),
        ("https://a.example/x#part", b"a.example/x"),
        ("https://A.EXAMPLE:443", b"a.example/"),
        ("//a.example/x", b"a.example/x"),
    ],
)
def test_4_4_location_and_content_location_of_the_same_origin_are_invalidated(
    name: str, reference: str, url: bytes
) -> None:
    assert urls({name: reference}) == [url]


@pytest.mark.parametrize(
    "reference",
    [
        "https://b.example/x",
        "http://a.example/x",
        "https://a.example:8443/x",
        "//b.example/x",
        "https://u@a.example/x",
        "mailto:a@a.example",
        "https://[::1/x",
        "/%zz",
        "\xe9",
    ],
)
def test_4_4_another_origin_or_no_reference_is_left_alone(reference: str) -> None:
    assert urls({"Location": reference}) == []


def test_4_4_all_variants_go_and_nothing_else() -> None:
    store = MemoryStore(1_000_000)
    lines = {"Cache-Control": "max-age=60", "Vary": "Foo"}
    for value in ("1", "2"):
        store.put(stored(lines, request=asking("/a", {"Foo": value})), store.epoch)
    store.put(stored({"Cache-Control": "max-age=60"}, request=asking("/ab")), store.epoch)
    for purge in purges(target="/a"):
        store.purge(purge, NOW)
    assert [store.find(asking("/a", {"Foo": value})) for value in ("1", "2")] == [None, None]
    assert store.find(asking("/ab")) is not None


def test_4_4_a_target_is_found_by_what_its_key_is_made_of() -> None:
    keys = Keys(KeySettings(ignore_query=(b"utm_*",), sort_query=True))
    found = invalidated(request_head("/a?b=2&utm_x=1&a=1", {}, "POST"), b"https", keys, response_head())
    assert found == [Purge(Kind.URL, b"a.example/a?a=1&b=2")]


def test_9875_3_groups_are_invalidated_within_the_origin() -> None:
    store = MemoryStore(1_000_000)
    for host in ("a.example", "b.example"):
        lines = {"Cache-Control": "max-age=60", "Cache-Groups": '"scripts", "v2"'}
        store.put(stored(lines, request=asking(lines={"Host": host})), store.epoch)
    for purge in purges(lines={"Cache-Group-Invalidation": '"other", "scripts"'}):
        store.purge(purge, NOW)
    assert store.find(asking()) is None
    assert store.find(asking(lines={"Host": "b.example"})) is not None
