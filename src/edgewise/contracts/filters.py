"""The door for the user's own code on requests and responses.

A filter is any object with `request`, `response` or both, sync or async:

    class Greet:
        def request(self, request: Request) -> Response | None: ...
        async def response(self, request: Request, response: Response) -> Response | None: ...

A plain function (or coroutine function) that takes a Request is a filter with only `request`. None means "go on"; a
Response means "answer with this". Named in a route's `filters` by import path (`package.module:attribute`; a class is
instantiated once a worker) or by the name of an entry point in the group `edgewise.filters`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

if TYPE_CHECKING:
    from edgewise.contracts.identity import Identity

_TOKEN = frozenset("!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyz")


class Headers:
    """Mutable, ordered, case-insensitive field list of a Request or Response.

    Values are str (ISO 8859-1); a name or value that could break framing raises ValueError (RFC 9110 section 5).
    """

    __slots__ = ("_items", "changed")

    def __init__(self, items: Iterable[tuple[str, str]] = ()) -> None:
        self._items = [(name, value) for name, value in items]
        self.changed = False

    def get(self, name: str, default: str | None = None) -> str | None:
        """Return the first value of `name`, or `default`."""
        name = name.lower()
        return next((value for key, value in self._items if key.lower() == name), default)

    def get_all(self, name: str) -> list[str]:
        """Return every value of `name`, in order."""
        name = name.lower()
        return [value for key, value in self._items if key.lower() == name]

    def __getitem__(self, name: str) -> str:
        value = self.get(name)
        if value is None:
            raise KeyError(name)
        return value

    def __setitem__(self, name: str, value: str) -> None:
        _check(name, value)
        if name in self:
            del self[name]
        self._items.append((name, value))
        self.changed = True

    def add(self, name: str, value: str) -> None:
        """Append a field line, keeping those there are."""
        _check(name, value)
        self._items.append((name, value))
        self.changed = True

    def __delitem__(self, name: str) -> None:
        lower = name.lower()
        self._items = [item for item in self._items if item[0].lower() != lower]
        self.changed = True

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and self.get(name) is not None

    def __iter__(self) -> Iterator[tuple[str, str]]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)

    def __repr__(self) -> str:
        return f"Headers({self._items!r})"


def _check(name: str, value: str) -> None:
    if not name or not _TOKEN.issuperset(name.lower()):
        raise ValueError(f"not a field name: {name!r}")
    if any(character in "\r\n\0" for character in value) or value != value.strip(" \t"):
        raise ValueError(f"not a field value: {value!r}")
    value.encode("latin-1")


class Request:
    """What a filter sees of a request. Assign `path`, `query` or edit `headers` to change what is forwarded."""

    __slots__ = (
        "client_ip",
        "context",
        "headers",
        "identity",
        "method",
        "path",
        "query",
        "request_id",
        "route",
        "scheme",
    )

    def __init__(
        self,
        method: str = "GET",
        path: str = "/",
        query: str = "",
        headers: Headers | Iterable[tuple[str, str]] = (),
        *,
        client_ip: str = "127.0.0.1",
        scheme: str = "http",
        request_id: str = "",
        route: str = "",
    ) -> None:
        self.method = method
        self.path = path
        """Percent-encoded, normalised."""
        self.query = query
        """Without the question mark."""
        self.headers = headers if isinstance(headers, Headers) else Headers(headers)
        self.client_ip = client_ip
        self.scheme = scheme
        self.request_id = request_id
        self.route = route
        self.identity: Identity | None = None
        """Who asks, where the route's `auth` verified somebody."""
        self.context: dict[str, Any] = {}
        """The filters' own values for this exchange; logged under `context` where a value is str, int or float."""


class Response:
    """An answer: made by a filter, or the head of the upstream's (then `body` is None and streams past)."""

    __slots__ = ("body", "headers", "status")

    def __init__(
        self, status: int = 200, body: bytes | str | None = b"", headers: Headers | Iterable[tuple[str, str]] = ()
    ) -> None:
        if not 200 <= status <= 999:
            raise ValueError(f"not a final status: {status}")
        self.status = status
        self.headers = headers if isinstance(headers, Headers) else Headers(headers)
        if isinstance(body, str):
            body = body.encode()
            if "content-type" not in self.headers:
                self.headers.add("Content-Type", "text/plain; charset=utf-8")
        self.body = body


@runtime_checkable
class RequestFilter(Protocol):
    """Runs after a route matched and before a server is chosen."""

    def request(self, request: Request) -> Response | Awaitable[Response | None] | None:
        """Return None to go on, or the answer."""


@runtime_checkable
class ResponseFilter(Protocol):
    """Runs when the upstream's response head is in and before it is sent."""

    def response(self, request: Request, response: Response) -> Response | Awaitable[Response | None] | None:
        """Edit `response` and return None, or return another answer in its place."""
