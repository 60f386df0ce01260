"""Whatever ranges are asked for, what comes back is what RFC 9110 section 14 says of the file's bytes."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from support.in_process import InProcessEngine
from support.raw_http import RawClient, RawResponse, get

SIZES = {"small.bin": 1000, "large.bin": 100_000}
CONTENT = {name: os.urandom(size) for name, size in SIZES.items()}


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RawClient]:
    root: Path = tmp_path_factory.mktemp("files")
    for name, content in CONTENT.items():
        (root / name).write_bytes(content)
        os.utime(root / name, (1_700_000_000, 1_700_000_000))
    engine = InProcessEngine(f'[[routes]]\nstatic = {{ root = "{root}" }}\n', root / "access.log")
    with engine.client() as client:
        yield client
    engine.stop()


def parts(reply: RawResponse) -> list[tuple[str, bytes]]:
    """Return Content-Range and bytes of each part of an answer."""
    kind = reply.get("content-type") or ""
    found = re.fullmatch(r"multipart/byteranges; boundary=([0-9a-f]+)", kind)
    if found is None:
        return [(reply.get("content-range") or "", reply.body)]
    *pieces, end = reply.body.split(b"--" + found[1].encode())[1:]
    assert end == b"--\r\n"
    made = []
    for piece in pieces:
        head, _, body = piece.removesuffix(b"\r\n").partition(b"\r\n\r\n")
        said = re.search(rb"Content-Range: ([^\r\n]+)", head)
        assert said is not None
        made.append((said[1].decode(), body))
    return made


def wanted(specs: list[tuple[int | None, int | None]], size: int) -> list[tuple[int, int]] | None:
    """Return the satisfiable ranges as (first, last), None where the field is malformed; written anew from the RFC."""
    found: list[tuple[int, int]] = []
    for first, last in specs:
        if first is None:
            if last is None:
                return None
            if last:
                found.append((max(0, size - last), size - 1))
        elif last is not None and last < first:
            return None
        elif first < size:
            found.append((first, size - 1 if last is None else min(last, size - 1)))
    return found


_number = st.none() | st.integers(0, 1200) | st.integers(0, 200_000)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(sorted(SIZES)), st.lists(st.tuples(_number, _number), min_size=1, max_size=6))
def test_the_bytes_are_those_asked_for(
    client: RawClient, name: str, specs: list[tuple[int | None, int | None]]
) -> None:
    written = ",".join(f"{'' if first is None else first}-{'' if last is None else last}" for first, last in specs)
    reply = client.ask(get(f"/{name}", "a", f"Range: bytes={written}"))
    content, size = CONTENT[name], SIZES[name]
    spans = wanted(specs, size)
    if spans is None or sum(last + 1 - first for first, last in spans) > size:
        assert (reply.status, reply.body) == (200, content)
    elif not spans:
        assert (reply.status, reply.get("content-range")) == (416, f"bytes */{size}")
    else:
        assert reply.status == 206
        expected = [(f"bytes {first}-{last}/{size}", content[first : last + 1]) for first, last in spans]
        assert parts(reply) == expected
