"""From paths to names below the root: decoded once, nothing that could mean another place."""

from __future__ import annotations

import os
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgewise.http.targets import normalise_path
from edgewise.static.paths import ROOT, target


@pytest.mark.parametrize(
    ("path", "name", "slash"),
    [
        (b"/", ROOT, True),
        (b"/a.css", b"a.css", False),
        (b"/a/b/", b"a/b", True),
        (b"/a%20b/%C3%A4.txt", b"a b/\xc3\xa4.txt", False),
        (b"/100%25.txt", b"100%.txt", False),
        (b"/%2541", b"%41", False),
        (b"/...", b"...", False),
        (b"/.well-known/security.txt", b".well-known/security.txt", False),
    ],
)
def test_a_path_names_a_file(path: bytes, name: bytes, slash: bool) -> None:
    assert target(path, hidden=True) == (name, slash)


@pytest.mark.parametrize(
    "path",
    [
        b"", b"*", b"a", b"//", b"//a", b"/a//b", b"/a//", b"/..", b"/a/..", b"/a/../b", b"/./a", b"/%2e%2e/a",
        b"/%2E./a", b"/a%2fb", b"/..%2fetc", b"/a%5cb", b"/..\\a", b"/a%00.css", b"/%00",
    ],
)  # fmt: skip
def test_what_could_mean_another_place_is_no_name(path: bytes) -> None:
    assert target(path, hidden=True) is None


@pytest.mark.parametrize("path", [b"/.env", b"/.git/config", b"/a/.htaccess", b"/a/.well-known/b", b"/%2eenv"])
def test_names_with_a_leading_dot_are_hidden(path: bytes) -> None:
    assert target(path, hidden=False) is None
    assert target(path, hidden=True) is not None


def test_what_rfc_8615_wants_served_is_not_hidden() -> None:
    assert target(b"/.well-known/a", hidden=False) == (b".well-known/a", False)


@given(st.binary(max_size=60))
def test_a_name_never_leads_out(raw: bytes) -> None:
    try:
        path = normalise_path(b"/" + quote(raw, safe="/%").encode(), True)
    except ValueError:
        return
    for one in (b"/" + raw, path):
        found = target(one, hidden=True)
        if found is not None:
            inside = os.path.normpath(os.path.join(b"/root", found.name))
            assert inside == b"/root" or inside.startswith(b"/root/")
            assert b"\0" not in found.name
            assert b"\\" not in found.name
            assert found.name == ROOT or os.path.join(b"/root", found.name) == inside


_names = st.binary(min_size=1, max_size=12).filter(lambda name: not set(name) & set(b"/\\\0") and name[:1] != b".")


@given(st.lists(_names, min_size=1, max_size=4), st.booleans())
def test_every_name_can_be_asked_for(names: list[bytes], slash: bool) -> None:
    path = "/" + "/".join(quote(name, safe="") for name in names) + "/" * slash
    assert target(path.encode(), hidden=False) == (b"/".join(names), slash)
