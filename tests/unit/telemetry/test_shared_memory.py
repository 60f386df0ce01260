from __future__ import annotations

import json
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgewise.contracts.endpoint import Endpoint, Upstream
from edgewise.contracts.shared import (
    DRAINED,
    UNHEALTHY,
    EndpointFlags,
    EndpointGauges,
    EndpointState,
    SharedCounters,
    SlotMap,
    SlotsExhaustedError,
    SuspicionReader,
    Suspicions,
)


class RecordingPolicy:
    def __init__(self) -> None:
        self.updates: list[list[str]] = []

    def update(self, endpoints: tuple[Endpoint, ...]) -> None:
        self.updates.append([endpoint.name for endpoint in endpoints])

    def pick(self, exchange: object) -> Endpoint | None:
        return None


def in_child(work: object) -> None:
    """Run `work()` in a forked process and wait for it."""
    pid = os.fork()
    if pid == 0:
        try:
            work()  # type: ignore[operator]
        except BaseException:
            os._exit(1)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def test_a_sum_covers_the_rows_of_all_workers() -> None:
    counters = SharedCounters(3, 4)
    for worker in range(3):
        counters.row(worker)[2] = worker + 1
    assert counters.sum(2) == 6
    assert counters.sums(1, 4) == [0, 6, 0]


def test_a_parent_sees_what_its_child_counted() -> None:
    counters = SharedCounters(2, 2)

    def count() -> None:
        counters.row(1)[0] += 5
        counters.float_row(1)[1] += 0.25

    in_child(count)
    assert counters.sum(0) == 5
    assert counters.float_sum(1) == 0.25


def test_zeroing_a_part_of_one_row_leaves_all_else() -> None:
    counters = SharedCounters(2, 4)
    for worker in range(2):
        counters.row(worker)[:] = memoryview(bytes([1] + [0] * 7) * 4).cast("Q")
    counters.zero(0, 1, 3)
    assert counters.row(0).tolist() == [1, 0, 0, 1]
    assert counters.row(1).tolist() == [1, 1, 1, 1]
    counters.zero_all(0, 1)
    assert counters.sums(0, 4) == [0, 1, 1, 2]


@pytest.mark.parametrize("worker", [-1, 2])
def test_a_row_of_no_worker_is_an_error(worker: int) -> None:
    with pytest.raises(IndexError):
        SharedCounters(2, 4).row(worker)


@pytest.mark.parametrize("index", [-1, 4])
def test_a_sum_of_no_cell_is_an_error(index: int) -> None:
    with pytest.raises(IndexError):
        SharedCounters(2, 4).sum(index)


def test_counters_need_a_worker_and_a_cell() -> None:
    with pytest.raises(ValueError, match="at least one"):
        SharedCounters(0, 4)


def test_only_a_change_of_flags_raises_the_generation() -> None:
    flags = EndpointFlags(4)
    assert flags.set(1, UNHEALTHY, True)
    assert not flags.set(1, UNHEALTHY, True)
    assert flags.set(1, DRAINED, True)
    assert flags.generation == 2
    assert flags.get(1) == UNHEALTHY | DRAINED
    assert flags.get(0) == 0


def test_flags_reach_the_endpoints_and_the_policy_hears_once() -> None:
    endpoints = [Endpoint(f"shop/{name}", ("127.0.0.1", 1)) for name in ("a", "b", "c")]
    for slot, endpoint in enumerate(endpoints):
        endpoint.slot = slot
    policy = RecordingPolicy()
    upstream = Upstream("shop", endpoints, policy)
    flags = EndpointFlags(4)
    flags.set(0, UNHEALTHY, True)
    flags.set(1, DRAINED, True)
    assert flags.apply(upstream) == endpoints[:2]
    assert (endpoints[0].health, endpoints[1].drained) == (False, True)
    assert flags.apply(upstream) == []
    flags.clear(0)
    assert flags.apply(upstream) == endpoints[:1]
    assert policy.updates == [["a", "b", "c"], ["c"], ["a", "c"]]


def test_an_endpoint_that_is_not_shared_keeps_its_own_state() -> None:
    endpoint = Endpoint("shop/a", ("127.0.0.1", 1))
    endpoint.health = False
    assert EndpointFlags(1).apply(Upstream("shop", [endpoint], RecordingPolicy())) == []
    assert endpoint.health is False


def test_a_dead_worker_leaves_its_counts_and_takes_its_gauges() -> None:
    gauges = EndpointGauges(2, 3)
    for worker in range(2):
        for field in range(len(EndpointState._fields)):
            gauges.cells(worker, 1)[field] = field + 1
    gauges.worker_gone(0)
    assert gauges.read(1) == EndpointState(1, 2, 3, 4, *range(10, 30, 2))
    gauges.clear(1)
    assert gauges.read(1) == EndpointState(0, 0, 0, 0, 0, 0, 0)


def test_a_slot_outside_the_gauges_is_an_error() -> None:
    with pytest.raises(IndexError):
        EndpointGauges(1, 2).read(2)


def test_a_key_that_left_keeps_its_slot_for_one_generation() -> None:
    first = SlotMap(2).assign(["a", "b"])
    second = first.assign(["b"])
    assert second.present == {"b": first["b"]}
    assert second.assign(["a", "b"])["a"] == first["a"]
    with pytest.raises(SlotsExhaustedError):
        second.assign(["b", "c", "d"])


def test_the_slot_of_a_key_gone_for_two_generations_is_given_away_as_fresh() -> None:
    first = SlotMap(2).assign(["a", "b"])
    third = first.assign(["b"]).assign(["b", "c"])
    assert third["c"] == first["a"]
    assert third.fresh == (first["a"],)


def test_a_full_map_says_what_did_not_fit() -> None:
    with pytest.raises(SlotsExhaustedError, match=r"'c'.*3 are configured.*only 2"):
        SlotMap(2).assign(["a", "b", "c"])


def test_a_map_survives_json() -> None:
    slots = SlotMap(4).assign(["a", "b"]).assign(["b", "c"])
    assert SlotMap.from_dict(json.loads(json.dumps(slots.as_dict()))) == slots


@pytest.mark.parametrize("field", ["capacity", "slots", "absent", "fresh"])
def test_anything_else_is_not_taken_for_a_map(field: str) -> None:
    values = SlotMap(4).assign(["a"]).as_dict()
    with pytest.raises(TypeError):
        SlotMap.from_dict(values | {field: "x"})


@given(st.lists(st.sets(st.sampled_from("abcdefgh"), max_size=4), max_size=12))
def test_slots_are_unique_within_capacity_and_stable_while_a_key_stays(generations: list[set[str]]) -> None:
    slots = SlotMap(8)
    for keys in generations:
        before = slots
        slots = slots.assign(sorted(keys))
        assert set(slots.present) == keys
        assert len(set(slots.slots.values())) == len(slots.slots)
        assert all(0 <= slot < 8 for slot in slots.slots.values())
        assert all(slots[key] == before[key] for key in keys if key in before.slots)
        assert set(slots.fresh) == {slots[key] for key in keys if key not in before.slots}


def test_a_worker_sees_each_suspicion_once_and_none_from_before_it_began() -> None:
    suspicions = Suspicions(4)
    suspicions.add(1)
    first = SuspicionReader(suspicions)
    assert first.slots() == []
    suspicions.add(1)
    suspicions.add(3)
    assert first.slots() == [1, 3]
    assert first.slots() == []
    for _ in range(300):
        suspicions.add(2)
        assert first.slots() == [2]
