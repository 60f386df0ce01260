"""Memory that the control process and the workers share: made before the fork, a row a worker, summed by readers.

Every cell has one writer at a time (the worker that owns the row, or the control process), is aligned to 8 bytes and
stored in one instruction on the platforms CPython runs on, so no lock is needed. A replaced worker gets the row of the
one it replaces and adds to it: sums never go backwards.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from edgewise.contracts.endpoint import Move

if TYPE_CHECKING:
    from edgewise.contracts.endpoint import Endpoint, Upstream

UNHEALTHY = 1
"""Flag of an endpoint that failed its active checks."""
DRAINED = 2
"""Flag of an endpoint that must get no new requests."""


class SharedCounters:
    """`workers` rows of `size` unsigned 64-bit cells in anonymous shared memory. Make it before forking."""

    __slots__ = ("_cells", "_floats", "size", "workers")

    def __init__(self, workers: int, size: int) -> None:
        if workers < 1 or size < 1:
            raise ValueError(f"at least one worker and one cell, not {workers} and {size}")
        self.workers = workers
        self.size = size
        whole = memoryview(mmap.mmap(-1, workers * size * 8))
        self._cells = whole.cast("Q")
        self._floats = whole.cast("d")

    def row(self, worker: int) -> memoryview[int]:
        """Return the cells of `worker` (format Q); raises IndexError for a worker that does not exist."""
        return self._cells[self._start(worker) : self._start(worker) + self.size]

    def float_row(self, worker: int) -> memoryview[float]:
        """Return the same cells as `row`, as doubles (format d): a cell is to be used as one or the other."""
        return self._floats[self._start(worker) : self._start(worker) + self.size]

    def sum(self, index: int) -> int:
        """Return the sum of one cell over all workers."""
        return sum(self._cells[self._index(index) :: self.size].tolist())

    def float_sum(self, index: int) -> float:
        """Return the sum of one double over all workers."""
        return sum(self._floats[self._index(index) :: self.size].tolist())

    def sums(self, start: int, stop: int) -> list[int]:
        """Return the sums of the cells start to stop (exclusive) over all workers."""
        rows = [self.row(worker)[start:stop].tolist() for worker in range(self.workers)]
        return rows[0] if len(rows) == 1 else [sum(column) for column in zip(*rows, strict=True)]

    def zero(self, worker: int, start: int = 0, stop: int | None = None) -> None:
        """Set cells of one row to zero, all of them by default."""
        cells = self.row(worker)[start:stop].cast("B")
        cells[:] = bytes(len(cells))

    def zero_all(self, start: int, stop: int) -> None:
        """Set the cells start to stop (exclusive) of every row to zero, for a slot that gets a new meaning."""
        for worker in range(self.workers):
            self.zero(worker, start, stop)

    def _start(self, worker: int) -> int:
        if not 0 <= worker < self.workers:
            raise IndexError(f"worker {worker} of {self.workers}")
        return worker * self.size

    def _index(self, index: int) -> int:
        if not 0 <= index < self.size:
            raise IndexError(f"cell {index} of {self.size}")
        return index


class EndpointFlags:
    """A byte of flags an endpoint slot, written by the control process alone and read by workers on their tick."""

    __slots__ = ("_flags", "_generation", "capacity")

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        whole = memoryview(mmap.mmap(-1, 8 + capacity))
        self._generation = whole[:8].cast("Q")
        self._flags = whole[8 : 8 + capacity]

    @property
    def generation(self) -> int:
        """Grows with every change: a reader that saw this value already has nothing to do."""
        return self._generation[0]

    def get(self, slot: int) -> int:
        """Return the flags of a slot: UNHEALTHY | DRAINED."""
        return self._flags[slot]

    def set(self, slot: int, flag: int, on: bool) -> bool:
        """Set or clear one flag; return whether that changed anything. For the control process only."""
        before = self._flags[slot]
        after = before | flag if on else before & ~flag
        if after == before:
            return False
        self._flags[slot] = after
        self._generation[0] += 1
        return True

    def clear(self, slot: int) -> None:
        """Forget every flag of a slot that gets a new endpoint."""
        self._flags[slot] = 0
        self._generation[0] += 1

    def apply(self, upstream: Upstream) -> list[Endpoint]:
        """Copy the flags to an upstream's endpoints in a worker; return those that changed.

        Where any did, `upstream.changed()` has run.
        """
        moved = [endpoint for endpoint in upstream.endpoints if self._apply_one(endpoint)]
        if moved:
            upstream.changed()
        return moved

    def _apply_one(self, endpoint: Endpoint) -> bool:
        if endpoint.slot < 0:
            return False
        flags = self._flags[endpoint.slot]
        health, drained = not flags & UNHEALTHY, bool(flags & DRAINED)
        if (endpoint.health, endpoint.drained) == (health, drained):
            return False
        if health and not endpoint.health:
            endpoint.ejected_until = 0.0  # the checks say it is back: a passive ejection ends with the next tick
        endpoint.health, endpoint.drained = health, drained
        return True


class Suspicions:
    """A byte an endpoint slot that counts, modulo 256, how often other nodes told that the endpoint fails.

    Written by the control process alone, read by workers on their tick.
    """

    __slots__ = ("_counts", "_generation")

    def __init__(self, capacity: int) -> None:
        whole = memoryview(mmap.mmap(-1, 8 + capacity))
        self._generation = whole[:8].cast("Q")
        self._counts = whole[8 : 8 + capacity]

    @property
    def generation(self) -> int:
        """Grows with every suspicion."""
        return self._generation[0]

    def add(self, slot: int) -> None:
        """Note one more. For the control process only."""
        self._counts[slot] = (self._counts[slot] + 1) & 0xFF
        self._generation[0] += 1

    def counts(self) -> bytes:
        """Return the counts of all slots."""
        return bytes(self._counts)


class SuspicionReader:
    """What a worker has not seen yet of the suspicions; those from before it began are none of its business."""

    __slots__ = ("_counts", "_generation", "_suspicions")

    def __init__(self, suspicions: Suspicions) -> None:
        self._suspicions = suspicions
        self._generation = suspicions.generation
        self._counts = suspicions.counts()

    def slots(self) -> list[int]:
        """Return the slots suspected since the last call."""
        generation = self._suspicions.generation
        if generation == self._generation:
            return []
        before, self._counts = self._counts, self._suspicions.counts()
        self._generation = generation
        return [slot for slot, (old, new) in enumerate(zip(before, self._counts, strict=True)) if old != new]


class EndpointState(NamedTuple):
    """One server's figures over all workers."""

    active: int
    """Exchanges under way."""
    connections: int
    """Open connections, idle ones included."""
    waiting: int
    """Exchanges queued for a connection."""
    ejected: int
    """Number of workers that have ejected the server."""
    requests: int
    failures: int
    ejections: int
    moved_gone: int = 0
    """Requests that came here though another server is their session's, by `Move`."""
    moved_drained: int = 0
    moved_unhealthy: int = 0
    moved_ejected: int = 0
    moved_backup: int = 0
    moved_failed: int = 0
    moved_full: int = 0

    @property
    def moved(self) -> dict[str, int]:
        """Return how many came for which reason, those that did not happen left out."""
        counts = zip(Move, self[-len(Move) :], strict=True)
        return {reason.name.lower(): count for reason, count in counts if count}


