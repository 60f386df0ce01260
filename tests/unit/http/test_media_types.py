"""Media types come from one table, by the end of a name."""

from __future__ import annotations

import pytest

from edgewise.http.media_types import TYPES, ending, media_type, shrinks, with_charset


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        (b"a.html", b"text/html"),
        (b"a.HTML", b"text/html"),
        (b"a.min.js", b"text/javascript"),
        (b"dir.css/a", b"application/octet-stream"),
        (b"a", b"application/octet-stream"),
        (b".css", b"application/octet-stream"),
        (b"a.", b"application/octet-stream"),
        (b"a.unknown", b"application/octet-stream"),
        (b"app.wasm", b"application/wasm"),
    ],
)
def test_a_name_has_a_type(name: bytes, kind: bytes) -> None:
    assert media_type(name) == kind


def test_the_table_is_in_the_form_it_is_looked_up_in() -> None:
    assert all(end == end.lower() and kind == kind.lower() and kind.count(b"/") == 1 for end, kind in TYPES.items())
    assert all(ending(b"a." + end) == end for end in TYPES)


def test_text_shrinks_and_pictures_do_not() -> None:
    assert all(map(shrinks, (b"text/html", b"application/json", b"image/svg+xml", b"application/atom+xml")))
    assert not any(map(shrinks, (b"image/png", b"video/mp4", b"application/zip", b"font/woff2", b"")))


def test_only_text_is_told_a_charset() -> None:
    assert with_charset(b"text/css", b"utf-8") == b"text/css; charset=utf-8"
    assert with_charset(b"text/css", b"") == b"text/css"
    assert with_charset(b"application/json", b"utf-8") == b"application/json"
