"""RFC 9211: members of Cache-Status."""

from __future__ import annotations

import pytest

from edgewise.cache.status import Forwarded, forwarded, hit, hit_template
from edgewise.http.structured import Token, parse_list
from support.cache import NOW, stored


def parsed(line: bytes) -> tuple[object, dict[str, object]]:
    """Return what a structured-field parser makes of the line."""
    name, _, value = line.partition(b": ")
    assert name == b"Cache-Status"
    assert value.endswith(b"\r\n")
    (item,) = parse_list(value[:-2])
    return item.value, dict(item.params)


def test_2_1_a_hit_says_hit_and_its_time_left() -> None:
    assert hit("edgewise", 545) == b"Cache-Status: edgewise; hit; ttl=545\r\n"
    assert parsed(hit("edgewise", -7)) == ("edgewise", {"hit": True, "ttl": -7})


@pytest.mark.parametrize("name", ["edgewise", "100% edge"])
def test_a_line_made_once_is_the_line_made_each_time(name: str) -> None:
    assert hit_template(name) % -5 == hit(name, -5)


def test_2_4_time_left_is_negative_for_a_stale_response() -> None:
    one = stored({"Cache-Control": "max-age=10", "ETag": '"a"'})
    assert [one.ttl(NOW + after) for after in (0, 9.5, 10, 10.5)] == [10, 0, 0, -1]
    assert stored({"Cache-Control": "no-cache", "ETag": '"a"'}).ttl(NOW + 5) == -5


def test_2_2_a_forwarded_request_says_why_and_what_became_of_it() -> None:
    line = forwarded("edgewise", Forwarded.STALE, status=304, stored=True, collapsed=True, ttl=60)
    expected = {"fwd": "stale", "fwd-status": 304, "stored": True, "collapsed": True, "ttl": 60}
    assert parsed(line) == ("edgewise", expected)
    assert isinstance(parsed(line)[1]["fwd"], Token)


@pytest.mark.parametrize("text", ['say "no"', "back\\slash", "line\r\nend", "\N{SNOWMAN}", "x" * 1000, "no-store", ""])
def test_2_8_details_and_keys_cannot_break_out_of_the_field(text: str) -> None:
    line = forwarded('my "cache"', Forwarded.URI_MISS, key=text, detail=text)
    value, params = parsed(line)
    assert value == 'my "cache"'
    assert params.keys() <= {"fwd", "key", "detail"}
    assert line.count(b"\r\n") == 1
