"""A WebSocket load client: `python -m bench.websocket_load PORT SECONDS CONNECTIONS`; one JSON line at the end.

Each connection sends a 64-byte message, waits for the echo, and sends the next.
"""

from __future__ import annotations

import json
import os
import select
import socket
import sys
import time

from bench.load import percentile
from bench.websocket import frame, handshake

PAYLOAD = bytes(range(48, 112))


def connect(port: int) -> socket.socket:
    """An open WebSocket; raises ConnectionError when the answer is not 101."""
    sock = socket.create_connection(("127.0.0.1", port), 10)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.sendall(handshake(f"127.0.0.1:{port}", "/echo/ws"))
    answer = b""
    while b"\r\n\r\n" not in answer:
        data = sock.recv(4096)
        if not data:
            raise ConnectionError(f"handshake ended early: {answer!r}")
        answer += data
    if not answer.startswith(b"HTTP/1.1 101"):
        raise ConnectionError(f"no upgrade: {answer!r}")
    return sock


def run(port: int, seconds: float, connections: int) -> dict[str, float]:
    """Echoes for `seconds`; returns counts and latencies."""
    message = frame(PAYLOAD, mask=os.urandom(4))
    expected = len(frame(PAYLOAD))
    poll = select.epoll()
    sockets = {sock.fileno(): sock for sock in (connect(port) for _ in range(connections))}
    left = dict.fromkeys(sockets, expected)
    sent: dict[int, float] = {}
    latencies: list[float] = []
    failed = 0
    began = time.perf_counter()
    for number, sock in sockets.items():
        poll.register(number, select.EPOLLIN)
        sock.send(message)
        sent[number] = time.perf_counter()
    deadline = began + seconds
    now = began
    while now < deadline:
        for number, _ in poll.poll(1):
            data = sockets[number].recv(4096)
            now = time.perf_counter()
            left[number] -= len(data)
            if not data or left[number] < 0:
                failed += 1
                poll.unregister(number)
            elif left[number] == 0:
                latencies.append(now - sent[number])
                left[number] = expected
                sockets[number].send(message)
                sent[number] = now
        now = time.perf_counter()
    for sock in sockets.values():
        sock.close()
    latencies.sort()
    return {"count": len(latencies), "failed": failed, "seconds": now - began, "p99": percentile(latencies, 0.99)}


if __name__ == "__main__":
    print(json.dumps(run(int(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3]))))
