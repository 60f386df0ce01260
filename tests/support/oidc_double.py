"""A provider that can be told what to say, and a browser in front of the logins of one client; no sockets."""

from __future__ import annotations

import asyncio
import base64
import functools
import hashlib
import json
import time
import uuid
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

from jwcrypto.jwk import JWK
from jwcrypto.jwt import JWT

from edgewise.config.oidc import Oidc
from edgewise.contracts.exchange import Exchange
from edgewise.contracts.plan import Answer, Plan, Route
from edgewise.contracts.policies import Fetched, FetchError
from edgewise.gateway.oidc.client import Client
from edgewise.gateway.oidc.service import OidcLogins
from edgewise.http.head import Field, plain_head
from edgewise.sessions.gateway import HeldSessions
from edgewise.sessions.logins import HeldLogins
from edgewise.sessions.settings import SessionSettings, StateSettings
from edgewise.testing.state import MemoryStateEngine
from support.manual_clock import ManualClock

ISSUER = "https://login.example"
KEY = JWK.generate(kty="EC", crv="P-256", kid="one")
OTHER_KEY = JWK.generate(kty="EC", crv="P-256", kid="one")
CLIENT = "edge"
SECRET = "s3cret"


def in_a_loop(test: Callable[..., Any]) -> Callable[..., None]:
    """Run a test on an event loop of its own."""

    @functools.wraps(test)
    def run(*args: Any, **options: Any) -> None:
        asyncio.run(test(*args, **options))

    return run


def signed(claims: dict[str, Any], key: JWK = KEY, algorithm: str = "ES256", **head: Any) -> str:
    token = JWT({"alg": algorithm, "kid": "one", **head}, claims)
    token.make_signed_token(key)
    text: str = token.serialize()
    return text


def unsigned(claims: dict[str, Any], algorithm: str = "none") -> str:
    parts = [json.dumps(part).encode() for part in ({"alg": algorithm, "kid": "one"}, claims)]
    return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts) + "."


def half_hash(token: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(token.encode()).digest()[:16]).rstrip(b"=").decode()


class Provider:
    """A provider that can be told what to say: a `contracts.policies.Fetch`."""

    def __init__(self) -> None:
        self.document: dict[str, Any] = {
            "issuer": ISSUER,
            "authorization_endpoint": f"{ISSUER}/authorize?tenant=1",
            "token_endpoint": f"{ISSUER}/token",
            "userinfo_endpoint": f"{ISSUER}/userinfo",
            "jwks_uri": f"{ISSUER}/keys",
            "end_session_endpoint": f"{ISSUER}/logout",
        }
        self.claims: dict[str, Any] = {}
        self.sign: Callable[[dict[str, Any]], str] = signed
        self.answer: dict[str, Any] = {}
        self.userinfo: dict[str, Any] = {"sub": "4711"}
        self.status = 200
        self.down = False
        self.nonce = ""
        self.requests: list[tuple[str, str, dict[str, str]]] = []
        self.fields: dict[bytes, bytes] = {}

    async def __call__(
        self,
        method: str,
        url: str,
        *,
        fields: Any = (),
        content: bytes = b"",
        timeout: float = 5.0,
        most: int = 1 << 20,
    ) -> Fetched:
        await asyncio.sleep(0)
        if self.down:
            raise FetchError("it is down")
        form = {name: values[0] for name, values in parse_qs(content.decode()).items()}
        self.requests.append((method, url, form))
        if url.endswith("/token"):
            self.fields = dict(fields)
        if url == f"{ISSUER}/.well-known/openid-configuration":
            return self._json(self.document)
        if url == f"{ISSUER}/keys":
            return self._json({"keys": [json.loads(KEY.export_public())]})
        if url == f"{ISSUER}/userinfo":
            return self._json(self.userinfo)
        assert url == f"{ISSUER}/token"
        if self.status != 200:
            return self._json({"error": "invalid_grant"}, self.status)
        now = int(time.time())
        claims = {"iss": ISSUER, "aud": CLIENT, "sub": "4711", "iat": now, "exp": now + 300, "nonce": self.nonce}
        claims = {name: value for name, value in (claims | self.claims).items() if value is not None}
        told = {
            "access_token": "access-1",
            "token_type": "Bearer",
            "expires_in": 3600,
            "refresh_token": "refresh-1",
            "id_token": self.sign(claims),
        }
        return self._json({name: value for name, value in (told | self.answer).items() if value is not None})

    @staticmethod
    def _json(told: Any, status: int = 200) -> Fetched:
        return Fetched(status, ((b"content-type", b"application/json"),), json.dumps(told).encode())


