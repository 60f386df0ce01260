"""Finds the route of a request: the most specific that matches.

Order of specificity: exact host, longest wildcard, any host; exact path, path with parameters (fewest first), longest
prefix; then a route that names methods, more header conditions, more query conditions; then order in the file.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import product
from operator import attrgetter
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import unquote_to_bytes

from edgewise.contracts.table import Refusal
from edgewise.protocols.memo import Memo
from edgewise.router.patterns import EXACT, HostPattern, PathPattern, longest_suffix

if TYPE_CHECKING:
    from edgewise.config.schema import Route
    from edgewise.contracts import plan
    from edgewise.contracts.table import Match
    from edgewise.http.head import RequestHead

PRESENT = "*"
"""Condition on a header or query parameter that only has to be there."""


@dataclass(slots=True, frozen=True)
class NoMatch:
    """No route answers."""

    status: int
    """404, or 405 where only the method is another (RFC 9110 section 15.5.6)."""
    allowed: tuple[bytes, ...] = ()
    """Methods for the Allow field of a 405, sorted."""


class Verdict(NamedTuple):
    """Why one candidate does or does not answer a request."""

    route: int
    """Index in the sequence of routes."""
    host: str
    path: str
    """The patterns of the candidate: a route has one candidate for each pair of its hosts and paths."""
    matched: bool
    """True for the one that answers."""
    reason: str


class Candidate:
    """One pair of host and path pattern of a route, with the route's other conditions."""

    __slots__ = ("conditions", "headers", "host", "index", "internal", "methods", "path", "query", "rank")

    def __init__(self, index: int, route: Route, host: HostPattern, path: PathPattern) -> None:
        self.index = index
        self.host = host
        self.path = path
        self.methods = _methods(route.methods)
        self.headers = tuple((name.lower().encode(), value.encode()) for name, value in route.headers.items())
        self.query = tuple((name.encode(), value.encode()) for name, value in route.query.items())
        self.conditions = bool(self.headers or self.query)
        self.internal = route.internal
        self.rank = 0
        """Place among all candidates, most specific first."""

    def order(self) -> tuple[object, ...]:
        """Sort key: the documented order of specificity."""
        fewest = (self.methods is None, -len(self.headers), -len(self.query))
        return (self.host.order, self.path.order, fewest, self.index)

    def unmet(self, query: bytes | None, head: RequestHead) -> str | None:
        """Return the first condition on headers and query that does not hold, in words; None when all hold."""
        for name, wanted in self.headers:
            values = [field.value for field in head.fields if field.name == name]
            if not _holds(values, wanted):
                return _difference("header", name, values, wanted)
        if self.query:
            given = _parameters(query or b"")
            for name, wanted in self.query:
                values = given.get(name, [])
                if not _holds(values, wanted):
                    return _difference("query parameter", name, values, wanted)
        return None


class _HostTable:
    """The candidates of one host pattern, found by literal path text."""

    __slots__ = ("_by_beginning", "_by_lead", "_exact", "_longest", "_root")

    def __init__(self, candidates: Iterable[Candidate]) -> None:
        self._exact: dict[bytes, list[Candidate]] = {}
        self._by_lead: dict[bytes, list[Candidate]] = {}
        for candidate in candidates:
            table = self._exact if candidate.path.kind == EXACT else self._by_lead
            table.setdefault(candidate.path.lead, []).append(candidate)
        self._root = self._by_lead.pop(b"", [])
        self._longest = max(map(len, self._by_lead), default=0)
        self._by_beginning: Memo[list[Candidate]] = Memo(self._find_by_lead, entries=256, longest=256)
        """A path up to the last slash that a lead can reach -> the candidates whose lead it begins with."""

    def find(self, path: bytes) -> list[Candidate]:
        """Return the candidates whose literal beginning is that of `path`, most specific first."""
        found = self._by_beginning[self._beginning(path)] if self._longest else self._root
        exact = self._exact.get(path)
        return found if exact is None else exact + found

    def _beginning(self, path: bytes) -> bytes:
        """Cut a path to what a lead can match: bounded by the longest one, however many slashes a request has."""
        return path if len(path) <= self._longest else path[: path.rfind(b"/", 0, self._longest + 1)]

    def _find_by_lead(self, beginning: bytes) -> list[Candidate]:
        found: list[Candidate] = []
        at = len(beginning)
        while at > 0:
            more = self._by_lead.get(beginning[:at])
            if more is not None:
                found = _merged(found, more)
            at = beginning.rfind(b"/", 0, at)
        return _merged(found, self._root)


