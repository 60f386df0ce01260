"""What outlives the control process: purges to be told, how far others' were heard, the bound where they are not."""

from __future__ import annotations

from edgewise.server import messages as m
from edgewise.server.purge_ledger import MOST_WAITING, PurgeLedger
from edgewise.server.shared_purges import Told, opened, pieces
from edgewise.server.timers import Timers

A, B = m.PurgeSpec("tag", "a"), m.PurgeSpec("tag", "b", soft=True)


class Clocked:
    """A ledger with a bound of ten seconds, on a clock that is set."""

    def __init__(self) -> None:
        self.now = 100.0
        self.validated: list[float] = []
        self.timers = Timers(lambda: self.now)
        self.ledger = PurgeLedger(self.timers, lambda: 10.0, lambda: self.validated.append(self.now))

    def until(self, end: float) -> None:
        while self.now < end:
            self.now += 0.5
            self.timers.run_due()


def test_what_is_not_published_is_kept_in_order() -> None:
    ledger = Clocked().ledger
    first, second = ledger.add([A], 0), ledger.add([B], 7)
    assert list(ledger.waiting.values()) == [first, second]
    ledger.published([first.number, 99])
    assert list(ledger.waiting.values()) == [second]
    assert (second.purges, second.request) == ([B], 7)


def test_more_than_is_kept_becomes_a_purge_of_everything() -> None:
    ledger = Clocked().ledger
    for _ in range(MOST_WAITING):
        ledger.add([A], 0)
    assert len(ledger.waiting) == MOST_WAITING
    ledger.add([B], 0)
    assert [told.purges for told in ledger.waiting.values()] == [[m.PurgeSpec("all")]]


def test_without_word_what_is_stored_is_validated_once_in_each_time() -> None:
    clocked = Clocked()
    clocked.until(131.0)
    assert clocked.validated == [110.0, 120.0, 130.0]


def test_word_moves_the_bound_and_counts_from_when_it_was_true() -> None:
    clocked = Clocked()
    clocked.until(109.0)
    clocked.ledger.heard(5, "h", 106.0)
    assert clocked.ledger.cursor == 5
    clocked.until(117.0)
    assert clocked.validated == [116.0]
    clocked.ledger.heard(6, "h", 0.0)
    assert clocked.ledger.cursor == 6
    clocked.until(127.0)
    assert clocked.validated == [116.0, 126.0], "a purge that was done does not tell that there are no others"


def test_purges_are_told_in_messages_that_fit() -> None:
    purges = [m.PurgeSpec("url", f"example.com/{number}/{'x' * 8000}") for number in range(20)]
    told = list(pieces(purges))
    assert [spec for piece in told for spec in piece] == purges
    assert len(told) == 3
    assert list(pieces([A, B])) == [[A, B]]


def test_what_another_release_tells_concerns_everything() -> None:
    sent = b'{"node":"n","ask":false,"purges":[{"kind":"tag","value":"a"},{"kind":"tag","value":"b","soft":true}]}'
    assert opened(sent) == Told("n", [A, B], False)
    for odd in (b"", b"{}", sent.replace(b'"tag"', b'"moon"'), sent.replace(b'"a"', '"€"'.encode())):
        assert opened(odd).purges == [m.PurgeSpec("all")]


def test_how_far_others_were_heard_is_kept_when_it_changes_and_taken_up_again() -> None:
    kept: list[tuple[int, str]] = []
    timers = Timers(lambda: 100.0)
    ledger = PurgeLedger(
        timers, lambda: 10.0, lambda: None, lambda cursor, history: kept.append((cursor, history)), (5, "first")
    )
    assert (ledger.cursor, ledger.history) == (5, "first")
    ledger.heard(5, "first", 0.0)
    ledger.heard(6, "first", 0.0)
    ledger.heard(6, "first", 99.0)
    ledger.heard(6, "second", 0.0)
    assert kept == [(6, "first"), (6, "second")]
