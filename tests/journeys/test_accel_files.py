"""Files that an app names by X-Accel-Redirect or X-Sendfile: whole, in part, unchanged, and never from outside."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.edgewise_process import EdgewiseProcess, wait_until
from support.origin import OK, Origin, OriginConnection
from support.raw_http import RawResponse, get, post

CONTENT = bytes(range(256)) * 40
LARGE = 24 << 20
Site = tuple[EdgewiseProcess, Origin, Path]


@pytest.fixture(scope="module")
def standing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    root = tmp_path_factory.mktemp("site") / "files"
    (root / "sub").mkdir(parents=True)
    (root / "report.pdf").write_bytes(CONTENT)
    (root / "sub/empty.txt").touch()
    (root / "large.bin").write_bytes(bytes(range(256)) * (LARGE // 256))
    (root.parent / "secret.txt").write_text("secret")
    (root / "out").symlink_to(root.parent / "secret.txt")
    server = Origin()
    edgewise = EdgewiseProcess(
        f'[upstreams.app]\nservers = ["{server.address}"]\n[[routes]]\nupstream = "app"\n'
        f'accel = {{ "/protected" = "{root}" }}\n[[routes]]\npath = "/plain/*"\nupstream = "app"\n',
        tmp_path_factory.mktemp("edgewise"),
    )
    yield edgewise, server, root
    edgewise.stop()
    server.stop()


@pytest.fixture
def site(standing: Site) -> Site:
    standing[1].play(accel("/protected/report.pdf"))
    return standing


def accel(target: str, *lines: str, name: str = "X-Accel-Redirect") -> bytes:
    """Return an app's answer that names a file."""
    fields = "".join(f"{line}\r\n" for line in lines)
    return f"HTTP/1.1 200 OK\r\n{name}: {target}\r\nContent-Length: 7\r\n{fields}\r\nignored".encode()


def ask(site: Site, request: bytes, *, head: bool = False) -> RawResponse:
    """Return the answer to one request."""
    with site[0].client() as client:
        return client.ask(request, head_request=head)


def test_the_file_comes_in_place_of_the_content(site: Site) -> None:
    reply = ask(site, get("/download", "a", "Connection: keep-alive"))
    assert (reply.status, reply.body) == (200, CONTENT)
    assert reply.get("content-type") == "application/pdf"
    assert reply.get("accept-ranges") == "bytes"
    assert reply.get("x-accel-redirect") is None
    assert len(reply.all("content-length")) == 1


def test_fields_that_describe_the_download_are_the_apps(site: Site) -> None:
    said = ("Content-Type: text/x", 'Content-Disposition: attachment; filename="a"', "Set-Cookie: a=1", "X-Other: no")
    site[1].play(accel("/protected/report.pdf", *said))
    reply = ask(site, get())
    assert (reply.all("content-type"), reply.get("set-cookie")) == (["text/x"], "a=1")
    assert reply.get("content-disposition") == 'attachment; filename="a"'


def test_sendfile_names_a_path_of_the_file_system(site: Site) -> None:
    site[1].play(accel(str(site[2] / "report.pdf"), name="X-Sendfile"))
    assert ask(site, get()).body == CONTENT


