"""API keys in heads: where they are read, what becomes of a target without them, and whose they are."""

from __future__ import annotations

import asyncio
import hashlib
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote_from_bytes, unquote_to_bytes

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgewise.contracts.identity import Identity
from edgewise.contracts.policies import Denial
from edgewise.gateway.api_keys import (
    ApiKeyAuthenticator,
    authorization_reader,
    cookie_reader,
    header_reader,
    query_reader,
    without_parameter,
)
from edgewise.gateway.consumers import Consumer, Consumers
from edgewise.protocols.http1 import parse_request_head

KEY = b"a-key-of-mobile-1234"
OTHER = b"another-of-web-56789"


def head(target: bytes = b"/", *fields: bytes) -> Any:
    lines = b"".join(field + b"\r\n" for field in fields)
    return parse_request_head(b"GET %b HTTP/1.1\r\nHost: a\r\n%b\r\n" % (target, lines))


def exchange(target: bytes = b"/", *fields: bytes) -> Any:
    return SimpleNamespace(plan=SimpleNamespace(request=head(target, *fields)))


def consumer(name: str, *keys: bytes, **more: Any) -> Consumer:
    return Consumer(name, digests=[hashlib.sha256(key).digest() for key in keys], **more)


CONSUMERS = Consumers([consumer("mobile", KEY, groups=["apps"], scopes=["read"]), consumer("web", OTHER)])
READERS = (
    header_reader(b"x-api-key"), authorization_reader(b"ApiKey"), query_reader(b"api_key"), cookie_reader(b"key"),
)  # fmt: skip
WAY = ApiKeyAuthenticator(CONSUMERS, READERS, b'ApiKey realm="edgewise"')


@pytest.mark.parametrize(
    ("target", "field"),
    [
        (b"/", b"X-API-Key: " + KEY),
        (b"/", b"Authorization: ApiKey " + KEY),
        (b"/", b"Authorization: apikey  " + KEY),
        (b"/?a=1&api_key=" + KEY + b"&b", b"A: b"),
        (b"/?a=1&%61pi_key=%61" + KEY[1:], b"A: b"),
        (b"/", b"Cookie: a=b; key=" + KEY + b"; c=d"),
    ],
)
def test_a_key_is_read_wherever_it_may_be(target: bytes, field: bytes) -> None:
    found = WAY.authenticate(exchange(target, field))
    assert isinstance(found, Identity)
    assert (found.name, found.method, found.consumer) == ("mobile", "api_keys", "mobile")
    assert (found.groups, found.scopes) == ({"apps"}, {"read"})
    assert WAY.authenticate(exchange(target, field)) is found


@pytest.mark.parametrize(
    ("target", "fields"),
    [
        (b"/", ()),
        (b"/?other=1", (b"Cookie: a=b", b"Authorization: Bearer " + KEY)),
        (b"/?api_key2=" + KEY, (b"Cookie: keys=" + KEY,)),
        (b"/", (b"Authorization: Basic dTpw",)),
    ],
)
def test_what_is_no_key_of_this_kind_is_left_to_other_ways(target: bytes, fields: tuple[bytes, ...]) -> None:
    assert WAY.authenticate(exchange(target, *fields)) is None


@pytest.mark.parametrize(
    ("target", "fields"),
    [
        (b"/", (b"X-API-Key: nobodys-key-1234567",)),
        (b"/", (b"X-API-Key: ",)),
        (b"/", (b"X-API-Key: " + KEY[:-1],)),
        (b"/", (b"X-API-Key: " + KEY + b"x",)),
        (b"/", (b"X-API-Key: " + KEY.upper(),)),
        (b"/", (b"Authorization: ApiKey",)),
        (b"/?api_key", ()),
        (b"/", (b"X-API-Key: " + hashlib.sha256(KEY).hexdigest().encode(),)),
    ],
)
def test_what_is_nobodys_key_is_refused(target: bytes, fields: tuple[bytes, ...]) -> None:
    found = WAY.authenticate(exchange(target, *fields))
    assert isinstance(found, Denial)
    assert (found.status, found.reason) == (401, "unknown API key")


@pytest.mark.parametrize(
    ("target", "fields"),
    [
        (b"/", (b"X-API-Key: " + KEY, b"X-API-Key: " + OTHER)),
        (b"/", (b"X-API-Key: " + KEY, b"Cookie: a=b", b"X-API-Key: " + KEY)),
        (b"/?api_key=" + KEY + b"&api_key=" + OTHER, ()),
        (b"/", (b"Cookie: key=" + KEY + b"; key=" + OTHER,)),
    ],
)
def test_several_keys_in_one_place_are_refused(target: bytes, fields: tuple[bytes, ...]) -> None:
    found = WAY.authenticate(exchange(target, *fields))
    assert isinstance(found, Denial)
    assert found.detail == "The request has more than one API key."


def test_the_first_place_that_has_a_key_counts() -> None:
    found = WAY.authenticate(exchange(b"/?api_key=" + OTHER, b"X-API-Key: " + KEY))
    assert isinstance(found, Identity)
    assert found.name == "mobile"


def test_a_name_of_the_configuration_counts_before_one_added_at_run_time() -> None:
    twin = consumer("mobile", b"added-at-run-time-12")
    stored: Any = SimpleNamespace(
        version=1,
        named={"mobile": twin, "new": consumer("new", b"of-new-0123456789")},
        by_digest={},
        loaded=asyncio.Event(),
    )
    for one in stored.named.values():
        stored.by_digest.update(dict.fromkeys(one.digests, one))
    both = Consumers([consumer("mobile", KEY)], stored)
    assert both.by_key(b"added-at-run-time-12") is None
    assert both.by_key(KEY) is both.named("mobile")
    assert both.by_key(b"of-new-0123456789") is both.named("new")


def test_a_key_that_was_remembered_is_forgotten_when_consumers_change() -> None:
    new = consumer("new", b"of-new-0123456789")
    stored: Any = SimpleNamespace(
        version=1, named={"new": new}, by_digest=dict.fromkeys(new.digests, new), loaded=asyncio.Event()
    )
    known = Consumers([], stored)
    assert known.by_key(b"of-new-0123456789") is new
    stored.by_digest.clear()
    stored.version = 2
    assert known.by_key(b"of-new-0123456789") is None


NAMES = st.sampled_from([b"key", b"%6bey", b"k%65y", b"keys", b"KEY", b"ke", b"", b"a"])
VALUES = st.binary(max_size=6).map(lambda value: quote_from_bytes(value).encode())


@given(st.lists(st.tuples(NAMES, st.sampled_from([b"", b"="]), VALUES), max_size=6))
def test_a_hidden_parameter_is_gone_and_all_others_stay_as_they_were(parts: list[tuple[bytes, bytes, bytes]]) -> None:
    pieces = [name + equals + (value if equals else b"") for name, equals, value in parts]
    target = b"/a?" + b"&".join(pieces)
    left = without_parameter(target, b"key")
    kept = [piece for piece in pieces if unquote_to_bytes(piece.partition(b"=")[0]) != b"key"]
    assert left == (b"/a?" + b"&".join(kept) if kept else b"/a" if pieces else target)
    assert query_reader(b"key")(head(left)) == []


def test_a_target_without_a_query_stays() -> None:
    assert without_parameter(b"/key=1", b"key") == b"/key=1"
