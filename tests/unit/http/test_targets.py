"""Normal paths and valid authorities."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgewise.http.targets import normalise_path, split_authority, split_target


@pytest.mark.parametrize(
    ("path", "normal"),
    [
        (b"/", b"/"),
        (b"/a/b/c/./../../g", b"/a/g"),
        (b"/./", b"/"),
        (b"/..", b"/"),
        (b"/a/b/..", b"/a/"),
        (b"/a/b/.", b"/a/b/"),
        (b"//..//a", b"//a"),
        (b"/a//../b", b"/a/b"),
        (b"/...", b"/..."),
        (b"/%2e%2E/%2E", b"/"),
        (b"/%7e%2D%5f%2E%41%7a%30", b"/~-_.Az0"),
        (b"/%3a%40%c3%a9%20", b"/%3A%40%C3%A9%20"),
        (b"/%252e%252E", b"/%252e%252E"),
    ],
)
def test_a_path_is_normalised(path: bytes, normal: bytes) -> None:
    assert normalise_path(path) == normal
    assert normalise_path(normal) == normal


@pytest.mark.parametrize("path", [b"/%", b"/%a", b"/%g0", b"/%0g", b"/a%", b"/%00", b"/%2f", b"/%2F", b"/%5c", b"/%5C"])
def test_a_path_that_origins_would_read_differently_is_refused(path: bytes) -> None:
    with pytest.raises(ValueError, match="path"):
        normalise_path(path)


def test_encoded_slashes_stay_encoded_where_they_are_allowed() -> None:
    assert normalise_path(b"/a%2f..%5c%2E%2e/b", allow_encoded_slash=True) == b"/a%2F..%5C../b"
    with pytest.raises(ValueError, match="NUL"):
        normalise_path(b"/%00", allow_encoded_slash=True)


SEGMENTS = st.sampled_from([b"", b".", b"..", b"a", b"%2e", b"%2E.", b".%61", b"%41b", b"%20", b"b..", b"%25%32%65"])


@settings(deadline=None)
@given(st.lists(SEGMENTS, max_size=8))
def test_normalising_twice_changes_nothing_and_leaves_no_dot_segment(segments: list[bytes]) -> None:
    normal = normalise_path(b"/" + b"/".join(segments))
    assert normalise_path(normal) == normal
    assert normal.startswith(b"/")
    assert not {b".", b".."} & set(normal.split(b"/"))


@pytest.mark.parametrize(
    ("target", "path", "query"),
    [
        (b"/a", b"/a", None),
        (b"/a?", b"/a", b""),
        (b"/a?b?c", b"/a", b"b?c"),
        (b"/a|^", b"/a%7C%5E", None),
        (b"/?`{|}\\^", b"/", b"%60%7B%7C%7D%5C%5E"),
        (b"/%41?%41", b"/%41", b"%41"),
    ],
)
def test_a_target_is_split_and_what_browsers_leave_raw_is_encoded(
    target: bytes, path: bytes, query: bytes | None
) -> None:
    assert split_target(target) == (path, query)


@pytest.mark.parametrize(
    "target", [b"", b"a", b"*", b"/#", b"/ ", b"/\x80", b'/"', b"/?<", b"/{", b"/\\", b"/%", b"/?%a"]
)
def test_a_target_no_uri_may_contain_is_refused(target: bytes) -> None:
    with pytest.raises(ValueError, match="target"):
        split_target(target)


@pytest.mark.parametrize(
    ("authority", "host", "port"),
    [
        (b"a", b"a", None),
        (b"A.Example.", b"a.example", None),
        (b"a:1", b"a", 1),
        (b"a:65535", b"a", 65535),
        (b"10.0.0.1:80", b"10.0.0.1", 80),
        (b"[2001:DB8::1]:443", b"[2001:db8::1]", 443),
        (b"[::ffff:10.0.0.1]", b"[::ffff:10.0.0.1]", None),
        (b"xn--bcher-kva_1.example", b"xn--bcher-kva_1.example", None),
    ],
)
def test_an_authority_is_split_into_host_and_port(authority: bytes, host: bytes, port: int | None) -> None:
    assert split_authority(authority) == (host, port)


@pytest.mark.parametrize(
    "authority", [b"", b"u@a", b"a:0", b"a:65536", b"a:01", b"a:", b"[::1", b"[:]", b"a\n", b"a..", b"%61"]
)
def test_a_malformed_authority_is_refused(authority: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        split_authority(authority)