class EndpointGauges:
    """Live figures of each endpoint in each worker, so that the control process can show a server's state."""

    GAUGES = 4
    """The first fields of EndpointState say how things are now and die with their worker; the others only grow."""

    __slots__ = ("_counters", "capacity", "workers")

    def __init__(self, workers: int, capacity: int) -> None:
        self.workers = workers
        self.capacity = capacity
        self._counters = SharedCounters(workers, capacity * len(EndpointState._fields))

    def cells(self, worker: int, slot: int) -> memoryview[int]:
        """Return the cells of an endpoint in a worker, in the order of EndpointState, for that worker to write."""
        start, stop = self._span(slot)
        return self._counters.row(worker)[start:stop]

    def read(self, slot: int) -> EndpointState:
        """Return a server's figures summed over the workers."""
        return EndpointState(*self._counters.sums(*self._span(slot)))

    def worker_gone(self, worker: int) -> None:
        """Forget what a dead worker had under way; what it counted stays."""
        for slot in range(self.capacity):
            start, _ = self._span(slot)
            self._counters.zero(worker, start, start + self.GAUGES)

    def clear(self, slot: int) -> None:
        """Forget every figure of a slot that gets a new endpoint."""
        self._counters.zero_all(*self._span(slot))

    def _span(self, slot: int) -> tuple[int, int]:
        if not 0 <= slot < self.capacity:
            raise IndexError(f"endpoint slot {slot} of {self.capacity}")
        width = len(EndpointState._fields)
        return slot * width, (slot + 1) * width


