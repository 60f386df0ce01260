"""A TCP proxy that a test can cut, or have go silent, between a client and a real server."""

from __future__ import annotations

import contextlib
import selectors
import socket
import threading


class CuttableProxy:
    """Passes bytes on to 127.0.0.1:`target`; `port` is where it listens."""

    def __init__(self, target: int) -> None:
        self._target = target
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listening, selectors.EVENT_READ)
        self._peers: dict[socket.socket, socket.socket] = {}
        self._cut = self._silent = self._closed = False
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def cut(self) -> None:
        """Reset every connection, and new ones at once, until `heal`."""
        self._cut = True

    def silence(self) -> None:
        """Pass nothing on, as a network that drops packets, until `heal`; connections stay open."""
        self._silent = True

    def heal(self) -> None:
        """Pass bytes on again; connections that were silenced are reset, as their bytes are lost."""
        if self._silent:
            self._cut = True
            while self._peers:
                threading.Event().wait(0.01)
        self._cut = self._silent = False

    def _run(self) -> None:
        while not self._closed:
            events = self._selector.select(0.02)
            if self._cut:
                for each in list(self._peers):
                    self._drop(each)
            for key, _events in events:
                assert isinstance(key.fileobj, socket.socket)
                sock = key.fileobj
                if sock is self._listening:
                    self._accept()
                elif sock in self._peers and not self._silent:
                    self._pass_on(sock)
            if self._silent:
                threading.Event().wait(0.01)

    def _accept(self) -> None:
        client, _address = self._listening.accept()
        if self._cut:
            client.close()
            return
        try:
            server = socket.create_connection(("127.0.0.1", self._target), 1.0)
        except OSError:
            client.close()
            return
        for sock, peer in ((client, server), (server, client)):
            self._peers[sock] = peer
            self._selector.register(sock, selectors.EVENT_READ)

    def _pass_on(self, sock: socket.socket) -> None:
        try:
            data = sock.recv(65536)
            if data:
                self._peers[sock].sendall(data)
                return
        except OSError:
            pass
        self._drop(sock)

    def _drop(self, sock: socket.socket) -> None:
        peer = self._peers.pop(sock, None)
        if peer is None:
            return
        self._peers.pop(peer, None)
        for each in (sock, peer):
            with contextlib.suppress(KeyError, ValueError):
                self._selector.unregister(each)
            each.close()

    def close(self) -> None:
        """End."""
        self._closed = True
        self._thread.join()
        for sock in list(self._peers):
            self._drop(sock)
        self._selector.close()
        self._listening.close()
