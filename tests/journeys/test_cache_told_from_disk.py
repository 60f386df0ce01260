"""What a restart finds on disk is told as before: tags made of the content, codings, a policy for browsers."""

from __future__ import annotations

import zlib

import pytest

from support.edgewise_process import wait_until

TOML = """
[server]
listen = ["127.0.0.1:$PORT"]
admin = "127.0.0.1:$ADMIN_PORT"
workers = 1
[cache]
disk = "100MB"
directory = "$DIR/kept"
[upstreams.app]
servers = ["ORIGIN"]
[[routes]]
upstream = "app"
cache = { etag = "strong", browser = "private, max-age=60", hide = ["Surrogate-Key"] }
compress = { codings = ["gzip"] }
"""
HEAD = "Content-Type: text/plain\r\nCache-Control: s-maxage=3600\r\nSurrogate-Key: a\r\n"


def ask(edgewise, *lines: str):
    given = "".join(f"{line}\r\n" for line in lines)
    with edgewise.client() as client:
        return client.ask(f"GET /page HTTP/1.1\r\nHost: a\r\n{given}\r\n".encode())


def told(answer) -> tuple[str | None, ...]:
    """Return what clients see, without the seconds of its age."""
    policy = (answer.get("cache-control") or "").partition("max-age=")[0]
    return answer.get("etag"), answer.get("vary"), answer.get("surrogate-key"), policy


@pytest.mark.parametrize("size", [5_000, 400_000])
def test_what_a_restart_finds_is_told_as_before(edgewise_server, origin, tmp_path, size: int) -> None:
    body = (b"%d words of a text; " % size * size)[:size]
    server = origin(f"HTTP/1.1 200 OK\r\nContent-Length: {size}\r\n{HEAD}\r\n".encode() + body)
    toml = TOML.replace("ORIGIN", server.address).replace("$DIR", str(tmp_path))
    first = edgewise_server(toml)
    ask(first)
    before = ask(first)
    assert before.body == body
    assert told(before)[1:] == ("Accept-Encoding", None, "private, ")
    wait_until(lambda: list((tmp_path / "kept").rglob("*/[0-9a-f]*")), "an entry on disk")
    first.stop()
    second = edgewise_server(toml)
    after = ask(second)
    assert "; hit;" in (after.get("cache-status") or "")
    assert (after.body, told(after)) == (body, told(before))
    assert ask(second, f"If-None-Match: {told(before)[0]}").status == 304
    found = []

    def coded() -> bool:
        found.append(ask(second, "Accept-Encoding: gzip"))
        return found[-1].get("content-encoding") == "gzip"

    wait_until(coded, "a coded answer")
    assert zlib.decompress(found[-1].body, 31) == body
    assert found[-1].get("etag") == f"W/{told(before)[0]}"
    part = ask(second, "Accept-Encoding: gzip", "Range: bytes=2-5")
    assert (part.status, part.body) == (206, body[2:6])
    assert len(server.requests) == 1
