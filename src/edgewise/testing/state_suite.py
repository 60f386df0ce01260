"""The conformance suite for state engines."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable

from edgewise.contracts.fencing import get_fenced, set_fenced
from edgewise.contracts.state import (
    BLOB_BYTES,
    KEY_BYTES,
    TOPIC_MESSAGES,
    VALUE_BYTES,
    Message,
    ReplayGap,
    StateEngine,
)

MakeEngine = Callable[[], Awaitable[StateEngine]]
Pass = Callable[[float], Awaitable[None]]

_PATIENCE = 30.0
"""Seconds within which what the suite waits for must happen."""


async def check_state_engine(make: MakeEngine, sleep: Pass = asyncio.sleep) -> None:
    """Raise AssertionError where an engine breaks the contract of `StateEngine`.

    `make` returns another client of the same engine at each call; the suite closes them. `sleep` lets the engine's time
    pass (asyncio.sleep, or a virtual clock's). What other keys the engine holds does not matter.
    """
    for check in CHECKS:
        await run_check(check, make, sleep)


async def run_check(check: Check, make: MakeEngine, sleep: Pass = asyncio.sleep) -> None:
    """Run one of CHECKS with two clients of the engine."""
    engine, other = await make(), await make()
    try:
        await check(engine, other, sleep)
    finally:
        await engine.close()
        await other.close()


Check = Callable[[StateEngine, StateEngine, Pass], Awaitable[None]]


def _fresh(kind: str = "check") -> str:
    return f"{kind}/{uuid.uuid4().hex}"


def _fresh_topic() -> str:
    return f"t-{uuid.uuid4().hex}"


async def a_value_is_read_as_written_by_every_client(engine: StateEngine, other: StateEngine, _: Pass) -> None:
    """Read your writes, and everyone's acknowledged ones."""
    for value in (b"", b"\x00\xff" * 8, b"v" * VALUE_BYTES):
        key = _fresh()
        assert await engine.get(key) is None, "a key never written was found"
        revision = await engine.set(key, value)
        for client in (engine, other):
            entry = await client.get(key)
            assert entry is not None, "an acknowledged write was not read"
            assert entry == (key, value, revision, None), "an entry was not read as it was written"
    for number in range(50):
        await engine.set(key, b"%d" % number)
        entry = await other.get(key)
        assert entry is not None
        assert entry.value == b"%d" % number, "an acknowledged write was not read by another client"


async def keys_may_be_any_visible_ascii(engine: StateEngine, other: StateEngine, _: Pass) -> None:
    """No character of a key means anything to the engine."""
    prefix = _fresh()
    odd = ["/", "//", ".", "..", "/.", "a.b", "*", ">", "a>", "$x", "=41", "%41", "{a}", "~", "!", "'\"\\`", "[a-z]?"]
    keys = [prefix + each for each in odd] + [(prefix + "k" * KEY_BYTES)[:KEY_BYTES]]
    for key in keys:
        await engine.set(key, key.encode())
    for key in keys:
        entry = await other.get(key)
        assert entry is not None, f"{key!r} was written but not found"
        assert entry.value == key.encode(), f"{key!r} holds the value of another key"
    assert [entry.key for entry in await engine.entries(prefix)] == sorted(keys), "keys are not listed in their order"


async def what_is_out_of_bounds_is_refused(engine: StateEngine, _other: StateEngine, _: Pass) -> None:
    """ValueError, and nothing is written."""
    wrong: list[Awaitable[object]] = [
        *(engine.set(key, b"") for key in ("", "a b", "é", "a\n", "k" * (KEY_BYTES + 1))),
        *(engine.set("a", b"", ttl) for ttl in (0, -1.0, 1e12, float("nan"))),
        engine.set("a", b"v" * (VALUE_BYTES + 1)),
        engine.put_blob("a", b"v" * (BLOB_BYTES + 1)),
        engine.add("a", 1, window=0.0),
        engine.add("a", 2**40),
        engine.publish("No Topic", b""),
        engine.entries("", limit=0),
        engine.entries("", limit=100_000),
        engine.acquire("a", "me", 0.5),
    ]
    for number, call in enumerate(wrong):
        try:
            await call
        except ValueError:
            continue
        raise AssertionError(f"call {number} of what is out of bounds was not refused")


async def compare_and_set_writes_only_over_what_was_read(engine: StateEngine, other: StateEngine, _: Pass) -> None:
    """Revisions are compared and the write done in one step."""
    key = _fresh()
    assert await engine.compare_and_set(key, b"0", 12345) is None, "a missing key was written over"
    first = await engine.compare_and_set(key, b"1", 0)
    assert first is not None, "a new key was refused"
    assert await other.compare_and_set(key, b"2", 0) is None, "an existing key was taken for a new one"
    second = await other.compare_and_set(key, b"2", first)
    assert second is not None, "a write with the right revision was refused"
    assert second > first, "revisions must grow"
    assert await engine.compare_and_set(key, b"3", first) is None, "a write with an old revision was let through"
    assert await engine.delete(key, first) is False, "a delete with an old revision was let through"
    assert await engine.delete(key, second) is True, "a delete with the right revision was refused"
    assert await engine.delete(key) is False, "a missing key was deleted"
    assert await engine.get(key) is None, "a deleted key was found"
    assert await engine.compare_and_set(key, b"4", second) is None, "a deleted key was written over"
    third = await engine.compare_and_set(key, b"4", 0)
    assert third is not None, "a deleted key was refused as a new one"
    assert third > second, "a key made anew has a revision that was used before"


async def concurrent_updates_lose_no_write(engine: StateEngine, other: StateEngine, _: Pass) -> None:
    """Sixteen tasks of two clients count one key up."""
    key = _fresh()
    await engine.set(key, b"0")

    async def count_up(client: StateEngine) -> None:
        for _round in range(5):
            while True:
                entry = await client.get(key)
                assert entry is not None
                if await client.compare_and_set(key, b"%d" % (int(entry.value) + 1), entry.revision) is not None:
                    break

    await asyncio.gather(*(count_up(client) for client in (engine, other) * 8))
    entry = await engine.get(key)
    assert entry is not None
    assert entry.value == b"80", f"80 updates left {entry.value!r}"


async def entries_are_gone_after_their_time(engine: StateEngine, other: StateEngine, sleep: Pass) -> None:
    """Expiry, by `get` and in lists, and a new beginning after it."""
    short, long, touched = (_fresh() for _ in range(3))
    revision = await engine.set(short, b"s", 1.0)
    await engine.set(long, b"l", 60.0)
    await engine.set(touched, b"t", 1.0)
    assert await other.touch(touched, 60.0) is True, "touch found no entry"
    entry = await engine.get(long)
    assert entry is not None
    assert entry.ttl is not None, "an entry lost its time to live"
    assert 50 < entry.ttl <= 61, "an entry has another time to live than it was given"
    assert await engine.get(short) is not None, "an entry was gone before its time"
    await sleep(2.1)
    assert await engine.get(short) is None, "an entry was there after its time"
    assert await engine.entries(short) == [], "an entry was listed after its time"
    assert await engine.touch(short, 60.0) is False, "an entry was touched after its time"
    assert await engine.delete(short) is False, "an entry was deleted after its time"
    assert await engine.get(touched) is not None, "a touched entry was gone at its old time"
    assert await engine.compare_and_set(short, b"n", revision) is None, "an expired entry was written over"
    assert await engine.compare_and_set(short, b"n", 0) is not None, "an expired key was refused as a new one"
    await engine.set(touched, b"forever")
    entry = await engine.get(touched)
    assert entry is not None
    assert entry.ttl is None, "a write without a time to live kept the old one"


async def lists_are_bounded_and_continue(engine: StateEngine, other: StateEngine, _: Pass) -> None:
    """Pages by prefix, in the order of keys."""
    prefix = _fresh()
    await asyncio.gather(*(engine.set(f"{prefix}/{number:03d}", b"%d" % number) for number in range(25)))
    await engine.set(prefix + "0", b"beside")
    await engine.set(prefix, b"itself")
    keys: list[str] = []
    while page := await other.entries(prefix + "/", keys[-1] if keys else "", 10):
        assert len(page) <= 10, "a page is longer than asked for"
        keys += [entry.key for entry in page]
    assert keys == [f"{prefix}/{number:03d}" for number in range(25)], "pages do not make up the list"
    assert len(await other.entries(prefix)) == 27, "a prefix matches more than whole segments"


async def counters_add_up(engine: StateEngine, other: StateEngine, _: Pass) -> None:
    """Additions of concurrent clients, none lost."""
    name = _fresh()
    assert await engine.count(name) == 0
    counts = await asyncio.gather(*(client.add(name) for client in (engine, other) * 50))
    assert sorted(count.value for count in counts) == list(range(1, 101)), "two additions saw the same value"
    assert all(count.resets_in is None for count in counts)
    assert (await engine.add(name, -30)).value == 70
    assert await other.count(name) == 70


async def windows_begin_at_zero(engine: StateEngine, other: StateEngine, sleep: Pass) -> None:
    """A counter in windows of two seconds."""
    name = _fresh()
    first = await engine.add(name, 5, window=2.0)
    assert first.value == 5
    assert first.resets_in is not None
    assert 0 < first.resets_in <= 2.1, "a window ends later than it is long"
    await sleep(first.resets_in + 0.05)
    assert await engine.count(name, window=2.0) == 0, "a window was not over when it should have been"
    assert (await other.add(name, 1, window=2.0)).value == 1, "a window did not begin at zero"


async def topics_are_replayed_and_followed(engine: StateEngine, other: StateEngine, _: Pass) -> None:
    """From the beginning, from a cursor, and live, each once and in order."""
    topic = _fresh_topic()
    assert await engine.last(topic) == 0
    assert await engine.messages(topic, 0) == []
    for number in range(5):
        assert await engine.publish(topic, b"%d" % number) == number + 1, "cursors must count up from 1"
    assert [m.payload for m in await other.messages(topic, 2)] == [b"2", b"3", b"4"]
    assert [m.payload for m in await other.messages(topic, 1, 2)] == [b"1", b"2"]
    assert await other.messages(topic, 5) == []
    assert await other.last(topic) == 5
    follower = other.subscribe(topic, 3)
    taken = await take(follower, 2)
    waiting = asyncio.ensure_future(take(follower, 20))
    for number in range(5, 25):
        await engine.publish(topic, b"%d" % number)
    taken += await waiting
    assert taken == [Message(number + 1, b"%d" % number) for number in range(3, 25)], "messages are missing or twice"
    await stop(follower)


async def publishers_are_ordered_alike_for_all(engine: StateEngine, other: StateEngine, _: Pass) -> None:
    """Two publishers, two subscribers: the same order, without holes."""
    topic = _fresh_topic()
    followers = [client.subscribe(topic, 0) for client in (engine, other)]
    waiting = [asyncio.ensure_future(take(follower, 100)) for follower in followers]
    await asyncio.gather(*(client.publish(topic, b"%d" % number) for number in range(50) for client in (engine, other)))
    seen = [await task for task in waiting]
    assert seen[0] == seen[1], "subscribers saw different orders"
    assert [message.cursor for message in seen[0]] == list(range(1, 101)), "cursors have holes"
    for follower in followers:
        await stop(follower)


async def a_cursor_that_is_not_kept_is_a_gap(engine: StateEngine, other: StateEngine, _: Pass) -> None:
    """Never silence where something was missed: not after too much, nor with a cursor of another history."""
    topic = _fresh_topic()
    await _gap(engine, topic, 7)
    await engine.publish(topic, b"")
    await _gap(other, topic, 7)
    for _batch in range(TOPIC_MESSAGES // 500):
        await asyncio.gather(*(engine.publish(topic, b"") for _ in range(500)))
    await _gap(other, topic, 0)
    assert len(await other.messages(topic, 1, 10)) == 10, "fewer messages are kept than promised"


async def _gap(engine: StateEngine, topic: str, after: int) -> None:
    try:
        await engine.messages(topic, after)
    except ReplayGap:
        pass
    else:
        raise AssertionError(f"reading after {after} did not raise ReplayGap")
    follower = engine.subscribe(topic, after)
    try:
        await take(follower, 1)
    except ReplayGap:
        return
    raise AssertionError(f"a subscription after {after} did not raise ReplayGap")


async def a_lease_has_one_holder(engine: StateEngine, other: StateEngine, sleep: Pass) -> None:
    """Tokens grow, renewing keeps them, and what is lost stays lost."""
    name = _fresh("lease")
    first = await engine.acquire(name, "a", 2.0)
    assert first is not None, "a free lease was refused"
    assert await other.acquire(name, "b", 2.0) is None, "a lease was given twice"
    assert await engine.acquire(name, "a", 2.0) is None, "a lease was given twice to one owner"
    await sleep(1.0)
    renewed = await engine.renew(first, 3.0)
    assert renewed is not None, "a held lease could not be renewed"
    assert renewed.token == first.token, "renewing changed the token"
    assert renewed.deadline > first.deadline, "renewing did not move the deadline"
    await sleep(1.5)
    assert await other.acquire(name, "b", 2.0) is None, "a renewed lease ended at its old time"
    await engine.release(renewed)
    second = await other.acquire(name, "b", 1.0)
    assert second is not None, "a lease that was given back is still held"
    assert second.token > first.token, "fencing tokens must grow"
    await engine.release(renewed)
    assert await engine.acquire(name, "a", 1.0) is None, "a lease was given back by someone who had lost it"
    assert await engine.renew(renewed, 2.0) is None, "a lease was renewed by someone who had lost it"
    await sleep(2.2)
    assert await other.renew(second, 2.0) is None, "a lease was renewed after its end"
    third = await engine.acquire(name, "a", 1.0)
    assert third is not None, "a lease is still held after its end"
    assert third.token > second.token, "fencing tokens must grow"


async def a_paused_holder_is_fenced_off(engine: StateEngine, other: StateEngine, sleep: Pass) -> None:
    """What it writes after its successor is refused, though it believes in its lease."""
    name, key = _fresh("lease"), _fresh()
    paused = await engine.acquire(name, "a", 1.0)
    assert paused is not None
    assert await set_fenced(engine, key, b"a", paused)
    await sleep(2.1)
    successor = await other.acquire(name, "b", 5.0)
    assert successor is not None, "a lease outlived its holder's pause"
    assert await set_fenced(engine, key, b"a, nobody else wrote yet", paused)
    assert await set_fenced(other, key, b"b", successor)
    assert not await set_fenced(engine, key, b"a again", paused), "a former holder wrote over its successor"
    assert await get_fenced(engine, key) == (b"b", successor.token)


async def one_of_many_gets_the_lease(engine: StateEngine, other: StateEngine, _: Pass) -> None:
    """Concurrent claims."""
    name = _fresh("lease")
    won = await asyncio.gather(*(client.acquire(name, "me", 5.0) for client in (engine, other) * 10))
    assert len([lease for lease in won if lease is not None]) == 1, "several hold one lease"


async def blobs_are_kept(engine: StateEngine, other: StateEngine, sleep: Pass) -> None:
    """Large values beside the keys."""
    key = _fresh("blob")
    assert await engine.get_blob(key) is None
    data = bytes(range(256)) * (BLOB_BYTES // 256)
    await engine.put_blob(key, data)
    assert await other.get_blob(key) == data
    assert await other.get(key) is None, "a blob was found among the keys"
    await engine.put_blob(key, b"short", 1.0)
    assert await other.get_blob(key) == b"short"
    await sleep(2.1)
    assert await other.get_blob(key) is None, "a blob was there after its time"
    await engine.put_blob(key, b"")
    assert await other.get_blob(key) == b""
    assert await engine.delete_blob(key) is True
    assert await engine.delete_blob(key) is False
    assert await other.get_blob(key) is None


async def take(messages: AsyncIterator[Message], count: int) -> list[Message]:
    """Return the next messages of a subscription; AssertionError where they do not come."""
    taken = []
    for _ in range(count):
        try:
            taken.append(await asyncio.wait_for(anext(messages), _PATIENCE))
        except TimeoutError:
            raise AssertionError(f"of {count} messages only {len(taken)} came") from None
    return taken


async def stop(messages: AsyncIterator[Message]) -> None:
    """End a subscription."""
    close = getattr(messages, "aclose", None)
    if close is not None:
        await close()


CHECKS: tuple[Check, ...] = (
    a_value_is_read_as_written_by_every_client,
    keys_may_be_any_visible_ascii,
    what_is_out_of_bounds_is_refused,
    compare_and_set_writes_only_over_what_was_read,
    concurrent_updates_lose_no_write,
    entries_are_gone_after_their_time,
    lists_are_bounded_and_continue,
    counters_add_up,
    windows_begin_at_zero,
    topics_are_replayed_and_followed,
    publishers_are_ordered_alike_for_all,
    a_cursor_that_is_not_kept_is_a_gap,
    a_lease_has_one_holder,
    a_paused_holder_is_fenced_off,
    one_of_many_gets_the_lease,
    blobs_are_kept,
)
