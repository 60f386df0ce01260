"""What outlived a long collection is left alone, and looked at again in the end."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator

import pytest

from edgewise.server import collecting


class Knot:
    """Refers to itself, so that only a collection frees it."""

    def __init__(self) -> None:
        self.itself: Knot | None = self


@pytest.fixture
def _collecting(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(collecting, "_ALL_AGAIN", 3)
    callback = collecting.LeavesSurvivors()
    gc.callbacks.append(callback)
    yield
    gc.callbacks.remove(callback)
    gc.unfreeze()


@pytest.mark.usefixtures("_collecting")
def test_what_outlived_a_long_collection_is_looked_at_again_after_some_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collecting, "_LONG", 0.0)
    knot = Knot()
    there = weakref.ref(knot)
    gc.collect()
    assert gc.get_freeze_count() > 0
    del knot
    for _ in range(2):
        gc.collect()
        assert there() is not None, "it is left alone"
    gc.collect()
    assert there() is None


@pytest.mark.usefixtures("_collecting")
def test_after_a_short_collection_nothing_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collecting, "_LONG", 60.0)
    before = gc.get_freeze_count()
    gc.collect()
    assert gc.get_freeze_count() == before
