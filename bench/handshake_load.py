"""A client that opens TLS connections: `python -m bench.handshake_load PORT SECONDS full|resumed`; one JSON line at the
end.

Each of a few threads connects, makes one request for /edge with `Connection: close`, reads the answer, and connects
again; with `resumed` it offers the session of its last connection (TLS 1.3 sends sessions after the handshake, so
something has to be read). A connection that should have been resumed and was not counts as failed, and the other way
round. OpenSSL does the work, so the threads hold the interpreter little.
"""

from __future__ import annotations

import json
import socket
import ssl
import sys
import threading
import time
from collections.abc import Callable

from bench.arena import BODY
from bench.load import percentile

THREADS = 8
REQUEST = b"GET /edge HTTP/1.1\r\nHost: shop.example.com\r\nConnection: close\r\n\r\n"


def connect(
    port: int, context: ssl.SSLContext, session: ssl.SSLSession | None
) -> tuple[bool, bool, ssl.SSLSession | None]:
    """One connection: was it answered with 200, was its session resumed, and the session for the next."""
    with context.wrap_socket(
        socket.create_connection(("127.0.0.1", port), 10), server_hostname="shop.example.com", session=session
    ) as sock:
        sock.sendall(REQUEST)
        answer = piece = sock.recv(4096)
        while piece and not answer.endswith(BODY.encode()):
            piece = sock.recv(4096)
            answer += piece
        return answer.startswith(b"HTTP/1.1 200"), bool(sock.session_reused), sock.session


class Tally:
    """What the threads did."""

    def __init__(self) -> None:
        self.latencies: list[float] = []
        self.failed = 0


def repeat(port: int, resume: bool, tally: Tally, running: Callable[[], bool]) -> None:
    """Connects again and again while `running`."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    session = connect(port, context, None)[2] if resume else None
    while running():
        began = time.perf_counter()
        try:
            answered, resumed, next_session = connect(port, context, session)
        except OSError:
            tally.failed += 1
            continue
        if answered and resumed == resume:
            tally.latencies.append(time.perf_counter() - began)
        else:
            tally.failed += 1
        session = next_session if resume else None


def run(port: int, seconds: float, resume: bool) -> dict[str, float]:
    """Connects for `seconds`; returns counts and latencies."""
    tally = Tally()
    began = time.perf_counter()
    deadline = began + seconds
    threads = [
        threading.Thread(target=repeat, args=(port, resume, tally, lambda: time.perf_counter() < deadline))
        for _ in range(THREADS)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    took = time.perf_counter() - began
    latencies = sorted(tally.latencies)
    return {"count": len(latencies), "failed": tally.failed, "seconds": took, "p99": percentile(latencies, 0.99)}


if __name__ == "__main__":
    print(json.dumps(run(int(sys.argv[1]), float(sys.argv[2]), sys.argv[3] == "resumed")))
