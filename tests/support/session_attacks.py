"""Attacks on sessions, each against an app behind the ASGI middleware on the embedded engine."""

from __future__ import annotations

import asyncio
import base64
import inspect
import os
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from edgewise.contrib.asgi import SessionMiddleware
from edgewise.sessions import SessionSettings, SessionTooLarge, StateSettings
from support.state_servers import SqliteServer

HOST = "shop.example"
OLD, NEW = "o" * 32, "n" * 32


def _pem() -> str:
    return Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


OLD_KEY, NEW_KEY = _pem(), _pem()


class Reply(NamedTuple):
    """What the app answered."""

    status: int
    user: str
    """Who the app took the client for."""
    keys: str
    set_cookies: list[str]

    @property
    def set_cookie(self) -> str:
        """The field that sets the session's cookie, "" for none."""
        return self.set_cookies[0] if self.set_cookies else ""

    @property
    def cookie(self) -> str:
        """The cookies as the client sends them: one, of JWT sessions two."""
        return "; ".join(field.partition(";")[0] for field in self.set_cookies)

    @property
    def token(self) -> str:
        """The first cookie's value."""
        return self.set_cookie.partition(";")[0].partition("=")[2]


class Site:
    """An app with /login, /logout, /write, /large, /revoke and /, and its settings."""

    def __init__(self, settings: SessionSettings) -> None:
        self.settings = settings
        self.app = SessionMiddleware(self._app, settings)

    def with_settings(self, **changes: Any) -> Site:
        """Return another app on the same engine."""
        return Site(replace(self.settings, **changes))

    @property
    def name(self) -> str:
        return self.settings.cookie

    async def _app(self, scope: Any, receive: Any, send: Any) -> None:
        session = scope["session"]
        match scope["path"]:
            case "/login":
                session.login("victim")
            case "/logout":
                session.logout()
            case "/write":
                session["cart"] = ["thing"]
            case "/large":
                session["large"] = os.urandom(60_000).hex()
            case "/revoke":
                await scope["edgewise.sessions"].revoke("victim")
        body = f"{session.user}|{','.join(session)}".encode()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": body})

    async def ask(self, path: str, *cookies: str, host: str = HOST, authorization: str = "") -> Reply:
        """Make a request; each of `cookies` is a Cookie field."""
        sent: list[Any] = []
        headers = [(b"host", host.encode()), *((b"cookie", cookie.encode("latin-1")) for cookie in cookies if cookie)]
        if authorization:
            headers.append((b"authorization", authorization.encode("latin-1")))

        async def send(message: Any) -> None:
            sent.append(message)

        scope = {"type": "http", "method": "GET", "path": path, "headers": headers}
        await self.app(scope, lambda: None, send)  # type: ignore[arg-type, return-value]
        set_cookies = [value.decode("latin-1") for name, value in sent[0]["headers"] if name == b"set-cookie"]
        user, _, keys = sent[1]["body"].decode().partition("|")
        return Reply(sent[0]["status"], user, keys, set_cookies)

    async def close(self) -> None:
        """Shut the app down, as a server does."""

        async def lifespan(scope: Any, receive: Any, send: Any) -> None:
            await send({"type": "lifespan.shutdown.complete"})

        async def send(message: Any) -> None:
            assert message["type"] == "lifespan.shutdown.complete"

        self.app.app = lifespan
        await self.app({"type": "lifespan"}, lambda: None, send)  # type: ignore[arg-type, return-value]


def nobody(reply: Reply) -> None:
    """Check that the client is taken for nobody and reads nothing."""
    assert (reply.status, reply.user, reply.keys) == (200, "", ""), reply


async def fixation_by_an_id_made_up(site: Site) -> str:
    """The attacker plants an id of the right form; the victim logs in."""
    planted = f"{site.name}={'A' * 43}"
    login = await site.ask("/login", planted)
    assert login.token not in ("", "A" * 43)
    nobody(await site.ask("/", planted))
    return "victim got an id of its own; the planted one opens nothing"


