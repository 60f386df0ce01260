"""What is found for a request: the file, its form, its fields, the pages that stand in for what is not there."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from edgewise.contracts.files import Representation
from edgewise.contracts.plan import Answer
from edgewise.http.head import Field, plain_head
from edgewise.static.files import StaticFiles
from edgewise.static.settings import FOREVER, StaticSettings, glob, has_fingerprint

LONG_AGO = 1_700_000_000


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name, content in {
        "index.html": "<p>home",
        "a.txt": "text",
        "picture.png": "png",
        "sub/index.html": "<p>sub",
        "empty/.hidden": "no",
        "app.3f9a2c1b.js": "js",
        "app.html": "<p>app",
        "404.html": "<p>not here",
        "large.bin": "x" * 100_000,
    }.items():
        put(tmp_path / name, content)
    return tmp_path


def put(path: Path, content: str, changed: int = LONG_AGO) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    os.utime(path, (changed, changed))


def find(files: StaticFiles, path: str, now: float = 0.0, *, query: bytes | None = None, accept: bytes = b"") -> Any:
    """Return what is found for a GET of `path` at `now`."""
    fields = (Field(b"accept-encoding", accept, b""),) if accept else ()
    head = plain_head(path=path.encode(), query=query, fields=fields)
    return files.find(files.wanted(head, head.path), now)


def serving(root: Path, **settings: Any) -> StaticFiles:
    return StaticFiles(StaticSettings(str(root), **settings))


def fields(found: Any) -> Mapping[bytes, bytes]:
    assert isinstance(found, Representation | Answer)
    return dict(found.fields)


def test_a_file_comes_with_type_and_validators(root: Path) -> None:
    found = find(serving(root), "/a.txt")
    assert (found.status, found.content, found.size, found.modified) == (200, b"text", 4, LONG_AGO)
    assert fields(found)[b"Content-Type"] == b"text/plain; charset=utf-8"
    assert fields(found)[b"Last-Modified"] == b"Tue, 14 Nov 2023 22:13:20 GMT"
    assert fields(found)[b"ETag"] == found.etag == b'"%x-4"' % (LONG_AGO * 10**9)
    assert fields(found)[b"Accept-Ranges"] == b"bytes"
    assert fields(found)[b"X-Content-Type-Options"] == b"nosniff"
    assert fields(found)[b"Cache-Control"] == b"no-cache"


def test_a_file_changed_just_now_has_a_weak_tag(root: Path) -> None:
    files = serving(root)
    assert find(files, "/a.txt").etag[:2] != b"W/"
    ahead = 4_000_000_000
    put(root / "a.txt", "text", ahead)
    assert find(files, "/a.txt", 2.0).etag[:2] == b"W/"


def test_a_large_file_stays_open_and_is_not_read(root: Path) -> None:
    found = find(serving(root), "/large.bin")
    assert found.content is None
    assert os.fstat(found.file.fileno()).st_size == found.size == 100_000


def test_a_small_file_is_good_for_a_second(root: Path) -> None:
    files = serving(root)
    first = find(files, "/a.txt", 0.0)
    put(root / "a.txt", "changed")
    assert find(files, "/a.txt", 0.9) is first
    assert find(files, "/a.txt", 1.1).content == b"changed"
    (root / "a.txt").unlink()
    assert find(files, "/a.txt", 3.0) == 404


def test_memory_is_bounded_and_the_oldest_go(root: Path) -> None:
    for number in range(20):
        put(root / f"{number}.txt", "x" * 1000)
    files = serving(root, memory=10_000)
    found = [find(files, f"/{number}.txt") for number in range(20)]
    again = [find(files, f"/{number}.txt") for number in reversed(range(20))]
    same = sum(one is other for one, other in zip(found, reversed(again), strict=True))
    assert same == 4
    assert find(serving(root, memory=0), "/a.txt").content == b"text"


@pytest.mark.parametrize(
    "path", ["/none", "/a.txt/", "/a.txt/b", "/sub/none", "/.hidden", "/empty/", "/%00", "//a.txt"]
)
def test_what_is_not_there_is_404(root: Path, path: str) -> None:
    assert find(serving(root), path) == 404


def test_a_directory_is_answered_by_its_index(root: Path) -> None:
    files = serving(root)
    assert find(files, "/").content == b"<p>home"
    assert find(files, "/sub/").content == b"<p>sub"
    assert find(serving(root, index=(b"none.html", b"a.txt")), "/").content == b"text"
    assert find(serving(root, index=()), "/sub/") == 404


def test_a_directory_without_its_slash_is_redirected(root: Path) -> None:
    files = serving(root)
    assert find(files, "/sub") == Answer(308, ((b"Location", b"/sub/"),), b"")
    assert fields(find(files, "/sub", query=b"a=1"))[b"Location"] == b"/sub/?a=1"


def test_a_redirect_never_leads_to_another_host(root: Path) -> None:
    """A rewrite may make a directory of a path that begins with two slashes."""
    files = serving(root)
    head = plain_head(path=b"//evil.example/sub")
    found = files.find(files.wanted(head, b"/sub"), 0.0)
    assert fields(found)[b"Location"] == b"/evil.example/sub/"


def test_a_prefix_that_was_taken_off_stays_in_the_redirect(root: Path) -> None:
    files = serving(root)
    head = plain_head(path=b"/static/sub")
    assert fields(files.find(files.wanted(head, b"/sub"), 0.0))[b"Location"] == b"/static/sub/"
    bare = plain_head(path=b"/static")
    assert fields(files.find(files.wanted(bare, b"/"), 0.0))[b"Location"] == b"/static/"


def test_a_listing_is_escaped_and_leaves_out_what_is_hidden(root: Path) -> None:
    put(root / "list/<img src=x onerror=alert(1)>.txt", "a")
    put(root / "list/javascript:alert(1)", "a")
    put(root / "list/.secret", "a")
    (root / "list/dir").mkdir()
    found = find(serving(root, listing=True), "/list/")
    page = found.content.decode()
    assert found.status == 200
    assert "<img" not in page
    assert ".secret" not in page
    assert 'href="./javascript%3Aalert%281%29"' in page
    assert 'href="./dir/"' in page
    assert b"default-src 'none'" in fields(found)[b"Content-Security-Policy"]


def test_a_listing_of_an_index_is_its_index(root: Path) -> None:
    assert find(serving(root, listing=True), "/sub/").content == b"<p>sub"


def test_an_app_of_one_page_answers_for_its_own_paths(root: Path) -> None:
    files = serving(root, fallback=b"app.html")
    for path in ("/users/1", "/users/john.doe", "/deep/er/"):
        assert (find(files, path).status, find(files, path).content) == (200, b"<p>app")
    for path in ("/none.js", "/assets/none.PNG", "/.env", "/%00"):
        assert find(files, path) == 404
    assert find(files, "/a.txt").content == b"text"


def test_a_page_goes_with_404(root: Path) -> None:
    found = find(serving(root, not_found=b"404.html"), "/none")
    assert (found.status, found.content) == (404, b"<p>not here")
    assert not {b"ETag", b"Last-Modified"} & set(fields(found))
    assert find(serving(root, not_found=b"gone.html"), "/none") == 404


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_what_cannot_be_read_is_403(root: Path) -> None:
    (root / "a.txt").chmod(0)
    assert find(serving(root), "/a.txt") == 403


def test_a_root_that_is_gone_is_503(tmp_path: Path) -> None:
    assert find(serving(tmp_path / "gone"), "/a.txt") == 503


# ---- forms -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("accept", "content", "coding"),
    [
        (b"gzip", b"GZ", b"gzip"),
        (b"gzip, br", b"BR", b"br"),
        (b"gzip;q=1, br;q=0.5", b"GZ", b"gzip"),
        (b"zstd", b"text", None),
        (b"zstd, gzip", b"GZ", b"gzip"),
        (b"", b"text", None),
        (b"gzip;q=0", b"text", None),
    ],
)
def test_a_compressed_form_beside_the_file_is_sent_as_preferred(
    root: Path, accept: bytes, content: bytes, coding: bytes | None
) -> None:
    put(root / "a.txt.gz", "GZ")
    put(root / "a.txt.br", "BR")
    found = find(serving(root), "/a.txt", accept=accept)
    assert (found.content, fields(found).get(b"Content-Encoding")) == (content, coding)
    assert fields(found)[b"Vary"] == b"Accept-Encoding"
    assert fields(found)[b"Content-Type"] == b"text/plain; charset=utf-8"


def test_forms_have_tags_of_their_own(root: Path) -> None:
    put(root / "a.txt.gz", "text")
    put(root / "a.txt.br", "text")
    files = serving(root)
    assert len({find(files, "/a.txt", accept=accept).etag for accept in (b"", b"gzip", b"br")}) == 3


def test_a_form_older_than_its_file_is_not_of_it(root: Path) -> None:
    put(root / "a.txt.gz", "GZ", LONG_AGO - 5)
    assert find(serving(root), "/a.txt", accept=b"gzip").content == b"text"


def test_forms_that_lead_out_are_not_sent(root: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    secret = tmp_path_factory.mktemp("elsewhere") / "secret"
    secret.write_text("secret")
    (root / "a.txt.gz").symlink_to(secret)
    assert find(serving(root), "/a.txt", accept=b"gzip").content == b"text"


def test_pictures_have_one_form(root: Path) -> None:
    put(root / "picture.png.gz", "GZ")
    found = find(serving(root), "/picture.png", accept=b"gzip")
    assert (found.content, b"Vary" in fields(found)) == (b"png", False)


def test_forms_can_be_turned_off(root: Path) -> None:
    put(root / "a.txt.gz", "GZ")
    found = find(serving(root, codings=()), "/a.txt", accept=b"gzip")
    assert (found.content, b"Vary" in fields(found)) == (b"text", False)


# ---- caching rules ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [b"app.3f9a2c1b.js", b"app-3f9a2c1b77.css", b"base.27e20196a850.js", b"dir/x.0123456789abcdef0123456789abcdef.png"],
)
def test_a_fingerprint_is_seen(name: bytes) -> None:
    assert has_fingerprint(name)


@pytest.mark.parametrize(
    "name",
    [b"app.js", b"report-20240101.pdf", b"homepage-feedface.html", b"a.3f9a2c1.js", b"3f9a2c1b/app.js", b"3f9a2c1b.js",
     b"app.3F9A2C1B.js", b"x." + b"1a" * 40 + b".js"],
)  # fmt: skip
def test_what_may_be_a_date_or_a_word_is_none(name: bytes) -> None:
    assert not has_fingerprint(name)


def test_what_never_changes_says_so(root: Path) -> None:
    put(root / "assets/x/y.js", "js")
    files = serving(root, immutable=(glob("assets/*"),), cache_control=b"max-age=60")
    assert fields(find(files, "/app.3f9a2c1b.js"))[b"Cache-Control"] == FOREVER
    assert fields(find(files, "/assets/x/y.js"))[b"Cache-Control"] == FOREVER
    assert fields(find(files, "/a.txt"))[b"Cache-Control"] == b"max-age=60"
    assert b"Cache-Control" not in fields(find(serving(root, cache_control=b""), "/a.txt"))
    plain = serving(root, fingerprints=False)
    assert fields(find(plain, "/app.3f9a2c1b.js"))[b"Cache-Control"] == b"no-cache"


def test_types_of_ones_own_go_first(root: Path) -> None:
    files = serving(root, types={b"txt": b"text/x-mine"}, charset=b"")
    assert fields(find(files, "/a.txt"))[b"Content-Type"] == b"text/x-mine"
