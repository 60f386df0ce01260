"""Large objects on disk: they fill a file while they come, and go out from it, whole or in part, by every protocol."""

from __future__ import annotations

import contextlib
import os
import ssl
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from edgewise.tls.development import DevelopmentAuthority
from journeys.conftest import InProcess, StartEdgewise, StartOrigin
from support.edgewise_process import EdgewiseProcess, wait_until
from support.http2_raw import INITIAL_WINDOW_SIZE, LARGEST_WINDOW, Http2Client, settings, window_update
from support.in_process import InProcessEngine
from support.origin import Origin, OriginConnection
from support.range_origin import RangeOrigin, content
from support.raw_http import ClosedEarly, RawClient, RawResponse, get

StartEngine = Callable[..., InProcessEngine]
SIZE = 3_000_000
WIDE = settings((INITIAL_WINDOW_SIZE, LARGEST_WINDOW)) + window_update(0, LARGEST_WINDOW - 65535)


@pytest.fixture
def engine(tmp_path: Path, in_process: InProcess) -> StartEngine:
    """Start an engine with a disk, whose route before an origin caches: `engine(origin, "settings")`."""

    def start(origin: Origin, cache: str = 'max_object = "300MB"') -> InProcessEngine:
        toml = f"""
[cache]
memory = "16MB"
disk = "1GB"
directory = "{tmp_path}/cache"
[upstreams.app]
servers = ["{origin.address}"]
retry = {{ attempts = 1 }}
[[routes]]
upstream = "app"
cache = {{ {cache} }}
"""
        return in_process(toml)

    return start


def ask(engine: InProcessEngine, *lines: str, method: bytes = b"GET") -> RawResponse:
    """Ask for the object once."""
    with engine.client() as client:
        request = get("/film", "a.example", *lines).replace(b"GET", method, 1)
        return client.ask(request, head_request=method == b"HEAD")


def how(response: RawResponse) -> str:
    """Return what Cache-Status says first."""
    return (response.get("cache-status") or "").split("; ")[1]


def bodies(directory: Path) -> list[Path]:
    """Return the files that hold content, whole or on its way."""
    return [path for path in (directory / "cache").rglob("*") if path.is_file() and path.stat().st_size > 300_000]


def settled(engine: InProcessEngine) -> None:
    """Wait until no exchange and no fetch is under way."""
    wait_until(lambda: engine.engine.requests == engine.engine.finished, "every exchange has ended")
    wait_until(lambda: not engine.engine.fills, "no fetch is under way")


