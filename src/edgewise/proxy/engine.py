"""One worker's engine: its listeners, its connections and their deadlines, its generation of the configuration."""

from __future__ import annotations

import asyncio
import errno
import socket
from dataclasses import replace
from functools import partial
from time import monotonic
from typing import Any, Literal, Protocol

from edgewise.contracts.table import Limits, Table, TcpRoute
from edgewise.protocols.http2_abuse import GLITCH
from edgewise.proxy import faults
from edgewise.proxy.arrival import Arrival
from edgewise.proxy.downstream import Downstream
from edgewise.proxy.fills import Fill
from edgewise.proxy.http2_downstream import Http2Downstream
from edgewise.proxy.http2_glitches import REFUSAL, AddressGlitches
from edgewise.proxy.plans import Plans
from edgewise.proxy.poller import Poller
from edgewise.proxy.splice import Pipe
from edgewise.proxy.tunnel import Tunnel
from edgewise.proxy.wire import RESPONSE_READ

Kind = Literal["plain", "tls", "tcp"]
_ACCEPTS = 64
"""Connections accepted in one go, so that a flood of new ones does not starve those under way."""
_EXHAUSTED = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
_NOTICE = 1.0
"""Seconds before the end of a drain at which tunnels are told to go away."""
_REST = 0.1
"""Seconds without accepting after descriptors ran out: the listening socket stays readable all the while."""


class Ids(Protocol):
    """Makes request and span ids (W3C Trace Context section 3.2.2)."""

    def next_id(self) -> str:
        """Return 32 hexadecimal digits."""

    def span_id(self) -> str:
        """Return 16 hexadecimal digits."""


class Listen(Protocol):
    """What is listened on."""

    @property
    def kind(self) -> Kind:
        """What comes in there."""

    @property
    def address(self) -> str:
        """The address as written in the configuration."""


class Listener:
    """A listening socket, with what is known of the peers that come in by it."""

    __slots__ = ("address", "kind", "sock", "strangers", "tcp", "trusted")

    def __init__(self, sock: socket.socket, listen: Listen, table: Table) -> None:
        self.sock = sock
        self.kind = kind = listen.kind
        self.address = listen.address
        scheme = b"https" if kind == "tls" else b"http"
        self.strangers = Plans(_seen_by(kind, table, trusted=False), scheme=scheme, trusted=False)
        self.trusted = Plans(_seen_by(kind, table, trusted=True), scheme=scheme, trusted=True)
        self.tcp: TcpRoute | None = table.tcp.get(self.address) if kind == "tcp" else None
        """Where a layer 4 listener leads; the last known where the configuration no longer names it."""

    def load(self, table: Table) -> None:
        """Take a new generation."""
        self.strangers.load(_seen_by(self.kind, table, trusted=False))
        self.trusted.load(_seen_by(self.kind, table, trusted=True))
        if self.kind == "tcp":
            self.tcp = table.tcp.get(self.address, self.tcp)


def _seen_by(kind: Kind, table: Table, *, trusted: bool) -> Table:
    """Return the table as a listener of this kind sees it: where plain and TLS differ, and for which peers."""
    if kind == "plain" and table.match_plain is not None:
        return replace(table, match=table.match_plain.for_peers(trusted=trusted))
    if kind == "tls" and table.match_tls is not None:
        return replace(table, match=table.match_tls)
    return table


