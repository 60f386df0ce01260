"""A process that writes to a disk store until it is killed, and what there must be to find then."""

from __future__ import annotations

import sys
from itertools import count
from pathlib import Path

from edgewise.cache.disk.store import DiskStore
from edgewise.cache.stored import Stored
from support.cache import NOW, asking, stored

TARGETS = [f"/{kind}/{number}" for kind in ("small", "varies", "large") for number in range(8)]


def written(target: str, number: int) -> tuple[Stored, bytes]:
    """Return the `number`th response for a target, and its content."""
    lines = {"Cache-Control": "max-age=600", "X-Number": str(number)}
    if target.startswith("/varies"):
        lines["Vary"] = "Foo"
    content = b"%b %d," % (target.encode(), number) * (40_000 if target.startswith("/large") else 500)
    return stored(lines, body=content, request=asking(target, {"Foo": "1"}), received=NOW + number), content


def write(disk: DiskStore, target: str, number: int) -> None:
    """Store it, a large one in pieces; some are discarded again."""
    found, content = written(target, number)
    if target.startswith("/large"):
        body = disk.begin_body(found)
        assert body is not None
        for start in range(0, len(content), 65_536):
            body.write(content[start : start + 65_536])
        if number % 7 == 3 or not body.commit(found):
            body.drop()
            return
    disk.put(found, 0)
    if number % 11 == 5:
        disk.discard(found)


def main(directory: str) -> None:
    """Write until somebody kills this process."""
    disk = DiskStore(Path(directory))
    for number in count():
        for target in TARGETS:
            write(disk, target, number)
        disk.flush(30)
        print(number, flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