class SlotsExhaustedError(ValueError):
    """More keys than the shared memory has slots for; the text says how many there are."""


@dataclass(frozen=True, slots=True)
class SlotMap:
    """Which slot of shared memory belongs to which key (a route's name, `upstream/server`), stable across reloads.

    A value: `assign` returns the next generation. A key that left keeps its slot for one generation more, since
    exchanges that began before the reload still count there, and finds it again if it returns in time.
    """

    capacity: int
    slots: Mapping[str, int] = field(default_factory=dict)
    """Key to slot, keys that left but keep their slot included."""
    absent: Mapping[str, int] = field(default_factory=dict)
    """Key to the number of generations it has been gone."""
    fresh: tuple[int, ...] = ()
    """Slots that this generation gave to a new key: clear what is in them before workers learn of it."""

    def assign(self, keys: Iterable[str]) -> SlotMap:
        """Return the map for the next generation, with exactly these keys; raises SlotsExhaustedError."""
        wanted = dict.fromkeys(keys)
        absent = {key: self.absent.get(key, 0) + 1 for key in self.slots if key not in wanted}
        absent = {key: generations for key, generations in absent.items() if generations < 2}
        slots = {key: slot for key, slot in self.slots.items() if key in wanted or key in absent}
        new = [key for key in wanted if key not in slots]
        if len(slots) + len(new) > self.capacity:
            raise SlotsExhaustedError(
                f"no slot for {new[self.capacity - len(slots)]!r}: {len(wanted)} are configured and {len(absent)} "
                f"left at the last reload, but only {self.capacity} can be counted"
            )
        taken = set(slots.values())
        free = (slot for slot in range(self.capacity) if slot not in taken)
        fresh = dict(zip(new, free, strict=False))
        return SlotMap(self.capacity, slots | fresh, absent, tuple(fresh.values()))

    def __getitem__(self, key: str) -> int:
        return self.slots[key]

    @property
    def present(self) -> dict[str, int]:
        """Key to slot of this generation's keys, those that left not among them."""
        return {key: slot for key, slot in self.slots.items() if key not in self.absent}

    def as_dict(self) -> dict[str, object]:
        """Return plain values, fit for JSON; `from_dict` takes them back."""
        return {
            "capacity": self.capacity,
            "slots": dict(self.slots),
            "absent": dict(self.absent),
            "fresh": list(self.fresh),
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, object]) -> SlotMap:
        """Rebuild what `as_dict` returned; raises KeyError or TypeError for anything else."""
        capacity, slots, absent, fresh = (values[name] for name in ("capacity", "slots", "absent", "fresh"))
        if not (isinstance(capacity, int) and isinstance(slots, dict) and isinstance(absent, dict)):
            raise TypeError("not a slot map")
        if not isinstance(fresh, (list, tuple)):
            raise TypeError("not a slot map")
        return cls(capacity, dict(slots), dict(absent), tuple(fresh))
