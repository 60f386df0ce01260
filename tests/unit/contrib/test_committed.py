"""Purges that follow a commit and cannot be done at once."""

from __future__ import annotations

import threading
from collections.abc import Iterable

import pytest

from edgewise.contrib import committed
from edgewise.contrib.committed import purge_committed
from edgewise.contrib.layers import LayersError
from support.edgewise_process import wait_until


def test_a_commit_while_an_earlier_purge_of_the_same_is_tried_again_has_a_purge_of_its_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    under_way, may_end = threading.Event(), threading.Event()
    done: list[set[str]] = []

    def purge_layers(tags: Iterable[str], urls: Iterable[str] = ()) -> None:
        if threading.current_thread() is threading.main_thread():
            raise LayersError(None, OSError("nobody answers"))
        under_way.set()
        assert may_end.wait(60)
        done.append(set(tags))

    monkeypatch.setattr(committed, "purge_layers", purge_layers)
    monkeypatch.setattr(committed, "_AGAIN", 0.01)
    purge_committed(["t"])
    assert under_way.wait(60)
    purge_committed(["t"])
    may_end.set()
    wait_until(lambda: done == [{"t"}, {"t"}], "both commits have their purge")
