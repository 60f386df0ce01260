"""Limits of what is under way at once, over the workers of a machine."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from edgewise.contracts.limits import LimitMemory
from edgewise.contracts.policies import Denial
from edgewise.gateway.concurrency import Concurrency


def exchange(ip: str = "192.0.2.1") -> Any:
    return SimpleNamespace(client=SimpleNamespace(peer_ip=ip), held=())


def limits(limit: int, workers: int = 2, **options: Any) -> list[Concurrency]:
    memory = LimitMemory(workers, rows=8, **options)
    by = ("client_ip",)
    return [Concurrency("api", limit, by, memory.of_worker(number), status=503, prefix=64) for number in range(workers)]


def end(request: Any) -> None:
    for release in request.held:
        release()


def test_as_many_as_the_limit_are_let_in_over_all_workers_until_one_ends() -> None:
    one, two = limits(2)
    first, second, third = exchange(), exchange(), exchange()
    assert one.check(first) is None
    assert two.check(second) is None
    refused = one.check(third)
    assert isinstance(refused, Denial)
    assert (refused.status, refused.policy, third.held) == (503, "concurrency", ())
    assert refused.fields == ((b"Retry-After", b"1"),)
    assert one.check(exchange("192.0.2.2")) is None
    end(second)
    assert one.check(third) is None


def test_what_other_policies_hold_is_held_still() -> None:
    ended = []
    request = exchange()
    request.held = (lambda: ended.append(1),)
    assert limits(1)[0].check(request) is None
    end(request)
    assert (len(request.held), ended) == (2, [1])


def test_more_keys_than_there_is_room_for_are_let_in_uncounted() -> None:
    (one,) = limits(1, workers=1, under_way=8)
    requests = [exchange(f"192.0.2.{number}") for number in range(9)]
    assert all(one.check(request) is None for request in requests)
    assert [len(request.held) for request in requests] == [1] * 8 + [0]
    for request in requests:
        end(request)
    assert len([one for one in requests if one.held]) == 8


@given(st.lists(st.tuples(st.integers(0, 1), st.integers(0, 2), st.booleans()), max_size=60), st.integers(1, 4))
def test_never_more_than_the_limit_are_under_way(steps: list[tuple[int, int, bool]], limit: int) -> None:
    workers = limits(limit)
    running: dict[int, list[Any]] = {0: [], 1: [], 2: []}
    for worker, key, ends in steps:
        if ends and running[key]:
            end(running[key].pop())
        else:
            request = exchange(f"192.0.2.{key}")
            passed = workers[worker].check(request) is None
            assert passed == (len(running[key]) < limit)
            running[key] += [request] if passed else []
