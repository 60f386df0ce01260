"""Policies of hosts: where a host has some, its requests take a copy of their route that has them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from edgewise.contracts.plan import Params, Route
from edgewise.contracts.table import Match, Refusal
from edgewise.http.head import RequestHead
from edgewise.protocols.memo import Memo


class HostMatch:
    """Matches as another match does, and has the routes of hosts in place of theirs."""

    def __init__(self, match: Match, routes: Mapping[str, Mapping[int, Route]]) -> None:
        """`routes`: by host pattern, the copies that its requests take by the `id` of the route that matched."""
        self._match = match
        self._routes = routes
        self._found: Memo[Mapping[int, Route]] = Memo(self._of_host, entries=1024, longest=255)

    @property
    def routes(self) -> tuple[Route, ...]:
        """The copies."""
        return tuple(route for copies in self._routes.values() for route in copies.values())

    def __call__(self, head: RequestHead) -> tuple[Route, Params] | Refusal:
        """Match."""
        found = self._match(head)
        if isinstance(found, Refusal):
            return found
        route, params = found
        return self._found[head.host].get(id(route), route), params

    def _of_host(self, host: bytes) -> Mapping[int, Route]:
        name = most_specific(host.decode("latin-1"), self._routes)
        return {} if name is None else self._routes[name]


def most_specific(host: str, patterns: Iterable[str]) -> str | None:
    """Return the pattern that holds for a host: itself, else the longest "*.suffix"; None where there is none."""
    held = [pattern for pattern in patterns if _holds(pattern, host)]
    return max(held, key=lambda pattern: (not pattern.startswith("*."), len(pattern)), default=None)


def _holds(pattern: str, host: str) -> bool:
    return host == pattern or (pattern.startswith("*.") and host.endswith(pattern[1:]) and host != pattern[2:])
