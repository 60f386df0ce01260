"""A writer in this process, for a command that works on an embedded engine while no edgewise runs."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from edgewise.state.sqlite.writer import DirectoryTakenError, Writer


@contextmanager
def hosted(directory: Path) -> Iterator[None]:
    """See to it that the directory has a writer: the one that runs, else one in a thread. Raises WriterError."""
    try:
        writer = Writer(directory)
    except DirectoryTakenError:
        yield
        return
    thread = threading.Thread(target=writer.run, name="state-writer")
    thread.start()
    try:
        yield
    finally:
        writer.stop()
        thread.join()