def resident() -> int:
    """Return the bytes of memory that this process has."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


# ---- answers ---------------------------------------------------------------------------------------------------------


def test_what_is_on_disk_answers_whole_in_part_and_conditionally(
    origin: StartOrigin, engine: StartEngine, tmp_path: Path
) -> None:
    film = RangeOrigin(SIZE)
    running = engine(origin(film))
    assert ask(running).body == film.body
    settled(running)
    assert len(bodies(tmp_path)) == 1
    whole, part, head = ask(running), ask(running, "Range: bytes=1000000-2999998"), ask(running, method=b"HEAD")
    assert (how(whole), whole.get("content-length"), whole.body) == ("hit", str(SIZE), film.body)
    assert (part.status, part.get("content-range")) == (206, f"bytes 1000000-2999998/{SIZE}")
    assert part.body == film.body[1_000_000:2_999_999]
    assert (head.status, head.get("content-length")) == (200, str(SIZE))
    same, changed = ask(running, 'If-None-Match: "one"'), ask(running, "Range: bytes=0-9", 'If-Range: "other"')
    assert (same.status, changed.status, changed.body) == (304, 200, film.body)
    assert ask(running, f"Range: bytes={SIZE}-").status == 416
    assert film.ranges == [""]


def test_a_connection_goes_on_behind_a_file_and_ends_where_it_was_asked_to(
    origin: StartOrigin, engine: StartEngine
) -> None:
    film = RangeOrigin(SIZE)
    running = engine(origin(film))
    ask(running)
    settled(running)
    with running.client() as client:
        client.send(get("/film", "a.example") + get("/film", "a.example", close=True))
        first, last = client.read(), client.read()
        assert first.body == last.body == film.body
        assert (first.get("connection"), last.get("connection")) == (None, "close")
        assert client.is_closed()
    with running.client() as client:
        client.send(b"GET /film HTTP/1.0\r\nHost: a.example\r\nConnection: keep-alive\r\n\r\n")
        answer = client.read()
        assert (answer.body, answer.get("connection")) == (film.body, "keep-alive")


def test_content_of_unknown_length_moves_to_a_file_once_it_is_long(
    origin: StartOrigin, engine: StartEngine, tmp_path: Path
) -> None:
    film = RangeOrigin(SIZE)
    film.chunked = True
    running = engine(origin(film))
    first, second = ask(running), ask(running)
    assert first.body == second.body == film.body
    assert second.get("content-length") == str(SIZE)
    assert len(bodies(tmp_path)) == 1


def test_those_who_are_behind_read_from_the_file_while_it_is_filled(
    origin: StartOrigin, engine: StartEngine, tmp_path: Path
) -> None:
    film = RangeOrigin(SIZE)
    film.gates = {"": threading.Event()}
    running = engine(origin(film))
    with ThreadPoolExecutor(8) as threads:
        first = threads.submit(ask, running)
        wait_until(lambda: bodies(tmp_path), "content is on disk")
        later = [threads.submit(ask, running) for _ in range(7)]
        wait_until(lambda: running.engine.requests - running.engine.finished == 8, "all read")
        film.gates[""].set()
        assert {one.result().body for one in (first, *later)} == {film.body}
    assert film.ranges == [""]


def test_a_range_of_what_is_not_stored_is_cut_out_of_the_whole_while_that_comes(
    origin: StartOrigin, engine: StartEngine
) -> None:
    film = RangeOrigin(SIZE)
    film.gates = {"": threading.Event()}
    running = engine(origin(film))
    with running.client() as early, running.client() as late:
        late.send(get("/film", "a.example", f"Range: bytes={SIZE - 10}-"))
        assert b"206 Partial Content" in late.reader.until(b"\r\n\r\n")
        part = early.ask(get("/film", "a.example", "Range: bytes=10-19"))
        assert (part.status, part.body, part.get("content-range")) == (206, film.body[10:20], f"bytes 10-19/{SIZE}")
        assert early.ask(get("/film", "a.example", f"Range: bytes={SIZE}-")).status == 416
        film.gates[""].set()
        assert late.reader.exactly(10) == film.body[-10:]
    settled(running)
    assert ask(running).body == film.body
    assert film.ranges == [""]


def test_what_is_longer_than_the_route_keeps_is_passed_on_and_leaves_no_file(
    origin: StartOrigin, engine: StartEngine, tmp_path: Path
) -> None:
    film = RangeOrigin(SIZE)
    film.chunked = True
    running = engine(origin(film), 'max_object = "1MB"')
    assert [ask(running).body, ask(running).body] == [film.body, film.body]
    settled(running)
    wait_until(lambda: not bodies(tmp_path), "nothing is left")
    assert film.ranges == ["", ""]


def test_a_range_of_what_is_too_long_to_keep_is_asked_for_as_it_is(origin: StartOrigin, engine: StartEngine) -> None:
    film = RangeOrigin(SIZE)
    running = engine(origin(film), 'max_object = "1MB"')
    part, again = ask(running, "Range: bytes=10-19"), ask(running, "Range: bytes=20-29")
    assert [(one.status, one.body) for one in (part, again)] == [(206, film.body[10:20]), (206, film.body[20:30])]
    settled(running)
    assert film.ranges == ["", "10-19", "20-29"]


def test_a_304_renews_what_is_on_disk_and_leaves_its_file(
    origin: StartOrigin, engine: StartEngine, tmp_path: Path
) -> None:
    film = RangeOrigin(SIZE)
    film.lines = ["Cache-Control: no-cache"]
    running = engine(origin(film))
    assert ask(running).body == film.body
    settled(running)
    film.lines = ["Cache-Control: max-age=60"]
    files = bodies(tmp_path)
    assert [ask(running).body, ask(running).body] == [film.body, film.body]
    assert (film.ranges, bodies(tmp_path)) == (["", ""], files)
    assert b"if-none-match" in film.requests[-1].lower()


# ---- failures --------------------------------------------------------------------------------------------------------


def test_a_fetch_that_breaks_off_leaves_no_file(origin: StartOrigin, engine: StartEngine, tmp_path: Path) -> None:
    film = RangeOrigin(SIZE)
    film.cuts = {""}
    running = engine(origin(film))
    with running.client() as client, pytest.raises(ClosedEarly):
        client.ask(get("/film", "a.example"))
    settled(running)
    wait_until(lambda: not bodies(tmp_path), "nothing is left")
    film.cuts.clear()
    assert ask(running).body == film.body


def test_an_object_whose_file_is_gone_is_fetched_again(
    origin: StartOrigin, engine: StartEngine, tmp_path: Path
) -> None:
    film = RangeOrigin(SIZE)
    running = engine(origin(film))
    ask(running)
    settled(running)
    for path in bodies(tmp_path):
        path.unlink()
    again = ask(running)
    assert (again.status, again.body, how(again)) == (200, film.body, "fwd=uri-miss")
    settled(running)
    assert how(ask(running)) == "hit"


def test_a_file_that_is_removed_while_it_is_sent_is_sent_to_its_end(
    origin: StartOrigin, engine: StartEngine, tmp_path: Path
) -> None:
    film = RangeOrigin(30_000_000)
    running = engine(origin(film))
    ask(running)
    settled(running)
    with running.client(receive_buffer=4096) as client:
        client.send(get("/film", "a.example"))
        client.reader.until(b"\r\n\r\n")
        for path in bodies(tmp_path):
            path.unlink()
        assert client.reader.exactly(len(film.body)) == film.body


def test_a_client_that_leaves_half_way_does_no_harm(origin: StartOrigin, engine: StartEngine) -> None:
    film = RangeOrigin(30_000_000)
    running = engine(origin(film))
    ask(running)
    settled(running)
    with running.client(receive_buffer=4096) as client:
        client.send(get("/film", "a.example"))
        client.reader.until(b"\r\n\r\n")
    settled(running)
    assert ask(running, "Range: bytes=29999990-").body == film.body[-10:]


# ---- slices on disk --------------------------------------------------------------------------------------------------


def test_large_slices_are_files_of_their_own(origin: StartOrigin, engine: StartEngine, tmp_path: Path) -> None:
    film = RangeOrigin(SIZE)
    running = engine(origin(film), 'slice = "1MB"')
    assert ask(running, "Range: bytes=1500000-2499999").body == film.body[1_500_000:2_500_000]
    settled(running)
    assert len(bodies(tmp_path)) == 2
    assert ask(running).body == film.body
    settled(running)
    assert ask(running).body == film.body
    assert film.ranges == ["1000000-1999999", "2000000-2999999", "0-999999"]
    for path in bodies(tmp_path):
        path.unlink()
    assert ask(running).body == film.body


@pytest.mark.parametrize("size", ["100KB", "1MB"])
def test_the_next_start_finds_an_object_with_its_slices(origin: StartOrigin, engine: StartEngine, size: str) -> None:
    film = RangeOrigin(SIZE)
    server = origin(film)
    before = engine(server, f'slice = "{size}"')
    assert ask(before, "Range: bytes=1500000-2499999").body == film.body[1_500_000:2_500_000]
    settled(before)
    assert before.table.caches.disk.flush(15.0)
    asked = len(film.ranges)
    after = engine(server, f'slice = "{size}"')
    found = ask(after, "Range: bytes=1600000-2400000")
    assert (found.status, found.body, how(found)) == (206, film.body[1_600_000:2_400_001], "hit")
    assert len(film.ranges) == asked


def test_a_slice_whose_file_is_damaged_is_fetched_again(
    origin: StartOrigin, engine: StartEngine, tmp_path: Path
) -> None:
    film = RangeOrigin(SIZE)
    running = engine(origin(film), 'slice = "1MB"')
    ask(running)
    settled(running)
    for path in bodies(tmp_path):
        path.write_bytes(b"")
    assert ask(running).body == film.body
    assert len(film.ranges) == 6


# ---- by other protocols ----------------------------------------------------------------------------------------------


def test_tls_and_http2_clients_get_the_same(
    origin: StartOrigin, edgewise_server: StartEdgewise, tmp_path: Path
) -> None:
    film, cut = RangeOrigin(SIZE), RangeOrigin(SIZE)
    whole, sliced = origin(film), origin(cut)
    authority = DevelopmentAuthority()
    ca = authority.write(tmp_path)
    cert, key = authority.issue(["one.test"]).write(tmp_path, "one")
    edgewise = edgewise_server(f"""
