"""An ACME authority that refuses orders, over HTTPS on loopback: for answers that a real one gives too rarely."""

from __future__ import annotations

import json
import ssl
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from edgewise.tls.development import DevelopmentAuthority


class FakeAuthority:
    """Knows every account, and answers each order with `status`, `problem` and the fields `headers`."""

    def __init__(self, directory: Path, status: int, problem: dict[str, Any], headers: dict[str, str]) -> None:
        directory.mkdir(exist_ok=True)
        authority = DevelopmentAuthority("the fake authority's own")
        self.ca_file = authority.write(directory, "fake-ca")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*authority.issue(["127.0.0.1"]).write(directory, "fake"))
        self.orders = 0
        """New orders that were asked for."""
        self._refusal = (status, problem, headers)
        fake = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                names = ("newNonce", "newAccount", "newOrder")
                self.reply(200, {name: f"{fake.base}/{name}" for name in names}, {})

            def do_HEAD(self) -> None:
                self.reply(200, None, {})

            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["Content-Length"]))
                if self.path == "/newOrder":
                    fake.orders += 1
                    self.reply(*fake._refusal)
                else:
                    self.reply(200, {"status": "valid"}, {"Location": f"{fake.base}/account/1"})

            def reply(self, status: int, content: Any, headers: dict[str, str]) -> None:
                body = b"" if content is None else json.dumps(content).encode()
                self.send_response(status)
                for name, value in {"Replay-Nonce": "bm9uY2U", "Content-Length": str(len(body)), **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *arguments: Any) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.base = f"https://127.0.0.1:{self._server.server_address[1]}"
        self.url = f"{self.base}/directory"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def stop(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()
