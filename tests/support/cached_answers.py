"""Asks a route that caches, and tells what it says of the answer."""

from __future__ import annotations

from support.in_process import InProcessEngine
from support.raw_http import RawResponse


def ask(site: InProcessEngine, *lines: str, path: str = "/page", method: str = "GET") -> RawResponse:
    """Ask once, on a connection of its own."""
    with site.client() as client:
        given = "".join(f"{line}\r\n" for line in lines)
        return client.ask(
            f"{method} {path} HTTP/1.1\r\nHost: example.com\r\n{given}\r\n".encode(), head_request=method == "HEAD"
        )


def how(response: RawResponse) -> str:
    """Return what Cache-Status says, without the time left."""
    members = (response.get("cache-status") or "").split("; ")[1:]
    return "; ".join(member for member in members if not member.startswith("ttl="))
