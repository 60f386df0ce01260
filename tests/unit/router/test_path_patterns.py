"""Host and path patterns: what they match, which of two is more specific, and that matching takes linear time."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgewise.config.patterns import check_path
from edgewise.router.patterns import HostPattern, PathPattern, longest_suffix

ACCEPTED = [
    ("/a", b"/a", {}),
    ("/", b"/", {}),
    ("/*", b"/", {"rest": b""}),
    ("/*", b"/a/b", {"rest": b"a/b"}),
    ("/*", b"*", {"rest": b""}),
    ("/a/*", b"/a", {"rest": b""}),
    ("/a/*", b"/a/", {"rest": b""}),
    ("/a/*", b"/a/b/c", {"rest": b"b/c"}),
    ("/users/{id}", b"/users/5", {"id": b"5"}),
    ("/users/{id}", b"/users/a%2Fb", {"id": b"a%2Fb"}),
    ("/users/{id}/posts/{post}", b"/users/5/posts/7", {"id": b"5", "post": b"7"}),
    ("/files/{path*}", b"/files", {"path": b""}),
    ("/files/{path*}", b"/files/a/b", {"path": b"a/b"}),
    ("/{tenant}/files/*", b"/acme/files/a", {"tenant": b"acme", "rest": b"a"}),
    ("/{tenant}/files/*", b"/acme/files", {"tenant": b"acme", "rest": b""}),
    ("/a.b", b"/a.b", {}),
    ("/%7euser/*", b"/~user/x", {"rest": b"x"}),
    ("/caf%c3%a9", b"/caf%C3%A9", {}),
    ("/a//b", b"/a//b", {}),
]
REFUSED = [
    ("/a", b"/a/"),
    ("/a", b"/A"),
    ("/a/", b"/a"),
    ("/a/*", b"/ab"),
    ("/a/*", b"/b/a/"),
    ("/users/{id}", b"/users/"),
    ("/users/{id}", b"/users"),
    ("/users/{id}", b"/users/5/"),
    ("/users/{id}", b"/users/5/posts"),
    ("/{a}/{b}", b"//b"),
    ("/{a}/x", b"/a/y"),
    ("/a.b/{id}", b"/aXb/5"),
    ("/users/{id}", b"*"),
]


@pytest.mark.parametrize(("pattern", "path", "parameters"), ACCEPTED)
def test_a_path_that_matches_gives_its_parameters(pattern: str, path: bytes, parameters: dict[str, bytes]) -> None:
    compiled = PathPattern(check_path(pattern))
    assert compiled.accepts(path)
    assert compiled.match(path) == parameters


@pytest.mark.parametrize(("pattern", "path"), REFUSED)
def test_another_path_does_not_match(pattern: str, path: bytes) -> None:
    assert not PathPattern(check_path(pattern)).accepts(path)


@pytest.mark.parametrize(
    "patterns",
    [
        ["/users/me", "/users/{id}", "/users/*", "/*"],
        ["/{a}/b", "/{a}/{b}", "/{a}/{b*}", "/*"],
        ["/a/b/{x}", "/a/{y}/{x}", "/{z}/{y}/{x}"],
        ["/a/b/c/*", "/a/b/*", "/a/*", "/*"],
        ["/a/{x}/b/*", "/a/{x}/*", "/a/*"],
    ],
)
def test_patterns_are_ordered_from_specific_to_general(patterns: list[str]) -> None:
    compiled = [PathPattern(text) for text in reversed(patterns)]
    assert [pattern.text for pattern in sorted(compiled, key=lambda pattern: pattern.order)] == patterns


def test_a_long_path_of_near_misses_is_refused_without_backtracking() -> None:
    pattern = PathPattern("/{a}/{b}/{c}/{d}/{e}/end")
    assert not pattern.accepts(b"/a" * 5 + b"/en" + b"d/" * 100_000)
    assert not PathPattern("/{a}/x/{rest*}").accepts(b"/" * 200_000)


segments = st.sampled_from(["a", "b", "%7e", "{x}"])


@given(st.lists(segments, max_size=4), st.booleans(), st.lists(st.sampled_from([b"a", b"b", b"~", b""]), max_size=5))
def test_matching_agrees_with_comparing_segment_by_segment(pattern: list[str], tail: bool, path: list[bytes]) -> None:
    named = [f"{{x{at}}}" if segment == "{x}" else segment for at, segment in enumerate(pattern)]
    compiled = PathPattern("/" + "/".join([*named, "*"] if tail or not named else named))
    given_path = b"/" + b"/".join(path)
    parts = given_path.split(b"/")[1:]
    wanted = [None if segment == "{x}" else segment.encode().replace(b"%7e", b"~") for segment in pattern]
    long_enough = len(parts) >= len(wanted) if tail or not wanted else len(parts) == len(wanted)
    equal = all(bool(part) if want is None else part == want for want, part in zip(wanted, parts, strict=False))
    assert compiled.accepts(given_path) == (long_enough and equal)


@pytest.mark.parametrize(
    ("pattern", "host", "accepted"),
    [
        ("shop.example.com", b"shop.example.com", True),
        ("shop.example.com", b"example.com", False),
        ("*.example.com", b"a.example.com", True),
        ("*.example.com", b"a.b.example.com", True),
        ("*.example.com", b"example.com", False),
        ("*.example.com", b".example.com", False),
        ("*.example.com", b"badexample.com", False),
        ("[::1]", b"[::1]", True),
        (None, b"", True),
        (None, b"anything", True),
    ],
)
def test_hosts_match_exactly_by_wildcard_or_always(pattern: str | None, host: bytes, accepted: bool) -> None:
    assert HostPattern(pattern).accepts(host) is accepted


def test_the_longest_wildcard_is_found_first() -> None:
    suffixes = {b".example.com": 1, b".b.example.com": 2}
    assert longest_suffix(b"a.b.example.com", suffixes) == b".b.example.com"
    assert longest_suffix(b"b.example.com", suffixes) == b".example.com"
    assert longest_suffix(b"example.com", suffixes) is None
    assert longest_suffix(b"", suffixes) is None
