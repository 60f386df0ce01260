"""An upstream server by script: it records the exact bytes it received and answers exactly the bytes it is told."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable, Sequence

from support.raw_http import PATIENCE, ClosedEarly, Reader, field_value

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
"""The answer where no other is given."""


class OriginConnection:
    """One connection edgewise made to the origin, as the script sees it."""

    def __init__(self, sock: socket.socket, index: int) -> None:
        self.sock = sock
        self.index = index
        """0 for the origin's first connection."""
        self.reader = Reader(sock)

    @property
    def received(self) -> bytes:
        """Every byte that arrived so far."""
        return bytes(self.reader.received)

    def read_head(self) -> bytes:
        """Read a request head through its empty line."""
        return self.reader.until(b"\r\n\r\n")

    def read_body(self, head: bytes) -> bytes:
        """Read the content that `head` announces, as framed on the wire."""
        if (field_value(head, b"transfer-encoding") or b"").lower() == b"chunked":
            return self.reader.chunked()[1]
        return self.reader.exactly(int(field_value(head, b"content-length") or 0))

    def read_request(self) -> bytes:
        """Read one whole request and return its bytes."""
        head = self.read_head()
        return head + self.read_body(head)

    def send(self, data: bytes) -> None:
        """Send exactly `data`."""
        self.sock.sendall(data)

    def close(self) -> None:
        """Close the connection, so that the peer sees its end."""
        with contextlib.suppress(OSError):
            self.sock.shutdown(socket.SHUT_RDWR)
        self.sock.close()

    def reset(self) -> None:
        """Close the connection with a TCP reset."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
        self.sock.close()


Script = Callable[[OriginConnection], None]


class Origin:
    """A listening origin. `script` is the answer to each request, a list of answers in turn (the last one repeats),
    or a function that is given each connection in a thread of its own."""

    def __init__(
        self,
        script: bytes | Sequence[bytes] | Script = OK,
        *,
        tls: ssl.SSLContext | None = None,
        unix: str | None = None,
        port: int = 0,
    ) -> None:
        self.listener = socket.socket(socket.AF_UNIX if unix else socket.AF_INET, socket.SOCK_STREAM)
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.listener.bind(unix or ("127.0.0.1", port))
        self.listener.listen(128)
        self.port: int = 0 if unix else self.listener.getsockname()[1]
        self.address = f"unix:{unix}" if unix else f"127.0.0.1:{self.port}"
        """As written in the configuration."""
        self.tls = tls
        self.errors: list[BaseException] = []
        """What a function script raised, apart from the peer leaving."""
        self._lock = threading.Lock()
        self.connections: list[OriginConnection] = []
        self.requests: list[bytes] = []
        """Whole requests that arrived, in order (not kept for function scripts)."""
        self.play(script)
        threading.Thread(target=self._accept, daemon=True).start()

    def play(self, script: bytes | Sequence[bytes] | Script) -> None:
        """Begin anew with another script: close every connection and forget what was received."""
        before = self.connections
        with self._lock:
            self.connections, self.requests = [], []
            self._answers: Sequence[bytes] = (
                [] if callable(script) else [script] if isinstance(script, bytes) else script
            )
            self._script: Script = script if callable(script) else self._answer_each
        for connection in before:
            connection.close()

    @property
    def received(self) -> bytes:
        """Every byte of every connection, in the order the connections were made."""
        return b"".join(connection.received for connection in self.connections)

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock: socket.socket) -> None:
        try:
            sock.settimeout(PATIENCE * 4)
            if self.tls:
                sock = self.tls.wrap_socket(sock, server_side=True)
            with self._lock:
                connection = OriginConnection(sock, len(self.connections))
                self.connections.append(connection)
            self._script(connection)
            connection.close()
        except (OSError, ClosedEarly):
            sock.close()
        except BaseException as error:
            self.errors.append(error)
            sock.close()

    def _answer_each(self, connection: OriginConnection) -> None:
        while True:
            request = connection.read_request()
            with self._lock:
                answer = self._answers[min(len(self.requests), len(self._answers) - 1)]
                self.requests.append(request)
            connection.send(answer)

    def stop(self) -> None:
        """Stop listening and close every connection."""
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        for connection in list(self.connections):
            connection.close()
