from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import edgewise
from edgewise.contracts.exchange import Exchange
from edgewise.telemetry.access_log import AccessLog
from edgewise.telemetry.log_sink import LogSink

Make = Callable[..., Exchange]
_SOURCE = str(Path(edgewise.__file__).parents[1])


def test_lines_are_written_on_the_tick(tmp_path: Path, make_exchange: Make) -> None:
    path = tmp_path / "access"
    log = AccessLog(str(path))
    log.done(make_exchange())
    log.done(make_exchange(status=404))
    assert path.read_bytes() == b""
    log.tick(0.0)
    assert [json.loads(line)["status"] for line in path.read_text().splitlines()] == [200, 404]


def test_many_lines_do_not_wait_for_the_tick(tmp_path: Path, make_exchange: Make) -> None:
    path = tmp_path / "access"
    log = AccessLog(str(path), "combined")
    for _ in range(513):
        log.done(make_exchange())
    assert len(path.read_text().splitlines()) == 512
    log.close()
    assert len(path.read_text().splitlines()) == 513


def test_what_an_exchange_becomes_later_is_not_logged(tmp_path: Path, make_exchange: Make) -> None:
    path = tmp_path / "access"
    log = AccessLog(str(path))
    exchange = make_exchange()
    log.done(exchange)
    exchange.status = 500
    log.close()
    assert json.loads(path.read_text())["status"] == 200


def test_logs_of_two_workers_share_a_file(tmp_path: Path, make_exchange: Make) -> None:
    path = tmp_path / "access"
    logs = [AccessLog(str(path)) for _ in range(2)]
    for _ in range(3):
        for log in logs:
            log.done(make_exchange())
            log.tick(0.0)
    assert len([json.loads(line) for line in path.read_text().splitlines()]) == 6


def test_a_rotated_file_is_reopened_and_no_line_is_lost(tmp_path: Path, make_exchange: Make) -> None:
    path, old = tmp_path / "access", tmp_path / "access.1"
    log = AccessLog(str(path))
    log.done(make_exchange())
    path.rename(old)
    log.reopen()
    log.done(make_exchange())
    log.close()
    assert len(old.read_text().splitlines()) == len(path.read_text().splitlines()) == 1


def test_a_failed_reopen_keeps_the_old_file(tmp_path: Path, make_exchange: Make) -> None:
    folder, moved = tmp_path / "logs", tmp_path / "moved"
    folder.mkdir()
    log = AccessLog(str(folder / "access"))
    folder.rename(moved)
    with pytest.raises(FileNotFoundError):
        log.reopen()
    log.done(make_exchange())
    log.close()
    assert len((moved / "access").read_text().splitlines()) == 1


def test_a_file_that_cannot_be_opened_is_an_error_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="directory"):
        AccessLog(str(tmp_path))


def test_a_log_is_not_for_everyone_to_read(tmp_path: Path) -> None:
    path = tmp_path / "access"
    AccessLog(str(path)).close()
    assert path.stat().st_mode & 0o007 == 0


def test_a_full_disk_costs_lines_and_nothing_else(make_exchange: Make) -> None:
    log = AccessLog("/dev/full")
    for _ in range(10_000):
        log.done(make_exchange())
    log.tick(0.0)
    assert log.dropped > 0
    log.close()
    assert log.dropped == 10_000


@pytest.fixture
def fifo(tmp_path: Path) -> tuple[str, int]:
    """Return the path of a pipe and the descriptor of its reading end."""
    path = tmp_path / "pipe"
    os.mkfifo(path)
    return str(path), os.open(path, os.O_RDONLY | os.O_NONBLOCK)


def test_a_slow_pipe_is_not_waited_for_and_gets_every_kept_line_whole(fifo: tuple[str, int]) -> None:
    path, reader = fifo
    sink = LogSink(path)
    line = "x" * 999 + "\n"
    for _ in range(50):
        sink.write([line] * 10)
    received = b""
    while piece := _read(reader):
        received += piece
        sink.flush()
    sink.close()
    assert sink.dropped == 0
    assert received == line.encode() * 500
    os.close(reader)


def test_a_pipe_that_nobody_reads_is_given_up_after_a_mebibyte(fifo: tuple[str, int]) -> None:
    path, reader = fifo
    sink = LogSink(path)
    for _ in range(40):
        sink.write(["x" * 99_999 + "\n"])
    assert 20 < sink.dropped < 40
    os.close(reader)


def test_a_closed_pipe_drops_lines_and_recovers_when_reopened(fifo: tuple[str, int]) -> None:
    path, reader = fifo
    sink = LogSink(path)
    os.close(reader)
    sink.write(["lost\n", "too\n"])
    assert sink.dropped == 2
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    sink.reopen()
    sink.write(["kept\n"])
    assert _read(reader) == b"kept\n"
    os.close(reader)


def test_the_pieces_for_a_pipe_end_with_a_line(fifo: tuple[str, int]) -> None:
    path, reader = fifo
    first, second = LogSink(path), LogSink(path)
    first.write(["a" * 1500 + "\n"] * 7)
    second.write(["b" * 1500 + "\n"] * 7)
    lines = _read(reader).splitlines()
    assert sorted(set(map(len, lines))) == [1500]
    assert all(len(set(line)) == 1 for line in lines)
    os.close(reader)


def _read(reader: int) -> bytes:
    try:
        return os.read(reader, 1 << 20)
    except BlockingIOError:
        return b""


_WRITER = """
from edgewise.telemetry.log_sink import LogSink
sink = LogSink("stdout")
sink.write(["first\\n", "second\\n"])
sink.close()
assert sink.dropped == 0
"""


@pytest.mark.parametrize("kind", ["pipe", "socket", "file"])
def test_standard_output_may_be_a_pipe_a_socket_or_a_file(kind: str, tmp_path: Path) -> None:
    if kind == "pipe":
        reader, writer = os.pipe()
    elif kind == "socket":
        reader, writer = (end.detach() for end in socket.socketpair())
    else:
        path = tmp_path / "out"
        writer = os.open(path, os.O_WRONLY | os.O_CREAT)
        reader = os.open(path, os.O_RDONLY)
    subprocess.run([sys.executable, "-c", _WRITER], stdout=writer, check=True, env={"PYTHONPATH": _SOURCE})
    os.close(writer)
    assert os.read(reader, 100) == b"first\nsecond\n"
    os.close(reader)
