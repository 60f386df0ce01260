"""Free ports and small socket helpers."""

from __future__ import annotations

import contextlib
import http.client
import random
import socket


def free_port() -> int:
    """A free TCP port below the ephemeral range, so that no outgoing connection of the load can take it."""
    while True:
        port = random.randrange(20000, 32000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


def listening(port: int) -> bool:
    """Whether a connection to the port is accepted."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def answering(port: int) -> bool:
    """Whether a GET is answered with 200: some proxies listen before they have read their routes."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
    with contextlib.closing(connection):
        try:
            connection.request("GET", "/hello")
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
