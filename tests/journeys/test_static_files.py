"""Files below a root, over the real wires: whole, in parts, unchanged, to slow clients, and while they change."""

from __future__ import annotations

import os
import re
import ssl
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from edgewise.tls.development import DevelopmentAuthority
from support.edgewise_process import COMMAND, EdgewiseProcess, free_port, wait_for_port, wait_until
from support.http2_raw import INITIAL_WINDOW_SIZE, LARGEST_WINDOW, Http2Client, request_fields, settings, window_update
from support.raw_http import ClosedEarly, RawClient, RawResponse, get, post

TEXT = b"some text, " * 400
MEBIBYTE = 1 << 20
LARGE = 24 * MEBIBYTE
LONG_AGO = 1_700_000_000
TOML = """
[server]
listen = ["127.0.0.1:$PORT"]
tls_listen = ["127.0.0.1:$TLS_PORT"]
admin = "off"
workers = 1
[tls]
certificates = [{ cert = "one.pem", key = "one.key" }]
hsts = "1d"
[[routes]]
path = "/*"
static = { root = "files", not_found = "404.html" }
[[routes]]
path = "/app/*"
strip_prefix = "/app"
static = { root = "files", listing = true, fallback = "index.html", memory = 0 }
response_headers = { set = { X-Site = "a" }, remove = ["X-Content-Type-Options"] }
[[routes]]
path = "/moved/*"
static = { root = "files" }
filters = ["moving:elsewhere"]
"""
FILTER = """
def elsewhere(request):
    request.path = request.path.removeprefix("/moved")
    request.headers["X-Seen"] = "1"
"""


