from __future__ import annotations

import os
from collections.abc import Iterator

from edgewise.telemetry.ids import IdSource


def test_ids_are_hexadecimal_and_unique() -> None:
    source = IdSource()
    ids = [source.next_id() for _ in range(1000)]
    spans = [source.span_id() for _ in range(1000)]
    assert len(set(ids)) == len(set(spans)) == 1000
    assert {len(each) for each in ids} == {32}
    assert {len(each) for each in spans} == {16}
    assert all(set(each) <= set("0123456789abcdef") for each in ids + spans)


def test_an_id_is_never_all_zero() -> None:
    pools: Iterator[bytes] = iter([bytes(4096), bytes(16) + b"\x01" * 4080, bytes(2048), bytes(8) + b"\x02" * 2040])
    source = IdSource(lambda count: next(pools)[:count])
    assert source.next_id() == "01" * 16
    assert source.span_id() == "02" * 8


def test_a_forked_process_never_repeats_its_parents_ids() -> None:
    source = IdSource()
    source.next_id()
    source.span_id()
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.write(writer, " ".join([*(source.next_id() for _ in range(50)), source.span_id()]).encode())
        os._exit(0)
    os.waitpid(pid, 0)
    theirs = set(os.read(reader, 65536).decode().split(" "))
    ours = {source.next_id() for _ in range(500)} | {source.span_id() for _ in range(500)}
    assert len(theirs) == 51
    assert not theirs & ours
    os.close(reader)
    os.close(writer)
