"""Garbage collection where much is stored: what outlived a full collection is not looked at by the next ones."""

from __future__ import annotations

import gc
import time

_LONG = 0.01
"""Seconds of processor time. Shorter collections disturb nobody."""
_ALL_AGAIN = 64
"""Collections after which everything is looked at once more: garbage in cycles may have come about among what was left
alone, some of each request that was under way then."""


class LeavesSurvivors:
    """A callback of `gc`. Without it a worker with a million answers stands still for most of a second each time that
    a quarter as many have come.
    """

    __slots__ = ("_began", "_left_alone")

    def __init__(self) -> None:
        self._began = 0.0
        self._left_alone = 0
        """Collections whose survivors are left alone."""

    def __call__(self, phase: str, info: dict[str, int]) -> None:
        """Be told that a collection starts, or has stopped."""
        if info["generation"] < 2:
            return
        if phase == "start":
            if self._left_alone == _ALL_AGAIN:
                self._left_alone = 0
                gc.unfreeze()
            self._began = time.thread_time()
        elif time.thread_time() - self._began > _LONG:
            self._left_alone += 1
            gc.freeze()
