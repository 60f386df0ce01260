"""A connection between accept and its first request: PROXY header, ClientHello, TLS handshake.

Bytes are peeked and left in the kernel until it is known whose they are; SO_RCVLOWAT keeps a half-sent header from
waking the worker again and again.
"""

from __future__ import annotations

import socket
from time import monotonic
from typing import TYPE_CHECKING, Any

from edgewise.protocols import proxy_protocol, tls_client_hello
from edgewise.protocols.errors import ProtocolError
from edgewise.proxy import lifecycle
from edgewise.proxy.downstream import Downstream
from edgewise.proxy.plans import tunnel_plan
from edgewise.proxy.wire import WOULD_BLOCK, handshake

if TYPE_CHECKING:
    from edgewise.proxy.engine import Engine, Listener

_PEEK = 20000
_CHALLENGE = (b"acme-tls/1",)
"""What an ACME authority offers, and nothing else (RFC 8737 section 3)."""
_PAUSE = 0.05
"""Seconds between two looks at a connection that wakes the worker without bringing anything."""


class Arrival:
    """One accepted connection on its way to become a `Downstream` or a tunnel."""

    __slots__ = (
        "_challenge", "_engine", "_listener", "_lowest", "_peer", "_proxied", "_seen", "_sock", "_tls_key", "deadline",
        "exchange", "fd",
    )  # fmt: skip

    def __init__(
        self, engine: Engine, listener: Listener, sock: socket.socket, peer: tuple[str, int], *, proxied: bool
    ):
        self._engine = engine
        self._listener = listener
        self._sock: Any = sock
        self._peer = peer
        self._proxied = proxied
        self._seen = 0
        """Bytes there were when last looked at."""
        self._lowest = 1
        """SO_RCVLOWAT as it is set."""
        self._tls_key: str | None = None
        self._challenge = False
        """An ACME authority looks for the answer to a challenge."""
        self.exchange = None
        self.fd = sock.fileno()
        self.deadline = monotonic() + engine.limits.header_timeout
        engine.connections.add(self)
        if not proxied and self._unread:
            self._tunnel(None)
        else:
            engine.add_reader(self.fd, self._on_bytes)

    @property
    def _unread(self) -> bool:
        """Is this a layer 4 session whose first bytes decide nothing? The server may be the one who speaks first."""
        return self._listener.tcp is not None and self._listener.tcp.by_name is None

    def _on_bytes(self) -> None:
        """Look at what is there; consume only a whole PROXY header."""
        try:
            data = self._sock.recv(_PEEK, socket.MSG_PEEK)
        except WOULD_BLOCK:
            return
        except OSError:
            data = b""
        if not data:
            self.close()
            return
        try:
            enough = self._understand(data)
        except ProtocolError:
            self.close()
            return
        if not enough and self._sock is not None:
            if len(data) == self._seen:  # woken for nothing new: by an end of file, or where SO_RCVLOWAT does nothing
                self._engine.remove_reader(self.fd)
                self._engine.loop.call_later(_PAUSE, self._look_again)
            self._seen = len(data)
            self._wake_from(len(data) + 1)

    def _wake_from(self, size: int) -> None:
        """Be told once so many bytes are there."""
        if size != self._lowest:
            self._lowest = size
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, size)

    def _look_again(self) -> None:
        if self._sock is not None:
            self._engine.add_reader(self.fd, self._on_bytes)

    def _understand(self, data: bytes) -> bool:
        if self._proxied:
            found = proxy_protocol.decode(data)
            if found is None:
                return False
            header, size = found
            self._sock.recv(size)
            self._proxied = False
            if isinstance(header.source, tuple):
                self._peer = header.source
            self._seen = 0
            data = data[size:]
            if not data and not self._unread:
                self._wake_from(1)
                return True
        kind = self._listener.kind
        if kind == "plain":
            self._settle(tls=False)
            return True
        if self._unread:
            self._tunnel(None)
            return True
        hello = tls_client_hello.peek(data)
        if hello is None:
            return False
        if kind == "tcp":
            self._tunnel(hello.server_name)
        else:
            self._begin_tls(hello.server_name, hello.alpn)
        return True

    def _begin_tls(self, server_name: str | None, protocols: tuple[bytes, ...]) -> None:
        """Choose the settings by name before the handshake: client certificates and versions hold (see docs/tls.md)."""
        contexts = self._engine.table.contexts
        if contexts is None:
            self.close()
            return
        self._tls_key = contexts.key(server_name)
        self._challenge = protocols == _CHALLENGE
        context = contexts.challenge(server_name) if self._challenge else contexts.choose(server_name)
        if context is None:
            self.close()
            return
        self._wake_from(1)
        try:
            self._sock = context.wrap_socket(self._sock, server_side=True, do_handshake_on_connect=False)
        except (OSError, ValueError):
            self.close()
            return
        self._handshake()

    def _handshake(self) -> None:
        self._engine.remove_writer(self.fd)
        try:
            state = handshake(self._sock)
        except OSError:
            self.close()
            return
        if state == 1:
            self._engine.add_reader(self.fd, self._handshake)
        elif state == 2:
            self._engine.remove_reader(self.fd)
            self._engine.add_writer(self.fd, self._handshake)
        elif self._challenge:  # the handshake was the answer: nothing is said on such a connection
            self.close()
        else:
            self._settle(tls=True)

    def _settle(self, *, tls: bool) -> None:
        """The connection speaks HTTP from here on.

        After a handshake nothing is read at once: what the client asks mostly follows in a packet of its own, and
        OpenSSL takes only whole records from the socket, so the poll tells of one that is there.
        """
        self._wake_from(1)
        sock = self._part()
        if not tls:
            self._engine.settle(self._listener, sock, self._peer).on_readable()
        elif sock.selected_alpn_protocol() == "h2":
            self._engine.settle_http2(self._listener, sock, self._peer, self._tls_key)
        else:
            self._engine.settle(self._listener, sock, self._peer).tls_key = self._tls_key

    def _tunnel(self, server_name: str | None) -> None:
        """Layer 4: choose an upstream and join the two (SNI passthrough where names are given)."""
        route = self._listener.tcp
        if route is None:
            self.close()
            return
        named = route.by_name(server_name) if route.by_name is not None and server_name else None
        group = named or route.default
        if group is None:
            self.close()
            return
        self._wake_from(1)
        sock = self._detach()
        client = Downstream(
            self._engine, sock, self._peer, self._engine.plans_for(self._listener, self._peer[0]), tls=False
        )
        self._engine.connections.add(client)
        lifecycle.begin_tunnel(client, tunnel_plan(route.route), group)

    def _part(self) -> Any:
        """Give the socket to whom it is for, who takes over its reader too."""
        sock, self._sock = self._sock, None
        self._engine.connections.discard(self)
        return sock

    def _detach(self) -> Any:
        self._engine.remove_reader(self.fd)
        return self._part()

    def expired(self, now: float) -> None:
        """No whole header or handshake in time."""
        self.close()

    def close(self, *, cut: bool = False) -> None:
        """Close now; idempotent."""
        if self._sock is not None:
            self._engine.remove_writer(self.fd)
            self._detach().close()
