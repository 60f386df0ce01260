"""Large objects in slices: which ranges a server is asked for, and that parts of different contents never mix."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from edgewise.cli.cached_text import cached_text
from edgewise.router.caching import looked_at
from journeys.conftest import InProcess, StartOrigin
from support.cached_answers import how
from support.edgewise_process import wait_until
from support.in_process import InProcessEngine
from support.origin import Origin
from support.range_origin import RangeOrigin, content
from support.raw_http import ClosedEarly, RawResponse, get

StartEngine = Callable[..., InProcessEngine]
SLICE = 100_000
SIZE = 450_000
FIRST, SECOND, THIRD, FOURTH, LAST = "0-99999", "100000-199999", "200000-299999", "300000-399999", "400000-499999"


@pytest.fixture
def engine(in_process: InProcess) -> StartEngine:
    """Start an engine whose route before an origin caches in slices: `engine(origin, "settings")`."""

    def start(origin: Origin, cache: str = "", route: str = "") -> InProcessEngine:
        toml = f"""
[upstreams.app]
servers = ["{origin.address}"]
retry = {{ attempts = 1 }}
[[routes]]
upstream = "app"
cache = {{ {cache or "stale_if_error = 0"}, slice = "100KB" }}
{route}
"""
        return in_process(toml)

    return start


def ask(engine: InProcessEngine, *lines: str, path: str = "/film", method: str = "GET") -> RawResponse:
    """Ask for the object once."""
    with engine.client() as client:
        request = get(path, "a.example", *lines).replace(b"GET", method.encode(), 1)
        return client.ask(request, head_request=method == "HEAD")


def ranged(engine: InProcessEngine, first: int | str, last: int | str = "", *lines: str) -> RawResponse:
    """Ask for a range of it."""
    return ask(engine, f"Range: bytes={first}-{last}", *lines)


def settled(engine: InProcessEngine) -> None:
    """Wait until no exchange is under way."""
    wait_until(lambda: engine.engine.requests == engine.engine.finished, "every exchange has ended")
    wait_until(lambda: not engine.engine.fills, "no fetch is under way")


# ---- which slices are fetched ----------------------------------------------------------------------------------------


def test_a_whole_object_is_fetched_in_aligned_ranges_and_then_answered_from_them(
    origin: StartOrigin, engine: StartEngine
) -> None:
    film = RangeOrigin(SIZE)
    running = engine(origin(film))
    first, second = ask(running), ask(running)
    assert [one.status for one in (first, second)] == [200, 200]
    assert first.body == second.body == film.body
    assert first.get("content-length") == str(SIZE)
    assert first.get("content-range") is None
    assert film.ranges == [FIRST, SECOND, THIRD, FOURTH, LAST]
    assert (how(first), how(second)) == ("fwd=uri-miss; stored", "hit")


def test_a_seek_fetches_the_slices_it_touches_and_no_others(origin: StartOrigin, engine: StartEngine) -> None:
    film = RangeOrigin(SIZE)
    running = engine(origin(film))
    part = ranged(running, 250_000, 349_999)
    assert (part.status, part.get("content-range")) == (206, f"bytes 250000-349999/{SIZE}")
    assert part.body == film.body[250_000:350_000]
    settled(running)
    assert film.ranges == [THIRD, FOURTH]
    assert ranged(running, 299_990, 300_009).body == film.body[299_990:300_010]
    assert len(film.ranges) == 2
    again = ranged(running, 199_990, 200_009)
    assert again.body == film.body[199_990:200_010]
    assert (how(again), film.ranges) == ("fwd=partial; stored", [THIRD, FOURTH, SECOND])


def test_the_last_slice_is_shorter_and_a_suffix_is_found_by_the_length(
    origin: StartOrigin, engine: StartEngine
) -> None:
    film = RangeOrigin(SIZE)
    running = engine(origin(film))
    part = ask(running, "Range: bytes=-10")
    assert (part.status, part.body) == (206, film.body[-10:])
    settled(running)
    assert film.ranges == [FIRST, LAST], "the length is not known before something came"
    assert ranged(running, 440_000).body == film.body[440_000:]
    assert len(film.ranges) == 2


def test_head_and_conditional_requests_are_answered_from_what_is_known_of_the_object(
    origin: StartOrigin, engine: StartEngine
) -> None:
    film = RangeOrigin(SIZE)
    running = engine(origin(film))
    head = ask(running, method="HEAD")
    assert (head.status, head.get("content-length"), head.body) == (200, str(SIZE), b"")
    settled(running)
    same = ask(running, 'If-None-Match: "one"')
    assert (same.status, same.body) == (304, b"")
    matching = ranged(running, 10, 19, 'If-Range: "one"')
    assert (matching.status, matching.body) == (206, film.body[10:20])
    assert film.ranges == [FIRST]
    other = ranged(running, 10, 19, 'If-Range: "two"')
    assert (other.status, other.body) == (200, film.body)


def test_several_ranges_are_answered_with_the_whole(origin: StartOrigin, engine: StartEngine) -> None:
    film = RangeOrigin(SIZE)
    answer = ask(engine(origin(film)), "Range: bytes=0-1,5-6")
    assert (answer.status, answer.body) == (200, film.body)


def test_a_range_behind_the_end_is_not_satisfied(origin: StartOrigin, engine: StartEngine) -> None:
    film = RangeOrigin(SIZE)
    running = engine(origin(film))
    late = ranged(running, 1_000_000)
    assert (late.status, late.get("content-range")) == (416, f"bytes */{SIZE}")
    settled(running)
    assert film.ranges == ["1000000-1099999", FIRST]
    assert ranged(running, 2_000_000).status == 416
    assert len(film.ranges) == 2


def test_what_one_slice_holds_is_stored_whole(origin: StartOrigin, engine: StartEngine) -> None:
    note = RangeOrigin(99, etag="")
    running = engine(origin(note))
    answers = [ask(running), ask(running), ranged(running, 10, 19)]
    assert [one.status for one in answers] == [200, 200, 206]
    assert answers[0].body == answers[1].body == note.body
    assert (note.ranges, how(answers[1]), answers[1].get("content-range")) == ([FIRST], "hit", None)


def test_an_object_without_bytes_is_asked_for_whole(origin: StartOrigin, engine: StartEngine) -> None:
    nothing = RangeOrigin(0)
    running = engine(origin(nothing))
    assert (ask(running).status, ask(running).status) == (200, 200)
    assert nothing.ranges == [FIRST, ""]


def test_a_server_that_ignores_ranges_has_its_answer_stored_whole(origin: StartOrigin, engine: StartEngine) -> None:
    film = RangeOrigin(SIZE)
    film.ignores_ranges = True
    running = engine(origin(film))
    part = ranged(running, 250_000, 250_009)
    assert (part.status, part.body) == (206, film.body[250_000:250_010])
    settled(running)
    assert ranged(running, 10, 19).body == film.body[10:20]
    assert len(film.ranges) == 1


@pytest.mark.parametrize("length", ["*", "99"])
def test_a_part_of_what_has_no_length_is_not_used(origin: StartOrigin, engine: StartEngine, length: str) -> None:
    film = RangeOrigin(SIZE)
    film.length = length
    running = engine(origin(film))
    assert ask(running).body == film.body
    assert film.ranges == [FIRST, ""]


@pytest.mark.parametrize("etag", ["", 'W/"one"'])
def test_parts_without_a_strong_validator_are_not_combined(origin: StartOrigin, engine: StartEngine, etag: str) -> None:
    film = RangeOrigin(SIZE, etag=etag)
    running = engine(origin(film))
    assert [ask(running).body, ask(running).body] == [film.body, film.body]
    assert film.ranges == [FIRST, ""]


def test_a_date_of_long_ago_is_a_strong_validator(origin: StartOrigin, engine: StartEngine) -> None:
    film = RangeOrigin(SIZE, "Last-Modified: Tue, 01 Jan 2019 00:00:00 GMT", etag="")
    running = engine(origin(film))
    assert ask(running).body == film.body
    assert film.ranges == [FIRST, SECOND, THIRD, FOURTH, LAST]


@pytest.mark.parametrize("line", ["Cache-Control: private", "Cache-Control: no-store", "Set-Cookie: a=b"])
def test_what_must_not_be_stored_is_asked_for_by_each_as_it_wants_it(
    origin: StartOrigin, engine: StartEngine, line: str
) -> None:
    film = RangeOrigin(SIZE, line)
    running = engine(origin(film))
    part, whole = ranged(running, 5, 9), ask(running)
    assert (part.status, part.body, whole.status, whole.body) == (206, film.body[5:10], 200, film.body)
    assert film.ranges == [FIRST, "5-9", ""]


def test_chunked_parts_are_as_good_as_counted_ones(origin: StartOrigin, engine: StartEngine) -> None:
    film = RangeOrigin(SIZE)
    film.chunked = True
    running = engine(origin(film))
    assert [ask(running).body, ask(running).body] == [film.body, film.body]
    assert len(film.ranges) == 5


# ---- many at once ----------------------------------------------------------------------------------------------------


def test_clients_that_want_the_same_slice_share_its_fetch(origin: StartOrigin, engine: StartEngine) -> None:
    film = RangeOrigin(SIZE)
    film.gates = {SECOND: threading.Event()}
    running = engine(origin(film))
    ranged(running, 0, 9)
    settled(running)
    with ThreadPoolExecutor(20) as threads:
        answers = [threads.submit(ranged, running, 150_000, 250_000) for _ in range(20)]
        wait_until(lambda: running.engine.requests - running.engine.finished == 20, "all wait for one fetch")
        film.gates[SECOND].set()
        bodies = {answer.result().body for answer in answers}
    assert bodies == {film.body[150_000:250_001]}
    assert film.ranges == [FIRST, SECOND, THIRD]


def test_content_of_a_slice_goes_out_while_it_comes(origin: StartOrigin, engine: StartEngine) -> None:
    film = RangeOrigin(SIZE)
    film.gates = {FIRST: threading.Event()}
    with engine(origin(film)).client() as client:
        client.send(get("/film", "a.example"))
        client.reader.until(b"\r\n\r\n")
        assert client.reader.exactly(50_000) == film.body[:50_000]
        film.gates[FIRST].set()
        assert client.reader.exactly(SIZE - 50_000) == film.body[50_000:]


def test_at_most_one_slice_is_fetched_ahead_and_none_for_a_client_that_left(
    origin: StartOrigin, engine: StartEngine
) -> None:
    size = 80 * SLICE
    film = RangeOrigin(size)
    running = engine(origin(film))
    with running.client(receive_buffer=4096) as client:
        client.send(get("/film", "a.example"))
        client.reader.until(b"\r\n\r\n")
        wait_until(lambda: len(film.ranges) >= 2, "it begins")
        wait_until(lambda: not running.engine.fills, "and waits for its client")
    wait_until(lambda: running.engine.requests == running.engine.finished, "the client is gone")
    asked = len(film.ranges)
    assert asked < 70, "what the sockets hold, and one slice"
    assert ranged(running, size - 10).body == film.body[-10:]
    assert len(film.ranges) == asked + 1


def test_a_slice_that_only_its_first_client_may_have_is_asked_for_by_the_others(
    origin: StartOrigin, engine: StartEngine
) -> None:
    film = RangeOrigin(SIZE)
    running = engine(origin(film))
    ranged(running, 0, 9)
    settled(running)
    film.lines = ["Cache-Control: private"]
    hold = threading.Event()
    film.asked = lambda value: hold.wait(60)
    with ThreadPoolExecutor(3) as threads:
        answers = [threads.submit(ranged, running, 100_000, 100_009) for _ in range(3)]
        wait_until(lambda: running.engine.requests - running.engine.finished == 3, "all wait for one fetch")
        hold.set()
        assert {answer.result().body for answer in answers} == {film.body[100_000:100_010]}
    assert film.ranges == [FIRST, SECOND, SECOND, SECOND]


# ---- changes ---------------------------------------------------------------------------------------------------------


def changed(film: RangeOrigin, etag: str = '"two"', size: int = SIZE) -> None:
    """Have the origin serve something else."""
    film.body, film.etag = content(size, seed=1), etag


def test_slices_of_a_changed_object_never_mix_within_an_answer(origin: StartOrigin, engine: StartEngine) -> None:
    film = RangeOrigin(SIZE)
    film.asked = lambda value: changed(film) if value == THIRD else None
    before = film.body
    running = engine(origin(film))
    with running.client() as client:
        client.send(get("/film", "a.example"))
        client.reader.until(b"\r\n\r\n")
        with pytest.raises(ClosedEarly):
            client.reader.exactly(SIZE)
        assert before.startswith(client.reader.buffer)
    settled(running)
    film.asked = lambda value: None
    film.ranges.clear()
    assert ask(running).body == film.body
    assert film.ranges == [FIRST, SECOND, THIRD, FOURTH, LAST], "the old slices are dropped"


@pytest.mark.parametrize(("etag", "size"), [('"two"', SIZE), ('"one"', SIZE - 8)])
def test_who_has_got_nothing_yet_gets_the_changed_object(
    origin: StartOrigin, engine: StartEngine, etag: str, size: int
) -> None:
    film = RangeOrigin(SIZE)
    running = engine(origin(film))
    ranged(running, 0, 9)
    settled(running)
    changed(film, etag, size)
    part = ranged(running, 150_000, 150_009)
    assert (part.status, part.body) == (206, film.body[150_000:150_010])
    settled(running)
    assert ranged(running, 0, 9).body == film.body[:10]


def test_another_date_of_change_is_another_content(origin: StartOrigin, engine: StartEngine) -> None:
    film = RangeOrigin(SIZE, "Last-Modified: Tue, 01 Jan 2019 00:00:00 GMT", etag="")
    running = engine(origin(film))
    ranged(running, 0, 9)
    settled(running)
    changed(film, "")
    film.lines[1] = "Last-Modified: Wed, 02 Jan 2019 00:00:00 GMT"
    assert ranged(running, 150_000, 150_009).body == film.body[150_000:150_010]
    assert ranged(running, 0, 9).body == film.body[:10]


def test_servers_that_disagree_are_asked_for_the_whole_in_the_end(origin: StartOrigin, engine: StartEngine) -> None:
    film = RangeOrigin(SIZE)
    film.asked = lambda value: changed(film, f'"{len(film.ranges)}"')
    running = engine(origin(film))
    for _ in range(3):
        with running.client() as client:
            client.send(get("/film", "a.example"))
            client.reader.until(b"\r\n\r\n")
            try:
                assert client.reader.exactly(SIZE) == film.body
            except ClosedEarly:
                continue
    settled(running)
    assert film.ranges[-1] == ""


def test_a_stale_object_is_validated_once_for_all_its_slices(origin: StartOrigin, engine: StartEngine) -> None:
    film = RangeOrigin(SIZE)
    film.lines = ["Cache-Control: no-cache"]
    running = engine(origin(film))
    assert ask(running).body == film.body
    settled(running)
    film.lines = ["Cache-Control: max-age=60"]
    film.ranges.clear()
    answers = [ask(running), ask(running)]
    assert [one.body for one in answers] == [film.body, film.body]
    assert (film.ranges, how(answers[0]), how(answers[1])) == ([FIRST], "fwd=stale; fwd-status=304; stored", "hit")
    assert b"if-none-match" in film.requests[-1].lower()


def test_a_stale_object_that_changed_is_begun_anew_by_the_slice_that_came(
    origin: StartOrigin, engine: StartEngine
) -> None:
    film = RangeOrigin(SIZE)
    film.lines = ["Cache-Control: no-cache"]
    running = engine(origin(film))
    ask(running)
    settled(running)
    changed(film)
    film.ranges.clear()
    assert ask(running).body == film.body
    assert film.ranges == [FIRST, SECOND, THIRD, FOURTH, LAST]


# ---- failures --------------------------------------------------------------------------------------------------------


def test_a_slice_that_breaks_off_cuts_the_answer_and_is_not_stored(origin: StartOrigin, engine: StartEngine) -> None:
    film = RangeOrigin(SIZE)
    film.cuts = {SECOND}
    running = engine(origin(film))
    with running.client() as client:
        client.send(get("/film", "a.example"))
        client.reader.until(b"\r\n\r\n")
        with pytest.raises(ClosedEarly):
            client.reader.exactly(SIZE)
    settled(running)
    film.cuts.clear()
    film.ranges.clear()
    assert ask(running).body == film.body
    assert film.ranges == [SECOND, THIRD, FOURTH, LAST], "what came before is used"


@pytest.mark.parametrize("by", [-10, 10])
def test_a_slice_of_another_length_than_its_head_says_is_not_stored(
    origin: StartOrigin, engine: StartEngine, by: int
) -> None:
    film = RangeOrigin(SIZE)
    part = film.body[100_000 : 200_000 + by]
    head = f"HTTP/1.1 206 Partial Content\r\nETag: {film.etag}\r\nCache-Control: max-age=60\r\n"
    head += f"Content-Range: bytes 100000-199999/{SIZE}\r\nTransfer-Encoding: chunked\r\n\r\n"
    film.answers = {SECOND: head.encode() + b"%x\r\n%b\r\n0\r\n\r\n" % (len(part), part)}
    running = engine(origin(film))
    with running.client() as client:
        client.send(get("/film", "a.example"))
        client.reader.until(b"\r\n\r\n")
        with pytest.raises(ClosedEarly):
            client.reader.exactly(SIZE)
        assert film.body.startswith(client.reader.buffer)
    settled(running)
    film.answers.clear()
    assert ask(running).body == film.body


@pytest.mark.parametrize("by", [-10, 10])
def test_a_first_slice_of_another_length_than_its_head_says_is_no_answer(
    origin: StartOrigin, engine: StartEngine, by: int
) -> None:
    film = RangeOrigin(SIZE)
    part = film.body[: 100_000 + by]
    head = f"HTTP/1.1 206 Partial Content\r\nETag: {film.etag}\r\nCache-Control: max-age=60\r\n"
    head += f"Content-Range: bytes 0-99999/{SIZE}\r\nTransfer-Encoding: chunked\r\n\r\n"
    film.answers = {FIRST: head.encode() + b"%x\r\n%b\r\n0\r\n\r\n" % (len(part), part)}
    running = engine(origin(film))
    for _ in range(2):
        with running.client() as client:
            client.send(get("/film", "a.example"))
            with contextlib.suppress(ClosedEarly):
                client.reader.until(b"\r\n\r\n")
                client.reader.exactly(SIZE)
            assert film.body.startswith(client.reader.buffer)
        settled(running)
    film.answers.clear()
    assert ask(running).body == film.body


def test_a_server_that_fails_before_anything_went_out_is_passed_on(origin: StartOrigin, engine: StartEngine) -> None:
    film = RangeOrigin(SIZE)
    running = engine(origin(film))
    ranged(running, 0, 9)
    settled(running)
    failing = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 4\r\n\r\nbusy"
    film.answers = {SECOND: failing, "150000-150009": failing}
    assert ranged(running, 150_000, 150_009).status == 503
    film.answers.clear()
    assert ranged(running, 150_000, 150_009).body == film.body[150_000:150_010]


def test_a_server_that_is_gone_is_a_failure_of_the_slice_that_is_missing(
    origin: StartOrigin, engine: StartEngine
) -> None:
    film = RangeOrigin(SIZE)
    server = origin(film)
    running = engine(server)
    assert ranged(running, 0, 9).status == 206
    settled(running)
    server.stop()
    assert ranged(running, 150_000).status == 502
    assert ranged(running, 10, 19).body == film.body[10:20]
    settled(running)


def test_only_if_cached_asks_no_server_for_a_slice(origin: StartOrigin, engine: StartEngine) -> None:
    film = RangeOrigin(SIZE)
    running = engine(origin(film))
    ranged(running, 0, 9)
    settled(running)
    assert ranged(running, 10, 19, "Cache-Control: only-if-cached").status == 206
    assert ranged(running, 150_000, "", "Cache-Control: only-if-cached").status == 504
    assert film.ranges == [FIRST]


# ---- purges ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("lines", [(), ("Surrogate-Key: films",)])
def test_a_purge_reaches_all_slices(origin: StartOrigin, engine: StartEngine, lines: tuple[str, ...]) -> None:
    film = RangeOrigin(SIZE, "Surrogate-Key: films other")
    running = engine(origin(film), 'purge_from = ["127.0.0.1"]')
    assert ask(running).body == film.body
    settled(running)
    film.body = content(SIZE, seed=1)  # by a server that gives two contents one tag
    assert ask(running, *lines, method="PURGE").status == 200
    assert ask(running).body == film.body


def test_a_request_that_changes_something_reaches_all_slices(origin: StartOrigin, engine: StartEngine) -> None:
    film = RangeOrigin(SIZE)
    running = engine(origin(film))
    ask(running)
    settled(running)
    film.body = content(SIZE, seed=1)
    film.ignores_ranges = False
    assert ask(running, "Content-Length: 0", method="DELETE").status == 200
    assert ranged(running, 150_000, 150_009).body == film.body[150_000:150_010]


def test_what_was_asked_for_before_a_purge_is_not_joined_after_it(origin: StartOrigin, engine: StartEngine) -> None:
    film = RangeOrigin(SIZE)
    film.gates = {SECOND: threading.Event()}
    before = film.body
    running = engine(origin(film), 'purge_from = ["127.0.0.1"]')
    ranged(running, 0, 9)
    settled(running)
    with ThreadPoolExecutor(1) as threads:
        early = threads.submit(ranged, running, 150_000, 150_009)
        wait_until(lambda: film.ranges == [FIRST, SECOND], "a slice is on its way")
        film.body = content(SIZE, seed=1)
        assert ask(running, method="PURGE").status == 200
        gate, film.gates = film.gates[SECOND], {}
        late = ranged(running, 150_000, 150_009)
        gate.set()
        assert early.result().body == before[150_000:150_010]
    assert late.body == film.body[150_000:150_010]
    settled(running)
    assert ask(running).body == film.body


# ---- every place -----------------------------------------------------------------------------------------------------


def test_ranges_that_begin_and_end_at_every_edge_are_what_they_say(origin: StartOrigin, engine: StartEngine) -> None:
    film = RangeOrigin(SIZE)
    running = engine(origin(film))
    edges = [0, 1, 99_999, 100_000, 100_001, 199_999, 200_000, 399_999, 400_000, SIZE - 2, SIZE - 1]
    with running.client() as client:
        for first in edges:
            for last in [each for each in edges if each >= first]:
                answer = client.ask(get("/film", "a.example", f"Range: bytes={first}-{last}"))
                assert answer.get("content-range") == f"bytes {first}-{last}/{SIZE}"
                assert answer.body == film.body[first : last + 1]
    settled(running)
    assert sorted(film.ranges) == sorted([FIRST, SECOND, THIRD, FOURTH, LAST])


def test_an_object_of_whole_slices_ends_with_a_full_one(origin: StartOrigin, engine: StartEngine) -> None:
    film = RangeOrigin(3 * SLICE)
    running = engine(origin(film))
    assert [ask(running).body, ask(running).body] == [film.body, film.body]
    assert film.ranges == [FIRST, SECOND, THIRD]


def test_variants_have_slices_of_their_own(origin: StartOrigin, engine: StartEngine) -> None:
    film = RangeOrigin(SIZE, "Vary: Accept-Language")
    running = engine(origin(film))
    for _ in range(2):
        for language in ("de", "en"):
            assert ask(running, f"Accept-Language: {language}").body == film.body
    assert len(film.ranges) == 10


def test_a_route_that_compresses_sends_slices_as_they_are(origin: StartOrigin, engine: StartEngine) -> None:
    film = RangeOrigin(SIZE, "Content-Type: text/plain")
    running = engine(origin(film), route="compress = {}")
    for _ in range(2):
        answer = ask(running, "Accept-Encoding: gzip")
        assert (answer.get("content-encoding"), answer.body) == (None, film.body)


def test_explain_tells_of_the_slices_there_are(origin: StartOrigin, engine: StartEngine) -> None:
    film = RangeOrigin(SIZE)
    running = engine(origin(film))
    ranged(running, 150_000, 150_009)
    settled(running)
    found = running.on_loop(lambda: looked_at("http://a.example/film", running.table.routes))
    (held,) = found[0]["held"]
    assert (held["status"], held["content"], held["slice"], held["slices"]) == (200, SIZE, SLICE, 1)
    assert "in slices of 100000, 1 of them in memory" in cached_text({"workers": [{"worker": 0, "routes": found}]})
