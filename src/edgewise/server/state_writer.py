"""The process that writes the embedded state; started only where a configuration needs it."""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from edgewise.server import messages as m
from edgewise.server.processes import FAILED_TO_START
from edgewise.state.opening import embedded_directory

if TYPE_CHECKING:
    from edgewise.config import Config
    from edgewise.server.channel import Channel
    from edgewise.state.sqlite.writer import Writer

log = logging.getLogger("edgewise.state")
_TAKE_OVER = 3.0
"""Seconds that a writer left by an edgewise that was killed may take to notice and end."""


class StateSetup(NamedTuple):
    """What the writer is told."""

    directory: Path
    full: bool


def state_setup(config: Config) -> StateSetup | None:
    """Return what the writer is told; None where no writer is needed."""
    directory = embedded_directory(config.state.url) if config.state is not None else None
    if config.state is None or directory is None:
        return None
    return StateSetup(directory, config.state.sync == "full")


def run_state_writer(channel: Channel[m.ToChild], setup: StateSetup) -> int:
    """Run the writer until the supervisor says so, or is gone; return the exit status."""
    from edgewise.state.sqlite.writer import WriterError

    try:
        writer = _open(setup)
    except WriterError as error:
        channel.send(m.Ready(str(error)))
        return FAILED_TO_START
    writer.watch(channel.fileno(), lambda: _heard(channel, writer))
    channel.send(m.Ready())
    writer.run()
    return 0


def _open(setup: StateSetup) -> Writer:
    from edgewise.state.sqlite.writer import DirectoryTakenError, Writer

    deadline = time.monotonic() + _TAKE_OVER
    while True:
        try:
            return Writer(setup.directory, full=setup.full)
        except DirectoryTakenError:
            if time.monotonic() > deadline:
                raise
        time.sleep(0.05)


def _heard(channel: Channel[m.ToChild], writer: Writer) -> None:
    """Take part in reloads, though nothing changes here; stop when told to, or when nobody could tell any more."""
    try:
        received = channel.receive()
    except EOFError:
        writer.stop()
        return
    for message, _descriptors in received:
        match message:
            case m.Prepare(generation=number):
                channel.send(m.Prepared(number))
            case m.Commit(generation=number):
                channel.send(m.Committed(number))
            case m.Drain():
                writer.stop()
            case _:
                pass