class Matcher:
    """The routes of a configuration, arranged for matching; immutable."""

    __slots__ = ("_any", "_candidates", "_hosts", "_internal", "_suffixes")

    def __init__(self, routes: Sequence[Route], *, internal: bool = False) -> None:
        """Take all routes; those marked internal match only with `internal` (for X-Accel-Redirect targets)."""
        self._internal = internal
        self._candidates = sorted(_candidates(routes), key=Candidate.order)
        tables: dict[str, list[Candidate]] = {}
        for rank, candidate in enumerate(self._candidates):
            candidate.rank = rank
            if internal or not candidate.internal:
                tables.setdefault(candidate.host.text, []).append(candidate)
        built = {text: _HostTable(candidates) for text, candidates in tables.items()}
        by_host = {text: HostPattern(None if text == "*" else text) for text in built}
        self._any = (built["*"],) if "*" in built else ()
        self._suffixes: dict[bytes, tuple[_HostTable, ...]] = {}
        for text in sorted((text for text, host in by_host.items() if host.suffix), key=len):
            suffix = text[1:].encode()
            self._suffixes[suffix] = (built[text], *self._wider(suffix))
        self._hosts = {
            host.host: (built[text], *self._wider(host.host)) for text, host in by_host.items() if host.host is not None
        }

    def _wider(self, host: bytes) -> tuple[_HostTable, ...]:
        """Return the tables of the wildcards that match `host`, longest first, and of routes for any host."""
        suffix = longest_suffix(host, self._suffixes)
        return self._any if suffix is None else self._suffixes[suffix]

    def match(
        self, host: bytes, path: bytes, method: bytes, query: bytes | None, head: RequestHead
    ) -> tuple[int, dict[str, bytes]] | NoMatch:
        """Return the index of the route that answers and its path parameters, still percent-encoded.

        `host`, `path` and `query` are given beside `head` so that a rewritten target can be matched too.
        """
        allowed: frozenset[bytes] | None = None
        tables = self._hosts.get(host)
        if tables is None:
            tables = self._wider(host) if self._suffixes else self._any
        for table in tables:
            for candidate in table.find(path):
                parameters = candidate.path.match(path)
                if parameters is None or (candidate.conditions and candidate.unmet(query, head)):
                    continue
                if candidate.methods is None or method in candidate.methods:
                    return candidate.index, parameters
                allowed = candidate.methods | (allowed or frozenset())
        return NoMatch(404) if allowed is None else NoMatch(405, tuple(sorted(allowed)))

    def why(self, host: bytes, path: bytes, method: bytes, query: bytes | None, head: RequestHead) -> list[Verdict]:
        """Return a verdict for every candidate, most specific first; the slow, plain form of `match`."""
        verdicts: list[Verdict] = []
        answered = False
        for candidate in self._candidates:
            reason = self._reason(candidate, host, path, method, query, head)
            matched = reason is None and not answered
            if reason is None:
                reason = "matches" if matched else "matches too, but is less specific or later in the file"
            answered = answered or matched
            verdicts.append(Verdict(candidate.index, candidate.host.text, candidate.path.text, matched, reason))
        return verdicts

    def _reason(
        self, candidate: Candidate, host: bytes, path: bytes, method: bytes, query: bytes | None, head: RequestHead
    ) -> str | None:
        if candidate.internal and not self._internal:
            return "internal: reached only by X-Accel-Redirect"
        if not candidate.host.accepts(host):
            return f"host is {_shown(host)}, wanted {candidate.host.text}"
        if not candidate.path.accepts(path):
            return f"path is {_shown(path)}, wanted {candidate.path.text}"
        unmet = candidate.unmet(query, head)
        if unmet is not None:
            return unmet
        if candidate.methods is not None and method not in candidate.methods:
            return f"method is {_shown(method)}, wanted {_shown(b' or '.join(sorted(candidate.methods)))}"
        return None


def route_finder(matcher: Matcher, routes: Sequence[plan.Route]) -> Match:
    """Return how a table finds the one of `routes`, in the matcher's order, that answers a request."""

    def match(head: RequestHead) -> tuple[plan.Route, plan.Params] | Refusal:
        found = matcher.match(head.lines.host, head.path, head.method, head.query, head)
        return Refusal(found.status, found.allowed) if isinstance(found, NoMatch) else (routes[found[0]], found[1])

    return match


def _merged(first: list[Candidate], second: list[Candidate]) -> list[Candidate]:
    """Merge two ordered lists; the candidates of a longer beginning mostly go before all others."""
    if not first or not second:
        return first or second
    if first[-1].rank < second[0].rank:
        return first + second
    return sorted(first + second, key=_rank)


_rank = attrgetter("rank")


def _candidates(routes: Sequence[Route]) -> Iterable[Candidate]:
    for index, route in enumerate(routes):
        hosts = [HostPattern(host) for host in route.hosts] or [HostPattern(None)]
        for host, path in product(hosts, map(PathPattern, route.paths)):
            yield Candidate(index, route, host, path)


def _methods(names: list[str]) -> frozenset[bytes] | None:
    """GET takes HEAD along: every resource that has one has the other (RFC 9110 section 9.1)."""
    methods = frozenset(name.encode("ascii") for name in names)
    return None if not methods else methods | {b"HEAD"} if b"GET" in methods else methods


def _holds(values: list[bytes], wanted: bytes) -> bool:
    return bool(values) if wanted == PRESENT.encode() else wanted in values


def _difference(kind: str, name: bytes, values: list[bytes], wanted: bytes) -> str:
    given = " and ".join(map(_shown, values)) if values else "absent"
    return f"{kind} {_shown(name)} is {given}, wanted {'any value' if wanted == PRESENT.encode() else _shown(wanted)}"


def _shown(value: bytes) -> str:
    """Spell bytes from a request so that they cannot forge a line or steer a terminal."""
    return value.decode("latin-1").encode("unicode_escape").decode("ascii") or '""'


def _parameters(query: bytes) -> dict[bytes, list[bytes]]:
    """Decode application/x-www-form-urlencoded pairs (URL Standard section 5.1)."""
    given: dict[bytes, list[bytes]] = {}
    for pair in query.split(b"&"):
        name, _, value = pair.replace(b"+", b" ").partition(b"=")
        given.setdefault(unquote_to_bytes(name), []).append(unquote_to_bytes(value))
    return given