[server]
listen = ["127.0.0.1:$PORT"]
tls_listen = ["127.0.0.1:$TLS_PORT"]
admin = "off"
workers = 1
[tls]
certificates = [{{ cert = "{cert}", key = "{key}" }}]
[cache]
disk = "100MB"
directory = "{tmp_path}/cache"
[upstreams.whole]
servers = ["{whole.address}"]
[upstreams.sliced]
servers = ["{sliced.address}"]
[[routes]]
path = "/whole"
upstream = "whole"
cache = {{}}
[[routes]]
path = "/sliced"
upstream = "sliced"
cache = {{ slice = "1MB" }}
""")
    context = ssl.create_default_context(cafile=str(ca))
    for path in ("/whole", "/sliced"):
        for _ in range(2):
            for lines, wanted in (((), film.body), (("Range: bytes=900000-2099999",), film.body[900_000:2_100_000])):
                assert over_tls(edgewise, context, path, *lines) == wanted
                assert over_http2(edgewise, path, *lines) == wanted
    assert film.ranges == [""] * 2, "http and https are two objects"
    assert cut.ranges == ["0-999999", "1000000-1999999", "2000000-2999999"] * 2


def over_tls(edgewise: EdgewiseProcess, context: ssl.SSLContext, path: str, *lines: str) -> bytes:
    """Return what a client gets over TLS."""
    with RawClient(("127.0.0.1", edgewise.tls_port), tls=context, server_name="one.test") as client:
        return client.ask(get(path, "one.test", *lines)).body


def over_http2(edgewise: EdgewiseProcess, path: str, *lines: str) -> bytes:
    """Return what a client gets over HTTP/2."""
    extra = [(name.lower(), value) for name, _, value in (line.partition(": ") for line in lines)]
    with Http2Client(("127.0.0.1", edgewise.port), opening=WIDE) as client:
        return client.get(path, *extra).body


# ---- memory ----------------------------------------------------------------------------------------------------------


def test_memory_stays_small_while_many_read_slowly_what_is_fetched(origin: StartOrigin, engine: StartEngine) -> None:
    total, piece = 200_000_000, content(1_000_000)
    rest = threading.Event()

    def script(connection: OriginConnection) -> None:
        connection.read_request()
        connection.send(b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: %d\r\n\r\n" % total)
        for number in range(total // len(piece)):
            if number == 100:
                assert rest.wait(120)
            connection.send(piece)

    running = engine(origin(script))
    before = resident()
    most = 0
    with contextlib.ExitStack() as stack:
        slow = [stack.enter_context(running.client(receive_buffer=65536)) for _ in range(20)]
        for client in slow:
            client.send(get("/film", "a.example"))
        for client in slow:
            client.reader.until(b"\r\n\r\n")
        rest.set()
        wait_until(lambda: not running.engine.fills, "all is fetched, though nobody reads", patience=120)
        most = resident()
        for client in slow[:2]:
            for _ in range(total // len(piece)):
                assert client.reader.exactly(len(piece)) == piece
                client.reader.received.clear()
    assert most - before < 60_000_000, "content of 200 MB, and 20 who are behind"
    settled(running)
