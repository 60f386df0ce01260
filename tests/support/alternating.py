"""A TCP forwarder that leads each connection to the next of several ports: a balancer in front of nodes."""

from __future__ import annotations

import contextlib
import itertools
import socket
import threading
from collections.abc import Sequence


class Alternating:
    """Listens on `port`; one of `targets` that refuses is passed over.

    `targets` may be replaced at any time. `counts` tells how many connections each port got.
    """

    def __init__(self, targets: Sequence[int]) -> None:
        self.targets = list(targets)
        self.counts = dict.fromkeys(targets, 0)
        self._next = itertools.count()
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        while True:
            try:
                client, _address = self._listening.accept()
            except OSError:
                return
            server = self._connect()
            if server is None:
                client.close()
                continue
            for pair in ((client, server), (server, client)):
                threading.Thread(target=_pass_on, args=pair, daemon=True).start()

    def _connect(self) -> socket.socket | None:
        targets = self.targets
        for _ in targets:
            target = targets[next(self._next) % len(targets)]
            with contextlib.suppress(OSError):
                server = socket.create_connection(("127.0.0.1", target), 5.0)
                server.settimeout(None)
                self.counts[target] += 1
                return server
        return None

    def close(self) -> None:
        """Accept nothing more."""
        with contextlib.suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()


def _pass_on(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
    for sock in (source, sink):
        with contextlib.suppress(OSError):
            sock.shutdown(socket.SHUT_RDWR)
    sock.close()
