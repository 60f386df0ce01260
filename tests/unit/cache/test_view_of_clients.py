"""What clients are told of a kept answer: a policy of the route, fields that are for the cache only, Vary."""

from __future__ import annotations

from edgewise.cache.answering import answer
from edgewise.cache.key import Keys, KeySettings
from edgewise.cache.request import CacheRequest, Said
from edgewise.cache.settings import CacheSettings
from edgewise.cache.stored import Stored
from edgewise.cache.view import BrowserPolicy, View, coded_form, show
from edgewise.contracts.compression import Compression
from edgewise.http.head import Field, plain_head

NOW = 1_700_000_000.0
COMPRESSION = Compression((b"br", b"gzip"), {b"br": 3, b"gzip": 4})
TEXT = b"the same words again, " * 200


def fields(*lines: str) -> tuple[Field, ...]:
    pairs = [line.split(": ", 1) for line in lines]
    return tuple(Field(name.lower().encode(), value.encode(), f"{name}: {value}\r\n".encode()) for name, value in pairs)


def kept(*lines: str, status: int = 200, age: float = 0.0, body: bytes = TEXT) -> Stored:
    stored = Stored(status, b"OK", fields(*lines))
    stored.born = stored.date = stored.received = NOW - age
    stored.fill(body)
    return stored


def request(*lines: str) -> CacheRequest:
    head = plain_head(fields=fields(*lines))
    return CacheRequest(head, b"https", Keys(KeySettings()), Said(head, CacheSettings()))


def told(stored: Stored, *lines: str) -> list[bytes]:
    """Return the field lines of the answer to a request with these lines."""
    return answer(stored, request(*lines), NOW).head.split(b"\r\n")[1:-1]


def test_the_policy_takes_the_place_of_all_that_said_how_long() -> None:
    stored = kept("Cache-Control: s-maxage=600", "Expires: 0", "Pragma: no-cache", "X-Own: 1")
    show(stored, View(BrowserPolicy(b"private, max-age=60")))
    assert told(stored) == [
        b"X-Own: 1",
        b"Content-Length: %d" % len(TEXT),
        b"Cache-Control: private, max-age=60",
        b"Age: 0",
    ]


def test_rfc9111_4_2_3_a_policy_counts_from_when_the_answer_goes_out() -> None:
    stored = kept("Cache-Control: s-maxage=600", age=500)
    show(stored, View(BrowserPolicy(b"max-age=60, s-maxage=5, stale-while-revalidate=30")))
    assert told(stored)[-2:] == [
        b"Cache-Control: max-age=560, s-maxage=505, stale-while-revalidate=30", b"Age: 500",
    ]  # fmt: skip


def test_the_policy_is_told_with_304_and_parts_too() -> None:
    stored = kept("Cache-Control: max-age=600", 'ETag: "a"', age=10)
    show(stored, View(BrowserPolicy(b"no-cache")))
    for asked, status in (('If-None-Match: "a"', 304), ("Range: bytes=0-3", 206)):
        hit = answer(stored, request(asked), NOW)
        assert hit.status == status
        assert b"Cache-Control: no-cache\r\nAge: 10\r\n" in hit.head
        assert b"max-age=600" not in hit.head


def test_what_failed_or_leads_elsewhere_keeps_its_own_word() -> None:
    for status in (301, 404, 503):
        stored = kept("Cache-Control: max-age=10", status=status)
        show(stored, View(BrowserPolicy(b"public, max-age=31536000, immutable")))
        assert b"Cache-Control: max-age=10" in told(stored)
        assert b"Age: 0" in told(stored)


def test_a_policy_is_text_and_no_template() -> None:
    assert BrowserPolicy(b'x="%d%s", MAX-AGE=1').line(2) == b'Cache-Control: x="%d%s", MAX-AGE=3\r\n'


def test_hidden_fields_stay_with_the_object() -> None:
    stored = kept("Surrogate-Key: a b", "CDN-Cache-Control: max-age=9", "X-Own: 1")
    show(stored, View(hidden=(b"surrogate-key", b"cdn-cache-control")))
    assert told(stored) == [b"X-Own: 1", b"Content-Length: %d" % len(TEXT), b"Age: 0"]
    assert [field.name for field in stored.fields] == [b"surrogate-key", b"cdn-cache-control", b"x-own"]


def test_answers_that_may_be_compressed_vary_and_others_do_not() -> None:
    view = View(compression=COMPRESSION)
    text, picture = kept("Content-Type: text/html", "Vary: Cookie"), kept("Content-Type: image/png")
    coded, same = kept("Content-Type: text/html", "Content-Encoding: gzip"), kept("Content-Type: text/css, x")
    short = kept("Content-Type: text/html", body=b"short")
    for stored in (text, picture, coded, same, short):
        show(stored, view)
    assert told(text)[1:3] == [b"Vary: Cookie", b"Vary: Accept-Encoding"]
    for stored in (picture, coded, short):
        assert not any(line.startswith(b"Vary") for line in told(stored))


def test_an_answer_on_its_way_varies_as_it_will() -> None:
    stored = Stored(200, b"OK", fields("Content-Type: text/html"))
    show(stored, View(compression=COMPRESSION))
    assert b"Vary: Accept-Encoding\r\n" in stored.head_of(-1)


def test_rfc9110_8_8_3_3_a_coded_form_has_a_tag_of_its_own_and_its_304() -> None:
    stored = kept("Content-Type: text/html", 'ETag: "a"', "Accept-Ranges: bytes", age=7)
    show(stored, View(BrowserPolicy(b"max-age=1"), compression=COMPRESSION))
    form = coded_form(stored, b"br", b"coded")
    assert told(form) == [
        b"Content-Type: text/html", b'ETag: W/"a"', b"Vary: Accept-Encoding", b"Content-Encoding: br",
        b"Content-Length: 5", b"Cache-Control: max-age=8", b"Age: 7",
    ]  # fmt: skip
    same = answer(form, request('If-None-Match: W/"a"'), NOW)
    assert same.status == 304
    assert b"Vary: Accept-Encoding\r\n" in same.head
    assert b"Content-Encoding" not in same.head


def test_an_object_counts_for_what_clients_are_told_and_for_its_forms() -> None:
    stored = kept("Content-Type: text/html")
    bare = stored.size
    show(stored, View(compression=COMPRESSION))
    shown = stored.size
    form = coded_form(stored, b"br", b"x" * 5000)
    stored.forms = {b"br": form, b"gzip": None}
    assert bare < shown
    assert stored.size == shown + form.size
    assert form.size > 5000
    show(stored, View())
    assert stored.forms is None


def test_added_fields_take_the_place_of_the_answers_own_and_go_when_the_view_does() -> None:
    stored = kept('Clear-Site-Data: "storage"', "X-Own: 1")
    show(stored, View(added=fields('Clear-Site-Data: "cache"')))
    assert told(stored)[:2] == [b"X-Own: 1", b'Clear-Site-Data: "cache"']
    show(stored, None)
    assert told(stored)[:2] == [b'Clear-Site-Data: "storage"', b"X-Own: 1"]
