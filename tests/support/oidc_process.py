"""Starts the real provider (`oidc_provider.py`) on a free port, and speaks to its side door."""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
import sys
import time
import uuid
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

from jwcrypto.jwk import JWK
from jwcrypto.jwt import JWT

from support.edgewise_process import free_port, wait_until

_PATIENCE = 60.0
LOGOUT_EVENT = "http://schemas.openid.net/event/backchannel-logout"


class OidcProvider:
    """A running provider."""

    def __init__(self, directory: Path) -> None:
        self.port = free_port()
        self._key = JWK.generate(kty="RSA", size=2048)
        (directory / "key.pem").write_bytes(self._key.export_to_pem(private_key=True, password=None))
        script = Path(__file__).with_name("oidc_provider.py")
        with (directory / "provider.log").open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, str(script), str(self.port), str(directory)], stdout=log, stderr=log
            )
        try:
            wait_until(self._answers, "the provider answers", _PATIENCE)
        except AssertionError:
            self.stop()
            print((directory / "provider.log").read_text())
            raise

    def _answers(self) -> bool:
        """Does it answer? It makes its tables first."""
        assert self.process.poll() is None
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
            return True
        return False

    @property
    def issuer(self) -> str:
        """Return what it calls itself."""
        return f"http://localhost:{self.port}/o"

    def _tell(self, path: str, told: dict[str, Any]) -> dict[str, Any]:
        request = Request(f"http://127.0.0.1:{self.port}/{path}", json.dumps(told).encode(), method="POST")
        with urlopen(request, timeout=20) as answer:
            found: dict[str, Any] = json.load(answer)
            return found

    def register(
        self, client_id: str, site: str, secret: str | None = None, callback: str = "/oauth2/staff/callback"
    ) -> None:
        """Register a client whose logins come back to a site."""
        told: dict[str, Any] = {
            "client_id": client_id,
            "name": client_id,
            "redirect_uris": site + callback,
            "post_logout_redirect_uris": f"{site}/",
        }
        self._tell("register", told | ({"client_secret": secret} if secret is not None else {}))

    def change(self, **settings: Any) -> None:
        """Change settings of the provider."""
        self._tell("change", {"settings": settings})

    def revoke(self, user: str) -> None:
        """Revoke every refresh token of a user."""
        self._tell("change", {"revoke": user})

    def access_tokens(self) -> int:
        """Return how many access tokens there are."""
        count: int = self._tell("change", {})["access_tokens"]
        return count

    def logout_token(self, client_id: str, sub: str | None, **claims: Any) -> str:
        """Return a logout token, as the provider would sign one."""
        now = int(time.time())
        told = {"iss": self.issuer, "aud": client_id, "iat": now, "exp": now + 120, "jti": uuid.uuid4().hex}
        told |= {"sub": sub, "events": {LOGOUT_EVENT: {}}, **claims}
        head = {"alg": "RS256", "typ": "logout+jwt", "kid": self._key.thumbprint()}
        token = JWT(head, {name: value for name, value in told.items() if value is not None})
        token.make_signed_token(self._key)
        signed: str = token.serialize()
        return signed

    def stop(self) -> None:
        """End it."""
        self.process.kill()
        self.process.wait()
