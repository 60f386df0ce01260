"""Unix time that no step of the wall clock changes."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path


def since_boot() -> float:
    """Return seconds since the machine booted, sleep included where the system counts it: equal in all processes."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


def boot_id() -> str:
    """Return what is different after each boot; "" where the system does not tell."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


class SteadyClock:
    """Unix time as it was once, carried on by the time since boot. `offset` is the Unix time of the boot."""

    def __init__(self, offset: float, steady: Callable[[], float] = since_boot) -> None:
        self.offset = offset
        self._steady = steady

    def __call__(self) -> float:
        return self._steady() + self.offset

    def ms(self) -> int:
        """Return the time in whole milliseconds."""
        return int((self._steady() + self.offset) * 1000)
