"""A reload that gives the cache less memory, or more; on a standing edgewise of two workers."""

from __future__ import annotations

from support.edgewise_process import wait_until
from support.raw_http import get

TOML = """
[server]
listen = ["127.0.0.1:$PORT"]
admin = "127.0.0.1:$ADMIN_PORT"
workers = 2
[cache]
memory = "MEMORY"
[upstreams.app]
servers = ["ORIGIN"]
[[routes]]
upstream = "app"
cache = {}
"""
HEAD = b"HTTP/1.1 200 OK\r\nCache-Control: max-age=600\r\nContent-Length: 50000\r\n\r\n"
PAGES = 30


def hits(edgewise) -> int:
    """Ask each page on one connection, so of one worker; return how many it had."""
    with edgewise.client() as client:
        answers = [client.ask(get(f"/{number}")) for number in range(PAGES)]
    return sum("; hit;" in (answer.get("cache-status") or "") for answer in answers)


def test_a_reload_changes_the_memory_of_the_cache(edgewise_server, origin) -> None:
    toml = TOML.replace("ORIGIN", origin(HEAD + b"x" * 50_000).address)
    edgewise = edgewise_server(toml.replace("MEMORY", "64MB"))
    wait_until(lambda: hits(edgewise) == PAGES, "all pages in a worker")
    edgewise.write_config(toml.replace("MEMORY", "500KB"))
    edgewise.admin("/api/v1/reload", "POST")
    wait_until(lambda: hits(edgewise) < PAGES // 2, "a quarter of a megabyte in a worker, which is five pages")
    edgewise.write_config(toml.replace("MEMORY", "64MB"))
    edgewise.admin("/api/v1/reload", "POST")
    wait_until(lambda: hits(edgewise) == PAGES, "all pages again")