async def fixation_by_a_session_of_the_attackers(site: Site) -> str:
    """The attacker plants a session that exists; the victim logs in."""
    planted = (await site.ask("/write")).cookie
    login = await site.ask("/login", planted)
    assert login.cookie not in ("", planted)
    assert (await site.ask("/", planted)).user == ""
    assert (await site.ask("/", login.cookie)).user == "victim"
    return "new id at login; the planted one is nobody's"


async def replay_after_logout(site: Site) -> str:
    """A copy of the cookie is used after the victim logged out."""
    cookie = (await site.ask("/login")).cookie
    logout = await site.ask("/logout", cookie)
    assert "Max-Age=0" in logout.set_cookie
    nobody(await site.ask("/", cookie))
    return "cookie removed; its copy opens nothing"


async def write_after_logout(site: Site) -> str:
    """A request with the old cookie writes after the logout: does it come back to life?"""
    cookie = (await site.ask("/login")).cookie
    await site.ask("/logout", cookie)
    written = await site.ask("/write", cookie)
    assert written.cookie != cookie
    nobody(await site.ask("/", cookie))
    return "the ended session stays ended"


async def revoked_everywhere(site: Site) -> str:
    """Two devices, revoked from a third."""
    cookies = [(await site.ask("/login")).cookie for _ in range(2)]
    await site.ask("/revoke")
    await asyncio.sleep(site.settings.revocation_delay)
    for cookie in cookies:
        nobody(await site.ask("/", cookie))
    return "both open nothing"


async def expired(site: Site) -> str:
    """A cookie kept for longer than the session may live."""
    brief = site.with_settings(idle=1.0, absolute=1.0, access=1.0)
    cookie = (await brief.ask("/login")).cookie
    assert (await brief.ask("/", cookie)).user == "victim"
    await asyncio.sleep(2.1 if site.settings.kind == "jwt" else 1.1)  # a JWT's times are whole seconds
    nobody(await brief.ask("/", cookie))
    nobody(await site.ask("/", cookie))
    await brief.close()
    return "opens nothing, by longer settings neither"


async def tampered(site: Site) -> str:
    """Each character of the cookie changed, one at a time."""
    reply = await site.ask("/login")
    for at, letter in enumerate(reply.token):
        other = "A" if letter != "A" else "B"
        nobody(await site.ask("/", f"{site.name}={reply.token[:at]}{other}{reply.token[at + 1 :]}"))
    return f"{len(reply.token)} of {len(reply.token)} changed cookies open nothing"


async def truncated(site: Site) -> str:
    """The cookie cut at each length, and made longer."""
    token = (await site.ask("/login")).token
    variants = [token[:length] for length in range(len(token))] + [token + "A", token + "=", token + "==", "A" + token]
    for variant in variants:
        nobody(await site.ask("/", f"{site.name}={variant}"))
    return f"{len(variants)} variants open nothing"


async def swapped_between_names(site: Site) -> str:
    """The cookie of one app handed to another: with another cookie name, and of another namespace."""
    token = (await site.ask("/login")).token
    for other in (site.with_settings(namespace="admin"), site.with_settings(namespace="admin", cookie="__Host-admin")):
        nobody(await other.ask("/", f"{other.name}={token}"))
        await other.close()
    return "opens nothing at another app"


async def cookies_tossed(site: Site) -> str:
    """A neighbouring host sets a cookie of the same name; the client sends both, in one field or two."""
    victim, attacker = (await site.ask("/login")).cookie, (await site.ask("/write")).cookie
    for cookies in ((f"{attacker}; {victim}",), (f"{victim}; {attacker}",), (attacker, victim)):
        nobody(await site.ask("/", *cookies))
    assert (await site.ask("/", victim, f"other=1; {victim}")).user == "victim"
    assert site.name.startswith("__Host-")
    return "of two different ones neither counts; __Host- keeps browsers from storing the other"