class Site:
    """A standing edgewise with files."""

    def __init__(self, directory: Path) -> None:
        self.files = directory / "files"
        for name, content in {
            "index.html": b"<p>home",
            "404.html": b"<p>not here",
            "text.txt": TEXT,
            "text.txt.gz": b"GZ",
            "sub/index.html": b"<p>sub",
            "empty.txt": b"",
            "list/a b.txt": b"a",
            "large.bin": bytes(range(256)) * (LARGE // 256),
            "app.3f9a2c1b.js": b"js",
            ".env": b"secret",
        }.items():
            self.put(name, content)
        (directory / "secret.txt").write_text("secret")
        (self.files / "out").symlink_to("../secret.txt")
        (directory / "moving.py").write_text(FILTER)
        authority = DevelopmentAuthority()
        self.ca = authority.write(directory)
        authority.issue(["one.test"]).write(directory, "one")
        self.edgewise = EdgewiseProcess(TOML, directory)

    def put(self, name: str, content: bytes) -> Path:
        path = self.files / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        os.utime(path, (LONG_AGO, LONG_AGO))
        return path

    def tls(self) -> RawClient:
        context = ssl.create_default_context(cafile=str(self.ca))
        return RawClient(("127.0.0.1", self.edgewise.tls_port), tls=context, server_name="one.test")

    def open_files(self, name: str) -> list[str]:
        """Return the open files of the process tree whose path ends with `name`."""
        found = []
        for pid in self.edgewise.tree():
            for link in Path(f"/proc/{pid}/fd").iterdir():
                try:
                    target = str(link.readlink())
                except OSError:
                    continue
                if target.endswith(name):
                    found.append(target)
        return found


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    site = Site(tmp_path_factory.mktemp("site"))
    yield site
    site.edgewise.stop()
    assert "Traceback" not in site.edgewise.log


Ask = Callable[..., RawResponse]


@pytest.fixture(params=["plain", "tls"])
def ask(site: Site, request: pytest.FixtureRequest) -> Ask:
    """Ask for one thing on a connection of its own."""

    def ask(path: str, *lines: str, method: str = "GET") -> RawResponse:
        with site.edgewise.client() if request.param == "plain" else site.tls() as client:
            asked = get(path, "one.test", *lines).replace(b"GET", method.encode(), 1)
            return client.ask(asked, head_request=method == "HEAD")

    return ask


def test_a_file_is_sent_with_its_fields(ask: Ask) -> None:
    reply = ask("/text.txt")
    assert (reply.status, reply.body) == (200, TEXT)
    assert reply.get("content-type") == "text/plain; charset=utf-8"
    assert reply.get("content-length") == str(len(TEXT))
    assert reply.get("cache-control") == "no-cache"
    assert reply.get("etag") == f'"{LONG_AGO * 10**9:x}-{len(TEXT):x}"'


def test_hsts_goes_with_files_that_come_by_tls(site: Site) -> None:
    with site.tls() as client:
        for path in ("/text.txt", "/sub", "/large.bin"):
            assert client.ask(get(path, "one.test")).get("strict-transport-security") == "max-age=86400"
    with site.edgewise.client() as client:
        assert client.ask(get("/text.txt")).get("strict-transport-security") is None


@pytest.mark.parametrize("path", ["/text.txt", "/large.bin", "/empty.txt", "/sub/"])
def test_head_says_what_get_would(site: Site, path: str) -> None:
    with site.edgewise.client() as client:
        whole = client.ask(get(path))
        for _ in range(2):
            head = client.ask(get(path).replace(b"GET", b"HEAD"), head_request=True)
            assert (head.status, head.get("content-length")) == (200, str(len(whole.body)))
            assert head.get("etag") == whole.get("etag")


def test_a_connection_is_kept_from_file_to_file(site: Site) -> None:
    with site.edgewise.client() as client:
        client.send(get("/text.txt") + get("/large.bin") + get("/none") + get("/sub") + get("/text.txt", close=True))
        assert [client.read().status for _ in range(5)] == [200, 200, 404, 308, 200]
        assert client.is_closed()


def test_only_get_and_head_are_known(site: Site) -> None:
    with site.edgewise.client() as client:
        for method in ("PUT", "DELETE", "OPTIONS", "PATCH"):
            reply = client.ask(get("/text.txt").replace(b"GET", method.encode()))
            assert (reply.status, reply.get("allow")) == (405, "GET, HEAD")
        assert client.ask(post(b"content", "/text.txt")).status == 405


def test_a_get_with_content_is_answered_all_the_same(site: Site) -> None:
    with site.edgewise.client() as client:
        request = post(b"x" * 100_000, "/large.bin").replace(b"POST", b"GET")
        assert len(client.ask(request).body) == LARGE


def test_http_1_0_gets_a_length_and_a_closed_connection(site: Site) -> None:
    for path, size in (("/text.txt", len(TEXT)), ("/large.bin", LARGE)):
        with site.edgewise.client() as client:
            reply = client.ask(f"GET {path} HTTP/1.0\r\nHost: a\r\n\r\n".encode())
            assert (reply.get("connection"), len(reply.body)) == ("close", size)
            assert client.is_closed()


@pytest.mark.parametrize(
    "path",
    ["/../secret.txt", "/%2e%2e/secret.txt", "/sub/..%2f..%2fsecret.txt", "/out", "/.env", "/sub/../.env", "/%2eenv",
     "//etc/passwd", "/text.txt%00", "/text.txt/", "/text.txt%5c..", "/app/../../secret.txt"],
)  # fmt: skip
def test_nothing_else_is_sent(site: Site, path: str) -> None:
    with site.edgewise.client() as client:
        reply = client.ask(get(path))
        assert reply.status in (400, 404)
        assert b"secret" not in reply.body


def test_a_page_goes_with_404(ask: Ask) -> None:
    reply = ask("/none")
    assert (reply.status, reply.body, reply.get("content-type")) == (404, b"<p>not here", "text/html; charset=utf-8")
    assert ask("/none", "If-None-Match: *", "Range: bytes=0-1").status == 404


def test_a_prefix_is_taken_off_and_fields_are_changed(ask: Ask) -> None:
    reply = ask("/app/text.txt")
    assert (reply.body, reply.get("x-site"), reply.get("x-content-type-options")) == (TEXT, "a", None)
    assert ask("/app/users/1").body == b"<p>home"
    assert ask("/app/sub").get("location") == "/app/sub/"
    assert ask("/app").get("location") == "/app/"
    listing = ask("/app/list/")
    assert (listing.get("x-site"), b'href="./a%20b.txt"' in listing.body) == ("a", True)


def test_a_filter_may_lead_to_another_file(site: Site) -> None:
    with site.edgewise.client() as client:
        assert client.ask(get("/moved/text.txt")).body == TEXT
        assert client.ask(get("/moved/none")).status == 404


def test_the_compressed_form_goes_to_who_takes_it(ask: Ask) -> None:
    reply = ask("/text.txt", "Accept-Encoding: br, gzip")
    assert (reply.body, reply.get("content-encoding"), reply.get("vary")) == (b"GZ", "gzip", "Accept-Encoding")
    assert ask("/text.txt", "Accept-Encoding: br").body == TEXT


def test_names_with_a_fingerprint_are_immutable(ask: Ask) -> None:
    assert ask("/app.3f9a2c1b.js").get("cache-control") == "public, max-age=31536000, immutable"


# ---- conditions and ranges -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/text.txt", "/large.bin"])
def test_what_the_client_has_is_a_304(ask: Ask, path: str) -> None:
    first = ask(path, method="HEAD")
    for line in (f"If-None-Match: {first.get('etag')}", f"If-Modified-Since: {first.get('last-modified')}"):
        reply = ask(path, line)
        assert (reply.status, reply.get("etag"), reply.get("cache-control")) == (304, first.get("etag"), "no-cache")
        assert reply.get("content-type") is None
        assert ask(path, line, method="HEAD").status == 304
    assert ask(path, 'If-None-Match: "other"', method="HEAD").status == 200
    assert ask(path, 'If-Match: "other"').status == 412
    assert ask(path, f"If-Match: {first.get('etag')}", method="HEAD").status == 200


@pytest.mark.parametrize(("path", "content"), [("/text.txt", TEXT), ("/large.bin", bytes(range(256)) * (LARGE // 256))])
def test_a_range_is_answered_in_part(ask: Ask, path: str, content: bytes) -> None:
    size = len(content)
    for asked, start, end in (("0-0", 0, 1), ("10-299", 10, 300), (f"{size - 7}-", size - 7, size), ("-5", -5, size)):
        reply = ask(path, f"Range: bytes={asked}")
        assert (reply.status, reply.body) == (206, content[start:end])
        assert reply.get("content-range") == f"bytes {start % size}-{end - 1}/{size}"
    assert ask(path, f"Range: bytes={size}-").get("content-range") == f"bytes */{size}"
    assert ask(path, "Range: bytes=0-0", method="HEAD").status == 200
    assert ask(path, "Range: bytes=0-0", 'If-Range: "other"').status == 200
    etag = ask(path, method="HEAD").get("etag")
    assert ask(path, "Range: bytes=0-0", f"If-Range: {etag}").status == 206


@pytest.mark.parametrize(("path", "content"), [("/text.txt", TEXT), ("/large.bin", bytes(range(256)) * (LARGE // 256))])
def test_several_ranges_are_parts_of_one_answer(ask: Ask, path: str, content: bytes) -> None:
    reply = ask(path, "Range: bytes=0-9,100-1299,-3")
    kind = reply.get("content-type")
    assert kind is not None
    found = re.fullmatch(r"multipart/byteranges; boundary=([0-9a-f]+)", kind)
    assert found is not None
    *parts, end = reply.body.split(b"--" + found[1].encode())[1:]
    assert end == b"--\r\n"
    size = len(content)
    for part, (start, stop) in zip(parts, ((0, 10), (100, 1300), (size - 3, size)), strict=True):
        head, _, body = part.removesuffix(b"\r\n").partition(b"\r\n\r\n")
        assert body == content[start:stop]
        assert f"Content-Range: bytes {start}-{stop - 1}/{size}".encode() in head
    assert reply.get("content-range") is None


def test_more_ranges_than_is_reasonable_bring_the_whole(ask: Ask) -> None:
    asked = ",".join(f"{number * 2}-{number * 2}" for number in range(17))
    assert ask("/text.txt", f"Range: bytes={asked}").status == 200
    assert ask("/text.txt", "Range: bytes=0-,0-,0-").status == 200


# ---- large files, slow clients ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("wire", ["plain", "tls"])
def test_a_large_file_waits_for_a_slow_client(site: Site, wire: str) -> None:
    options = {"receive_buffer": 65536} if wire == "plain" else {}
    with site.edgewise.client(**options) if wire == "plain" else site.tls() as client:
        client.send(get("/large.bin", "one.test") + get("/text.txt", "one.test"))
        client.reader.until(b"\r\n\r\n")
        assert client.reader.exactly(LARGE) == (site.files / "large.bin").read_bytes()
        assert client.read().body == TEXT


def test_others_are_served_while_a_large_file_is_sent(site: Site) -> None:
    with site.edgewise.client(receive_buffer=65536) as slow, site.edgewise.client() as other:
        slow.send(get("/large.bin"))
        slow.reader.until(b"\r\n\r\n")
        for _ in range(20):
            assert other.ask(get("/text.txt")).status == 200
        assert len(slow.reader.exactly(LARGE)) == LARGE


def test_a_client_that_leaves_half_way_leaves_no_descriptor_open(site: Site) -> None:
    for client in (site.edgewise.client(receive_buffer=65536), site.edgewise.client(receive_buffer=65536), site.tls()):
        with client:
            client.send(get("/large.bin", "one.test"))
            client.reader.exactly(1000)
    wait_until(lambda: not site.open_files("large.bin"), "the file is closed")


def test_what_the_disk_has_and_memory_has_not_comes_whole(site: Site) -> None:
    content = os.urandom(4 * MEBIBYTE)
    path = site.put("cold.bin", content)
    for client in (site.edgewise.client(), site.tls()):
        descriptor = os.open(path, os.O_RDONLY)
        os.fsync(descriptor)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(descriptor)
        with client:
            assert client.ask(get("/cold.bin", "one.test")).body == content


@pytest.mark.parametrize("change", ["shorter", "rewritten"])
@pytest.mark.parametrize("wire", ["plain", "tls"])
def test_a_file_that_changes_while_it_is_sent_is_cut_off(site: Site, wire: str, change: str) -> None:
    """Nobody may take a mixture of two states for the file."""
    path = site.put(f"changing-{wire}-{change}.bin", b"a" * LARGE)
    with site.edgewise.client(receive_buffer=65536) if wire == "plain" else site.tls() as client:
        client.send(get(f"/{path.name}", "one.test"))
        client.reader.until(b"\r\n\r\n")
        client.reader.exactly(1000)
        with path.open("r+b") as file:
            if change == "shorter":
                file.truncate(5000)
            else:
                file.write(b"b" * LARGE)
        with pytest.raises((ClosedEarly, ConnectionError, ssl.SSLError)):
            client.reader.exactly(LARGE - 1000)


def test_a_file_replaced_while_it_is_sent_is_sent_as_it_was(site: Site) -> None:
    path = site.put("replaced.bin", b"a" * LARGE)
    with site.edgewise.client(receive_buffer=65536) as client:
        client.send(get("/replaced.bin"))
        client.reader.until(b"\r\n\r\n")
        site.put("replacing.bin", b"b" * 10).replace(path)
        assert client.reader.exactly(LARGE) == b"a" * LARGE
        assert client.ask(get("/replaced.bin")).body == b"b" * 10


def test_a_file_that_grows_is_sent_as_long_as_was_said(site: Site) -> None:
    path = site.put("growing.bin", b"a" * LARGE)
    with site.edgewise.client(receive_buffer=65536) as client:
        client.send(get("/growing.bin"))
        client.reader.until(b"\r\n\r\n")
        with path.open("ab") as file:
            file.write(b"b" * 1000)
        assert client.reader.exactly(LARGE) == b"a" * LARGE
        assert client.ask(get("/text.txt")).status == 200


# ---- HTTP/2 ----------------------------------------------------------------------------------------------------------

WIDE = settings((INITIAL_WINDOW_SIZE, LARGEST_WINDOW)) + window_update(0, LARGEST_WINDOW - 65535)


def test_http2_gets_the_same(site: Site) -> None:
    with Http2Client(("127.0.0.1", site.edgewise.port), opening=WIDE) as client:
        small = client.answer(client.request(request_fields("/text.txt")))
        assert (small.status, small.body) == (200, TEXT)
        large = client.answer(client.request(request_fields("/large.bin")))
        assert (large.status, large.body) == (200, (site.files / "large.bin").read_bytes())
        part = client.answer(client.request(request_fields("/large.bin", "GET", ("range", "bytes=5-9"))))
        assert (part.status, part.body) == (206, bytes(range(5, 10)))
        head = client.answer(client.request(request_fields("/large.bin", "HEAD")))
        assert (head.status, head.body) == (200, b"")
        assert client.answer(client.request(request_fields("/text.txt", "POST"))).status == 405
        assert client.answer(client.request(request_fields("/none"))).status == 404


def test_streams_take_turns_with_a_large_file(site: Site) -> None:
    with Http2Client(("127.0.0.1", site.edgewise.port), opening=WIDE) as client:
        large = client.request(request_fields("/large.bin"))
        small = [client.request(request_fields("/text.txt")) for _ in range(5)]
        assert [client.answer(stream).body for stream in small] == [TEXT] * 5
        assert len(client.answer(large).body) == LARGE


# ---- the command -----------------------------------------------------------------------------------------------------


def test_serve_serves_a_directory(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a")
    (tmp_path / "index.html").write_text("home")
    port = free_port()
    command = [COMMAND, "serve", str(tmp_path), "--spa", "--workers", "1", "--listen", f"127.0.0.1:{port}"]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL) as process:
        try:
            assert wait_for_port(port, lambda: process.poll() is None)
            with RawClient(("127.0.0.1", port)) as client:
                assert [client.ask(get(path)).body for path in ("/a.txt", "/", "/deep/link")] == [
                    b"a",
                    b"home",
                    b"home",
                ]
        finally:
            process.terminate()
            assert process.wait(20) == 0


def test_serve_refuses_what_is_no_directory(tmp_path: Path) -> None:
    ended = subprocess.run([COMMAND, "serve", str(tmp_path / "none")], capture_output=True, text=True, timeout=30)
    assert ended.returncode == 2
    assert "does not exist" in ended.stderr