class Content:
    """What a request brought."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    def gather(self, most: int, policy: str) -> bytes:
        """Return it."""
        assert len(self._content) <= most
        return self._content


class Browser:
    """One browser, in front of the logins of one client."""

    def __init__(self, provider: Provider, *, sealed: bool = False, engine: bool = True, **spec: Any) -> None:
        """`sealed`: sessions are in the cookie; `engine`: there is one."""
        self.provider = provider
        self.cookies: dict[str, str] = {}
        if sealed:
            settings = SessionSettings(
                kind="stateless",
                state=StateSettings() if engine else None,
                namespace="gateway",
                secrets=("s" * 32,),
            )
        else:
            settings = SessionSettings(namespace="gateway")
        self.engine = MemoryStateEngine()

        async def opening() -> MemoryStateEngine:
            return self.engine

        self.held = held = HeldSessions(settings, opening if engine else None, waits=False)
        client = Client("staff", Oidc(issuer=ISSUER, client_id=CLIENT, **spec), SECRET)
        self.clock = ManualClock(time.time())
        self.logins = OidcLogins(client, HeldLogins(held, opening if engine else None), provider, self.clock)
        self.paths = [path for path, _ in self.logins.endpoints]
        self.way = self.logins.way(hides=True)
        self.failure = ""

    def exchange(self, target: str, *fields: tuple[bytes, bytes], method: bytes = b"GET") -> Exchange:
        path, _, query = target.partition("?")
        sent = list(fields)
        if self.cookies:
            sent.append((b"cookie", "; ".join(f"{name}={value}" for name, value in self.cookies.items()).encode()))
        lines = tuple(Field(name, value, b"%b: %b\r\n" % (name.title(), value)) for name, value in sent)
        head = plain_head(method, path.encode(), query.encode() if query else None, b"app.example", lines)
        plan = Plan(Route("pages", 0), head)
        plan.head = b"GET / HTTP/1.1\r\n" + b"".join(field.line for field in lines)
        return Exchange(None, plan, 0.0, "0" * 32)

    async def ask(self, target: str, *fields: tuple[bytes, bytes], method: bytes = b"GET") -> Answer:
        exchange = self.exchange(target, *fields, method=method)
        answer = await dict(self.logins.endpoints)[target.partition("?")[0]](exchange)  # type: ignore[misc]
        assert isinstance(answer, Answer)
        self.failure = exchange.failure
        for name, value in answer.fields:
            if name == b"Set-Cookie":
                key, _, rest = value.decode().partition("=")
                assert "; HttpOnly; SameSite=Lax" in rest
                assert "; Secure" in rest
                self.cookies[key] = rest.partition(";")[0]
                if "Max-Age=0" in rest:
                    del self.cookies[key]
        return answer

    async def tell(self, token: str, content_type: bytes = b"application/x-www-form-urlencoded") -> int:
        """Hand in a logout token; return the status."""
        exchange = self.exchange(self.paths[3], (b"content-type", content_type), method=b"POST")
        exchange.body = Content(urlencode({"logout_token": token}).encode())
        answer = await self.logins.endpoints[3][1](exchange)  # type: ignore[misc]
        assert isinstance(answer, Answer)
        self.failure = exchange.failure
        return answer.status

    async def begin(self, back: str = "/") -> dict[str, str]:
        """Begin a login; return what the provider is asked."""
        answer = await self.ask("/oauth2/staff/login?" + urlencode({"next": back}))
        assert answer.status == 303, self.failure
        asked = {name: values[0] for name, values in parse_qs(urlsplit(location(answer)).query).items()}
        self.provider.nonce = asked["nonce"]
        return asked

    async def finish(self, **given: str) -> Answer:
        return await self.ask("/oauth2/staff/callback?" + urlencode(given))

    async def log_in(self, **given: str) -> Answer:
        """Do all of it."""
        asked = await self.begin()
        return await self.finish(code="code-1", state=asked["state"], **given)

    async def verified(self, *fields: tuple[bytes, bytes]) -> Any:
        found = self.way.authenticate(self.exchange("/page", *fields))
        return await found if asyncio.iscoroutine(found) else found


def logout_token(sign: Callable[[dict[str, Any]], str] = signed, **changes: Any) -> str:
    """Return a logout token; a claim that is None is left out."""
    now = int(time.time())
    claims = {"iss": ISSUER, "aud": CLIENT, "iat": now, "exp": now + 120, "jti": uuid.uuid4().hex, "sub": "4711"}
    claims |= {"events": {"http://schemas.openid.net/event/backchannel-logout": {}}, **changes}
    return sign({name: value for name, value in claims.items() if value is not None})


def location(answer: Answer) -> str:
    return dict(answer.fields)[b"Location"].decode()
