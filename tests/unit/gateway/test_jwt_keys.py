"""An issuer's keys: when they are asked for, how long they are used, and that floods of tokens ask nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from edgewise.contracts.policies import Fetched, FetchError, Fields
from edgewise.gateway.jwt_keys import Jwks, KeysUnavailable
from edgewise.protocols.jws import Head
from support.manual_clock import ManualClock
from support.manual_time import settle
from support.token_issuer import key_set, make_key

OLD, NEW = make_key("P-256", "old"), make_key("P-256", "new")
A, B, UNKNOWN = Head("ES256", "old", ""), Head("ES256", "new", ""), Head("ES256", "unknown", "")


class Source:
    """Answers in place of the issuer."""

    def __init__(self, content: bytes = b"", control: bytes = b"max-age=600") -> None:
        self.content = content or key_set(OLD)
        self.fields: Fields = ((b"cache-control", control),)
        self.status = 200
        self.fails = False
        self.asked = 0
        self.held: asyncio.Event | None = None

    async def __call__(self, method: str, url: str, **options: object) -> Fetched:
        self.asked += 1
        if self.held is not None:
            await self.held.wait()
        if self.fails:
            raise FetchError("no answer")
        return Fetched(self.status, self.fields, self.content)


Case = Callable[[Jwks, Source, ManualClock], Awaitable[None]]


def with_keys(case: Case, source: Source | None = None) -> None:
    source, clock = source or Source(), ManualClock()
    asyncio.run(case(Jwks("https://login.example/jwks", source, clock=clock), source, clock))  # type: ignore[arg-type]


def test_the_first_requests_wait_for_one_answer() -> None:
    async def case(keys: Jwks, source: Source, clock: ManualClock) -> None:
        assert keys.known(A) == ()
        found = await asyncio.gather(*(keys.find(A) for _ in range(100)))
        assert all(len(one) == 1 for one in found)
        assert source.asked == 1
        assert keys.known(A) == found[0]

    with_keys(case)


def test_unknown_keys_are_looked_for_once_in_a_while_however_many_ask() -> None:
    async def case(keys: Jwks, source: Source, clock: ManualClock) -> None:
        await keys.find(A)
        for _ in range(500):
            assert await keys.find(UNKNOWN) == ()
        assert source.asked == 1
        assert keys.settled()
        clock.now += 1
        assert not keys.settled()
        await asyncio.gather(*(keys.find(UNKNOWN) for _ in range(500)))
        assert source.asked == 2
        assert keys.settled()
        for _ in range(9):
            clock.now += 1
            assert await keys.find(UNKNOWN) == ()
        assert source.asked == 2
        clock.now += 1
        await asyncio.gather(*(keys.find(UNKNOWN) for _ in range(500)))
        assert source.asked == 3

    with_keys(case)


def test_while_the_issuer_is_asked_known_keys_are_there() -> None:
    async def case(keys: Jwks, source: Source, clock: ManualClock) -> None:
        await keys.find(A)
        clock.now += 10
        source.held = asyncio.Event()
        waiting = asyncio.create_task(keys.find(UNKNOWN))
        await settle()
        assert keys.known(A)
        source.held.set()
        assert await waiting == ()

    with_keys(case)


def test_a_new_key_is_found_by_the_first_token_that_names_it() -> None:
    async def case(keys: Jwks, source: Source, clock: ManualClock) -> None:
        await keys.find(A)
        version = keys.version
        clock.now += 10
        source.content = key_set(OLD, NEW)
        assert await keys.find(B)
        assert keys.known(A)
        assert keys.version == version

    with_keys(case)


def test_a_key_that_is_withdrawn_verifies_no_more_and_neither_does_what_was_remembered_of_it() -> None:
    async def case(keys: Jwks, source: Source, clock: ManualClock) -> None:
        await keys.find(A)
        version = keys.version
        source.content = key_set(NEW)
        await keys.refresh()
        assert keys.known(A) == ()
        assert keys.known(B)
        assert keys.version != version

    with_keys(case)


def test_another_key_under_the_same_id_takes_the_place_of_the_first() -> None:
    async def case(keys: Jwks, source: Source, clock: ManualClock) -> None:
        (before,) = await keys.find(A)
        version = keys.version
        source.content = key_set(make_key("P-256", "old"))
        await keys.refresh()
        assert keys.known(A) != (before,)
        assert keys.version != version

    with_keys(case)


@pytest.mark.parametrize(
    ("control", "age", "fresh"),
    [
        (b"max-age=600", None, 600),
        (b"public, max-age=600, must-revalidate", b"100", 500),
        (b"max-age=1", None, 60),
        (b"no-store, max-age=600", None, 60),
        (b"no-cache", None, 60),
        (b"max-age=999999", None, 3600),
        (b"max-age=600", b"1000", 60),
        (b"max-age=9e9", None, 600),
        (b"s-maxage=5", None, 600),
        (b"", None, 600),
    ],
)
def test_keys_are_fresh_as_long_as_cache_control_says_within_bounds(
    control: bytes, age: bytes | None, fresh: int
) -> None:
    async def case(keys: Jwks, source: Source, clock: ManualClock) -> None:
        if age is not None:
            source.fields = (*source.fields, (b"age", age))
        await keys.find(A)
        clock.now += fresh - 1
        keys.known(A)
        await settle()
        assert source.asked == 1
        clock.now += 1
        assert keys.known(A)
        await settle()
        assert source.asked == 2

    with_keys(case, Source(control=control))


def test_run_asks_ahead_of_time(monkeypatch: pytest.MonkeyPatch) -> None:
    async def case(keys: Jwks, source: Source, clock: ManualClock) -> None:
        slept: list[float] = []
        sleep = asyncio.sleep

        async def pass_time(seconds: float) -> None:
            slept.append(seconds)
            clock.now += seconds
            await sleep(0)

        monkeypatch.setattr("edgewise.gateway.jwt_keys.asyncio.sleep", pass_time)
        running = asyncio.create_task(keys.run())
        while source.asked < 4:
            await sleep(0)
        running.cancel()
        assert all(420 <= seconds <= 480 for seconds in slept[:2])

    with_keys(case)


def test_while_the_issuer_is_out_of_reach_its_keys_are_used_on_for_a_day() -> None:
    async def case(keys: Jwks, source: Source, clock: ManualClock) -> None:
        await keys.find(A)
        source.fails = True
        clock.now += 600 + 86000
        assert keys.known(A)
        await settle()
        assert source.asked == 2
        assert keys.known(A)
        version = keys.version
        clock.now += 401
        with pytest.raises(KeysUnavailable):
            await keys.find(A)
        assert keys.known(A) == ()
        assert keys.version != version

    with_keys(case)


def test_without_any_key_requests_are_told_when_to_come_again_and_the_issuer_is_asked_less_and_less() -> None:
    async def case(keys: Jwks, source: Source, clock: ManualClock) -> None:
        waits = []
        for _ in range(8):
            for _ in range(20):
                with pytest.raises(KeysUnavailable) as caught:
                    await keys.find(A)
            waits.append(caught.value.retry_after)
            clock.now += caught.value.retry_after
        assert waits == [1, 2, 4, 8, 16, 32, 60, 60]
        assert source.asked == 8
        source.fails = False
        assert await keys.find(A)

    source = Source()
    source.fails = True
    with_keys(case, source)


@pytest.mark.parametrize("content", [b"", b"<html>", b'{"keys":[]}', b'{"keys":[{"kty":"oct","k":"AAAA"}]}', b"{}"])
def test_an_answer_without_keys_is_no_answer(content: bytes) -> None:
    async def case(keys: Jwks, source: Source, clock: ManualClock) -> None:
        await keys.find(A)
        source.content = content
        await keys.refresh()
        assert keys.known(A)

    with_keys(case)


@pytest.mark.parametrize("status", [204, 301, 302, 404, 500, 503])
def test_other_statuses_are_no_answer(status: int) -> None:
    async def case(keys: Jwks, source: Source, clock: ManualClock) -> None:
        await keys.find(A)
        source.status, source.content = status, key_set(NEW)
        await keys.refresh()
        assert keys.known(A)
        assert not keys.known(B)

    with_keys(case)


def test_a_fault_of_ours_is_no_answer_and_keeps_nothing_from_being_asked_again() -> None:
    async def case(keys: Jwks, source: Source, clock: ManualClock) -> None:
        source.fields = ((b"cache-control", None),)  # type: ignore[assignment]
        with pytest.raises(KeysUnavailable):
            await keys.find(A)
        source.fields = ()
        clock.now += 1
        assert await keys.find(A)

    with_keys(case)


def test_a_waiting_request_that_is_given_up_does_not_end_the_question() -> None:
    async def case(keys: Jwks, source: Source, clock: ManualClock) -> None:
        source.held = asyncio.Event()
        first, second = asyncio.create_task(keys.find(A)), asyncio.create_task(keys.find(A))
        await settle()
        first.cancel()
        await settle()
        source.held.set()
        assert await second
        assert source.asked == 1

    with_keys(case)


def test_the_url_may_be_found_out_first() -> None:
    async def case() -> None:
        asked: list[str] = []

        async def locate() -> str:
            return "https://login.example/found"

        async def fetch(method: str, url: str, **options: object) -> Fetched:
            asked.append(url)
            return Fetched(200, (), key_set(OLD))

        assert await Jwks(locate, fetch).find(A)  # type: ignore[arg-type]
        assert asked == ["https://login.example/found"]

    asyncio.run(case())
