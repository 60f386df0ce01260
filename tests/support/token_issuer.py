"""An issuer of tokens by a library that is not ours (joserfc), and a server that tells its keys."""

from __future__ import annotations

import json
import threading
import time
import warnings
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from joserfc import jwt
from joserfc.jwk import ECKey, Key, OctKey, OKPKey, RSAKey

ISSUER = "https://login.example"
AUDIENCE = "https://api.example"


def make_key(kind: str, key_id: str | None = None) -> Key:
    """Return a new private key of a kind: RSA, P-256, P-384, P-521, Ed25519, Ed448, oct."""
    parameters: Any = {"kid": key_id} if key_id is not None else {}
    if kind == "RSA":
        return RSAKey.generate_key(2048, parameters)
    if kind == "oct":
        return OctKey.generate_key(512, parameters)
    if kind.startswith("P-"):
        return ECKey.generate_key(kind, parameters)
    return OKPKey.generate_key(kind, parameters)


def claims(**changes: Any) -> dict[str, Any]:
    """Return good claims; a change to None takes one away."""
    now = int(time.time())
    found = {"iss": ISSUER, "aud": AUDIENCE, "sub": "alice", "iat": now, "nbf": now, "exp": now + 600, **changes}
    return {name: value for name, value in found.items() if value is not None}


def mint(key: Key, algorithm: str, head: Mapping[str, Any] | None = None, **changes: Any) -> bytes:
    """Return a token with `claims(**changes)`."""
    members = {"alg": algorithm, "typ": "JWT", **({"kid": key.kid} if key.kid else {}), **(head or {})}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the old name EdDSA, which everybody uses
        return jwt.encode(members, claims(**changes), key, algorithms=[algorithm]).encode()


def key_set(*keys: Key) -> bytes:
    """Return the public halves as a JWK Set."""
    return json.dumps({"keys": [key.as_dict(private=False) for key in keys]}).encode()


class KeyServer:
    """Tells keys over HTTP on this machine; what it answers can be changed at any time."""

    def __init__(self, *keys: Key, cache_control: str = "max-age=600") -> None:
        self.keys = keys
        self.status = 200
        self.fields = {"Cache-Control": cache_control}
        self.asked = 0
        self.last_asked = 0.0
        self.delay = threading.Event()
        """Clear: answers are held back until it is set."""
        self.delay.set()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.issuer = f"http://127.0.0.1:{self._server.server_port}"
        self.url = f"{self.issuer}/jwks"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = key_set(*server.keys)
                if self.path == "/.well-known/openid-configuration":
                    body = json.dumps({"issuer": server.issuer, "jwks_uri": server.url}).encode()
                else:
                    server.asked += 1
                    server.last_asked = time.monotonic()
                    server.delay.wait(30)
                self.send_response(server.status)
                for name, value in {**server.fields, "Content-Length": str(len(body))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        return Handler

    def stop(self) -> None:
        """Answer nobody any more."""
        self.delay.set()
        self._server.shutdown()
        self._server.server_close()