async def names_that_look_alike(site: Site) -> str:
    """Names that lax parsers take for the session's: white space beyond ASCII, quotes, another case, $Version."""
    reply = await site.ask("/login")
    name, token = site.name, reply.token
    for cookie in (
        f"\xa0{name}={token}",
        f"\x85{name}={token}",
        f"\x0b{name}={token}",
        f"{name} ={token}",
        f'{name}="{token}"',
        f"{name.upper()}={token}",
        f"$Version=1,{name}={token}",
        f"x{name}={token}",
    ):
        nobody(await site.ask("/", cookie))
    return "8 of 8 are other names"


async def oversized(site: Site) -> str:
    """A cookie, or many, of more bytes than any session; and a session too large to be kept."""
    nobody(await site.ask("/", f"{site.name}={'A' * 100_000}"))
    nobody(await site.ask("/", "; ".join(f"c{number}=x" for number in range(20_000))))
    refused = ""
    try:
        await site.ask("/large")
    except SessionTooLarge as error:
        refused = str(error)
    assert refused
    return f"not read; for the app: {refused}"


async def sealed_by_a_removed_key(site: Site) -> str:
    """A cookie sealed with a key that leaked and was replaced; first kept for opening, then removed."""
    if site.settings.kind != "stateless":
        return "does not apply: nothing is sealed"
    old = site.with_settings(secrets=(OLD,))
    cookie = (await old.ask("/login")).cookie
    both, without = site.with_settings(secrets=(NEW, OLD)), site.with_settings(secrets=(NEW,))
    assert (await both.ask("/", cookie)).user == "victim"
    nobody(await without.ask("/", cookie))
    forged = bytearray(base64.urlsafe_b64decode(cookie.partition("=")[2] + "=="))
    forged[1:5] = base64.urlsafe_b64decode((await without.ask("/write")).token + "==")[1:5]
    nobody(await without.ask("/", f"{site.name}={base64.urlsafe_b64encode(forged).rstrip(b'=').decode()}"))
    for each in (old, both, without):
        await each.close()
    return "opens while the old key is listed, then nothing; nor under the new key's id"


async def carried_to_another_host(site: Site) -> str:
    """A cookie handed in at another host that the same app serves."""
    cookie = (await site.ask("/login")).cookie
    reply = await site.ask("/", cookie, host="other.example")
    if site.settings.kind == "stateful":
        return "does not apply: browsers keep hosts apart, and an id means the same session to the app"
    nobody(reply)
    return "opens nothing at another host"


Attack = Callable[[Site], Awaitable[str]]
ATTACKS: list[Attack] = [
    fixation_by_an_id_made_up,
    fixation_by_a_session_of_the_attackers,
    replay_after_logout,
    write_after_logout,
    revoked_everywhere,
    expired,
    tampered,
    truncated,
    swapped_between_names,
    cookies_tossed,
    names_that_look_alike,
    oversized,
    sealed_by_a_removed_key,
    carried_to_another_host,
]


def what_it_is(attack: Attack) -> str:
    """Return an attack in words."""
    return inspect.getdoc(attack) or ""


def settings_for(kind: str, server: SqliteServer) -> SessionSettings:
    """Return the settings of a site: `stateful`, `stateless`, or a JWT by its algorithm."""
    state = StateSettings(url=server.url)
    if kind == "EdDSA":
        return SessionSettings(kind="jwt", state=state, keys=(NEW_KEY,), revocation_delay=0.05, leeway=0.0)
    if kind == "HS256":
        return SessionSettings(kind="jwt", state=state, secrets=(NEW,), revocation_delay=0.05, leeway=0.0)
    return SessionSettings(kind=kind, state=state, secrets=(NEW,), revocation_delay=0.05)  # type: ignore[arg-type]


def run_attack(attack: Attack, kind: str, server: SqliteServer) -> str:
    """Run one attack; return what came of it. Raises AssertionError where it succeeds."""

    async def run() -> str:
        site = Site(settings_for(kind, server))
        try:
            return await attack(site)
        finally:
            await site.close()

    return asyncio.run(run())


def server_in(directory: Path) -> SqliteServer:
    """Return a running embedded engine."""
    server = SqliteServer(directory)
    server.start()
    return server
