"""base64url in its one form, and JSON objects that say each thing once."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgewise.protocols.jose import base64url, decoded, json_object

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)


@given(st.binary(max_size=100))
def test_what_was_written_is_read(data: bytes) -> None:
    assert decoded(base64url(data)) == data


@given(st.text(alphabet="AQgwBC-_+/=\n .", max_size=9).map(str.encode))
def test_whatever_is_read_would_be_written_just_so(text: bytes) -> None:
    data = decoded(text)
    assert data is None or base64url(data) == text


@pytest.mark.parametrize(
    "text",
    [
        b"A",
        b"QQ==",
        b"QQ=",
        b"QR",
        b"QUJ",
        b"QU+",
        b"QU/",
        b"QUJD\n",
        b" QUJD",
        b"QU JD",
        b"QUJD=",
        b"Q\xffUJ",
        b"====",
    ],
)
def test_other_ways_to_write_it_are_refused(text: bytes) -> None:
    assert decoded(text) is None


@given(st.dictionaries(st.text(max_size=6), VALUES, max_size=4), st.booleans())
def test_objects_are_read_as_the_standard_library_does(value: dict[str, Any], compact: bool) -> None:
    data = json.dumps(value, separators=(",", ":") if compact else None, ensure_ascii=compact).encode()
    assert json_object(data) == value


@pytest.mark.parametrize(
    "data",
    [
        b'{"a":1,"a":1}',
        b'{"a":1,"a":2}',
        b'{"a" :1,"a":2}',
        b'{"a":1,"\\u0061":2}',
        b'{"x":{"a":1,"a":2}}',
        b'{"x":[{"a":1,"a":2}]}',
        b'{"a":{"b":1},"a":{}}',
    ],
)
def test_what_is_said_twice_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match="twice"):
        json_object(data)


@pytest.mark.parametrize(
    "data",
    [
        b"", b"[]", b"1", b"null", b'"a"', b"{", b"{}x", b"{} {}", b'{"a":NaN}', b'{"a":Infinity}', b'{"a":1e400}',
        b"\xef\xbb\xbf{}", b'{"a":"\xff"}', b'{"a":"\\ud800"}', b'{"a":01}', b"{'a':1}", b'{"a":1,}', b"\x00{}",
        b'{"a":' * 4000 + b"1" + b"}" * 4000, b'{"a":' + b"[" * 8000,
    ],
)  # fmt: skip
def test_what_is_no_json_object_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        json_object(data)