def test_head_has_the_fields_and_no_content(site: Site) -> None:
    with site[0].client() as client:
        reply = client.ask(b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n", head_request=True)
        assert (reply.status, reply.get("content-length")) == (200, str(len(CONTENT)))
        assert client.ask(get()).body == CONTENT


@pytest.mark.parametrize(
    ("asked", "start", "end"),
    [("bytes=0-0", 0, 1), ("bytes=10-19", 10, 20), ("bytes=10000-", 10000, 10240), ("bytes=-5", 10235, 10240)],
)
def test_a_range_is_answered_in_part(site: Site, asked: str, start: int, end: int) -> None:
    reply = ask(site, get("/", "a", f"Range: {asked}"))
    assert (reply.status, reply.body) == (206, CONTENT[start:end])
    assert reply.get("content-range") == f"bytes {start}-{end - 1}/10240"


@pytest.mark.parametrize("asked", ["bytes=x", "lines=1-2", "bytes=5-1"])
def test_ranges_that_are_not_served_bring_the_whole(site: Site, asked: str) -> None:
    assert ask(site, get("/", "a", f"Range: {asked}")).body == CONTENT


def test_a_range_past_the_end_is_a_416(site: Site) -> None:
    reply = ask(site, get("/", "a", "Range: bytes=10240-"))
    assert (reply.status, reply.get("content-range")) == (416, "bytes */10240")


def test_what_the_client_has_is_a_304(site: Site) -> None:
    first = ask(site, get())
    etag, modified = first.get("etag"), first.get("last-modified")
    for line in (f"If-None-Match: {etag}", f'If-None-Match: "x", W/{etag}', f"If-Modified-Since: {modified}"):
        reply = ask(site, get("/", "a", line))
        assert (reply.status, reply.get("etag")) == (304, etag)
    assert ask(site, get("/", "a", 'If-None-Match: "other"', f"If-Modified-Since: {modified}")).status == 200
    assert ask(site, get("/", "a", "Range: bytes=0-3", f"If-Range: {etag}")).status == 206
    assert ask(site, get("/", "a", "Range: bytes=0-3", 'If-Range: "other"')).status == 200


@pytest.mark.parametrize(
    "target",
    ["/protected/../secret.txt", "/protected/%2e%2e/secret.txt", "/protected/out", "/protected/none", "/protected/sub",
     "/protected/", "/elsewhere/report.pdf", "/etc/passwd"],
)  # fmt: skip
def test_what_is_not_there_or_outside_is_a_404(site: Site, target: str) -> None:
    for name in ("X-Accel-Redirect", "X-Sendfile"):
        site[1].play(accel(target, name=name))
        reply = ask(site, get())
        assert reply.status == 404
        assert b"secret" not in reply.body


def test_an_empty_file_is_an_answer(site: Site) -> None:
    site[1].play(accel("/protected/sub/empty.txt"))
    with site[0].client() as client:
        assert [client.ask(get()).get("content-length") for _ in range(2)] == ["0", "0"]


def test_a_route_without_directories_hides_nothing_and_sends_no_file(site: Site) -> None:
    reply = ask(site, get("/plain/a"))
    assert (reply.body, reply.get("x-accel-redirect")) == (b"ignored", None)


def test_a_large_file_waits_for_a_slow_client(site: Site) -> None:
    edgewise, origin, root = site
    origin.play([accel("/protected/large.bin"), OK])
    with edgewise.client(receive_buffer=65536) as client:
        client.send(get("/large") + get("/next"))
        client.reader.until(b"\r\n\r\n")
        assert client.reader.exactly(LARGE) == (root / "large.bin").read_bytes()
        assert client.read().body == b"ok"


def test_a_client_that_leaves_half_way_leaves_no_descriptor_open(site: Site) -> None:
    edgewise, origin, _ = site
    origin.play(accel("/protected/large.bin"))
    for _ in range(3):
        with edgewise.client(receive_buffer=65536) as client:
            client.send(get())
            client.reader.exactly(1000)
    wait_until(lambda: not open_files(edgewise, "large.bin"), "the file is closed")


def test_an_upload_answered_by_a_file_before_its_end_closes(site: Site) -> None:
    edgewise, origin, _ = site

    def early(connection: OriginConnection) -> None:
        connection.read_head()
        connection.send(accel("/protected/large.bin"))
        connection.reader.to_end()

    origin.play(early)
    with edgewise.client(receive_buffer=65536) as client:
        client.send(post(b"")[:-2].replace(b"Content-Length: 0", b"Content-Length: 90000000") + b"\r\n")
        assert b"Connection: close" in client.reader.until(b"\r\n\r\n")
        for _ in range(LARGE >> 20):
            assert len(client.reader.exactly(1 << 20)) == 1 << 20
            client.send(b"x" * 1000)
        assert client.is_closed()
    assert "Traceback" not in edgewise.log


def open_files(edgewise: EdgewiseProcess, name: str) -> list[str]:
    """Return the open files of the process tree whose path ends with `name`."""
    found = []
    for pid in edgewise.tree():
        for link in Path(f"/proc/{pid}/fd").iterdir():
            try:
                target = str(link.readlink())
            except OSError:
                continue
            if target.endswith(name):
                found.append(target)
    return found