class Engine:
    """Moves requests in one process, on one event loop.

    Deadlines are attributes, looked at four times a second: no timer is ever made for a request.
    """

    table: Table
    limits: Limits

    def __init__(self, loop: asyncio.AbstractEventLoop, ids: Ids) -> None:
        """Nothing is served before the first `load`."""
        self.loop = loop
        poller = Poller(loop, partial(faults.handler_raised, self))
        self.add_reader = poller.add_reader
        self.add_writer = poller.add_writer
        self.remove_reader = poller.remove_reader
        self.remove_writer = poller.remove_writer
        self.after_batch = poller.after_batch
        self.next_id = ids.next_id
        self.span_id = ids.span_id
        self.scratch = memoryview(bytearray(RESPONSE_READ))
        """Where content is read into; whoever keeps some of it copies it before returning."""
        self.fills: dict[bytes, Fill] = {}
        """Fetches for the cache that others may join."""
        self.pipes: list[Pipe] = []
        """Empty pipes for splicing."""
        self.connections: set[Any] = set()
        """All open connections (arrivals, clients, upstreams, tunnels); each has `deadline` and `expired(now)`."""
        self.servers = 0
        """Those of them that are to upstream servers."""
        self.moved: set[Tunnel] = set()
        """Tunnels that relayed something since the last tick."""
        self.requests = 0
        """Exchanges begun."""
        self.finished = 0
        self.accepted = 0
        self.glitches = AddressGlitches()
        self.draining = False
        self._drained: asyncio.Future[None] | None = None
        self._drain_deadline = 0.0
        self._listeners: list[Listener] = []
        self._past_misses = 0
        """Memo misses of earlier generations."""

    # ---- configuration -----------------------------------------------------------------------------------------------

    def load(self, table: Table) -> None:
        """Swap the configuration. Exchanges under way end by the one they began with; no connection is touched."""
        self.table = table
        self.limits = table.limits
        self._past_misses = self.figures()[5]
        for listener in self._listeners:
            listener.load(table)

    def listen(self, sock: socket.socket, kind: Listen) -> None:
        """Accept connections on a listening socket."""
        sock.setblocking(False)
        if sock.family != socket.AF_UNIX:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # what it accepts inherits this
        listener = Listener(sock, kind, self.table)
        self._listeners.append(listener)
        self.add_reader(sock.fileno(), partial(self._accept, listener))

    def unlisten(self, sock: socket.socket) -> None:
        """Accept what is queued on `sock`, then close it; connections go on."""
        for listener in [one for one in self._listeners if one.sock is sock]:
            self.remove_reader(sock.fileno())
            while self._accept(listener):
                pass
            self._listeners.remove(listener)
            sock.close()

    # ---- connections -------------------------------------------------------------------------------------------------

    def _accept(self, listener: Listener) -> bool:
        """Accept what is there, within bounds; may there be more?"""
        for _ in range(_ACCEPTS):
            try:
                sock, address = listener.sock.accept()
            except OSError as error:
                if error.errno in _EXHAUSTED:
                    self.remove_reader(listener.sock.fileno())
                    self.loop.call_later(_REST, self._accept_again, listener)
                return False
            self.accepted += 1
            if len(self.connections) - self.servers >= self.limits.max_connections:
                sock.close()
                continue
            sock.setblocking(False)
            self._arrive(listener, sock, (address[0], address[1]) if isinstance(address, tuple) else ("unix:", 0))
        return True

    def _accept_again(self, listener: Listener) -> None:
        if listener in self._listeners:
            self.add_reader(listener.sock.fileno(), partial(self._accept, listener))

    def _arrive(self, listener: Listener, sock: socket.socket, peer: tuple[str, int]) -> None:
        if peer[0].startswith("::ffff:"):
            peer = (peer[0][7:], peer[1])
        table = self.table
        wanted = table.accept_proxy_protocol if listener.tcp is None else listener.tcp.accept_proxy_protocol
        proxied = wanted and (peer[0] == "unix:" or table.is_trusted(peer[0]))
        if listener.kind == "plain" and not proxied:
            self.settle(listener, sock, peer)
        else:
            Arrival(self, listener, sock, peer, proxied=proxied)

    def settle(self, listener: Listener, sock: socket.socket, peer: tuple[str, int]) -> Downstream:
        """Begin to serve HTTP on a connection."""
        client = Downstream(self, sock, peer, self.plans_for(listener, peer[0]), tls=listener.kind == "tls")
        self.connections.add(client)
        self.add_reader(client.fd, client.on_readable)
        return client

    def settle_http2(self, listener: Listener, sock: socket.socket, peer: tuple[str, int], tls_key: str | None) -> None:
        """Begin to serve HTTP/2 on a connection that agreed on it in its TLS handshake."""
        client = Downstream(self, sock, peer, self.plans_for(listener, peer[0]), tls=True)
        client.tls_key = tls_key
        self.connections.add(client)
        self.switch_to_http2(client, b"")

    def switch_to_http2(self, client: Downstream, data: bytes) -> None:
        """Serve HTTP/2 on a connection whose client begins with its preface `data` (RFC 9113 section 3)."""
        plans = client.plans.over_http2
        assert plans is not None
        if self._is_refused(client):
            client.send(REFUSAL)
            client.close()
            return
        peer, tls, tls_key, suffix = client.peer, client.tls, client.tls_key, client.suffix
        client.buffer = b""
        connection = Http2Downstream(self, client.take_socket(), peer, plans, tls=tls, tls_key=tls_key, suffix=suffix)
        if connection.sock is None:
            return  # the client was gone before our SETTINGS could be sent
        self.connections.add(connection)
        self.add_reader(connection.fd, connection.on_readable)
        if data:
            connection.received(data)

    def _is_refused(self, client: Downstream) -> bool:
        """Has the client's address asked too much in vain over HTTP/2?"""
        limit = self.limits.http2_address_glitches * GLITCH
        refused = limit > 0 and not client.plans.trusted and self.glitches.score(client.peer[0], monotonic()) > limit
        self.glitches.refused += refused
        return refused

    def plans_for(self, listener: Listener, ip: str) -> Plans:
        """Return the listener's plans for this kind of peer."""
        trusted = ip == "unix:" or self.table.is_trusted(ip)
        return listener.trusted if trusted else listener.strangers

    def client_behind(self, peer: str, chain: bytes) -> str:
        """Return the client that trusted proxies vouch for: the last address of the chain that is not one of them."""
        address = peer
        for part in reversed(chain.decode("latin-1").split(",")[-16:]):
            if address != "unix:" and not self.table.is_trusted(address):
                break
            candidate = _address(part.strip(" \t"))
            if candidate is None:
                break
            address = candidate
        return address

    # ---- time --------------------------------------------------------------------------------------------------------

    def tick(self, now: float) -> None:
        """End what is over its deadline (monotonic seconds). Called about four times a second."""
        for tunnel in self.moved:
            tunnel.moved(now)
        self.moved.clear()
        for connection in [one for one in self.connections if one.deadline < now]:
            connection.expired(now)
        if self._drained is not None and not self._drained.done():
            self._check_drained(now)

    def figures(self) -> tuple[int, int, int, int, int, int, int, int]:
        """Return open connections, exchanges under way, memo bytes, accepted connections, memo hits, memo misses,
        HTTP/2 connections refused, HTTP/2 requests never begun."""
        plans = [each for one in self._listeners for each in (one.strangers, one.trusted)]
        memos = [each.memo for one in plans for each in (one, one.over_http2) if each is not None]
        misses = sum(memo.misses for memo in memos) + self._past_misses
        size = sum(memo.size for memo in memos)
        return (
            len(self.connections),
            self.requests - self.finished,
            size,
            self.accepted,
            max(0, self.requests - misses),
            misses,
            self.glitches.refused,
            self.glitches.given_up,
        )

    def drain(self, deadline_seconds: float) -> asyncio.Future[None]:
        """Accept no more, let exchanges finish, close what is idle; done when all is closed or that time passed."""
        if self._drained is None:
            self._drained = self.loop.create_future()
            self._drain_deadline = monotonic() + deadline_seconds
            self.draining = True
            for listener in self._listeners:
                listener.strangers.drain()
                listener.trusted.drain()
            for listener in list(self._listeners):
                self.unlisten(listener.sock)
            self.tick(monotonic())
        return self._drained

    def _check_drained(self, now: float) -> None:
        late = now > self._drain_deadline
        for connection in list(self.connections):
            if late:
                connection.close()
            elif isinstance(connection, Downstream | Http2Downstream):
                connection.close_if_idle()
            elif isinstance(connection, Tunnel) and now > self._drain_deadline - _NOTICE:
                connection.go_away("edge-drain", "the worker stops")
        clients = (Downstream, Http2Downstream)
        if late or not any(isinstance(one, clients) or one.exchange is not None for one in self.connections):
            for connection in list(self.connections):
                connection.close()
            assert self._drained is not None
            self._drained.set_result(None)


def _address(text: str) -> str | None:
    """Return the IP address of an X-Forwarded-For entry, without brackets or port; None where it is none."""
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    for family in (socket.AF_INET, socket.AF_INET6):
        try:
            socket.inet_pton(family, text)
        except (OSError, ValueError):
            continue
        return text
    return None
