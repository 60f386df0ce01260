"""What stands between an exchange and its client, to see or change the answer on its way: a client like any other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgewise.proxy.wire import Buffer

if TYPE_CHECKING:
    from edgewise.contracts.exchange import Exchange


def _of_client(name: str) -> Any:
    """Return a property that is the client's own."""

    def get(self: Interposed) -> Any:
        return getattr(self.client, name)

    def put(self: Interposed, value: Any) -> None:
        setattr(self.client, name, value)

    return property(get, put)


class Interposed:
    """Passes everything on. It is made for one exchange, and takes the client's place in that one alone."""

    def __init__(self, exchange: Exchange) -> None:
        """Step between `exchange` and its client, which may itself stand before another."""
        self.own = exchange
        self.client: Any = exchange.client
        exchange.client = self

    buffer = _of_client("buffer")
    deadline = _of_client("deadline")
    finishing = _of_client("finishing")
    peer_ip = _of_client("peer_ip")
    source = _of_client("source")

    def __getattr__(self, name: str) -> Any:
        return getattr(self.client, name)

    @property
    def sock(self) -> Any:
        """Something as long as the answer is of use."""
        return self.client.sock

    @property
    def flushed(self) -> bool:
        """Is everything on its way that was given to `send`?"""
        flushed: bool = self.client.flushed
        return flushed

    def send_head(self, head: bytes, content: Buffer, *, end: bool) -> bool:
        """Send a response head and the content that is at hand, all of it with `end`; False as with `send`."""
        taken: bool = self.client.send_head(head, content, end=end)
        return taken

    def send(self, data: Buffer, *, end: bool = False) -> bool:
        """Send content; False when the source should pause."""
        taken: bool = self.client.send(data, end=end)
        return taken

    def send_trailers(self, lines: bytes) -> None:
        """End the answer with trailers."""
        self.client.send_trailers(lines)

    def goes_on(self) -> bool:
        """The client left, or cannot be served any more: is the answer still wanted?"""
        return isinstance(self.client, Interposed) and self.client.goes_on()

    def ended(self, now: float, *, close: bool) -> None:
        """The exchange is over."""
        self.client.ended(now, close=close)

    def linger(self) -> None:
        """The exchange is over, and the client still sends."""
        self.client.linger()

    def close(self, *, cut: bool = False) -> None:
        """Give the client up."""
        self.client.close(cut=cut)


def goes_on(exchange: Exchange) -> bool:
    """Its client left: does an exchange go on without it?"""
    return isinstance(exchange.client, Interposed) and exchange.client.goes_on()
