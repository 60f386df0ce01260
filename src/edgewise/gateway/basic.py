"""Who asks, by a name and a password (RFC 7617)."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Awaitable
from hashlib import blake2b
from secrets import token_bytes
from time import monotonic
from typing import TYPE_CHECKING, NamedTuple, Protocol

from edgewise.contracts.identity import Identity
from edgewise.contracts.policies import Denial, Verified
from edgewise.gateway import passwords
from edgewise.gateway.api_keys import NOT_KNOWN, authorizations

if TYPE_CHECKING:
    from edgewise.contracts.exchange import Exchange

METHOD = "basic"
_MOST_REMEMBERED = 4096
_MOST_WAITING = 32
"""Passwords of a worker that are verified or wait for it; further requests are told to come again."""
_LONGEST = 4096
"""Bytes of the credentials."""
_WRONG = Denial(401, "auth", "The name or the password is not right.", reason="wrong name or password")
_MALFORMED = Denial(401, "auth", "The credentials are not those of basic authentication.", reason="malformed")
_SEVERAL = Denial(401, "auth", "The request has more than one Authorization.", reason="several Authorization")
_BUSY = Denial(
    503, "auth", "Too many passwords are being verified.", ((b"Retry-After", b"1"),), "too many passwords at once"
)


class Users(Protocol):
    """Who has a password."""

    @property
    def settled(self) -> bool:
        """Are all of them known?"""

    def hashes(self, name: str) -> tuple[str, ...]:
        """Return the hashes of the passwords of a name."""

    def identity(self, name: str, method: str) -> Identity | None:
        """Return who asks by that name."""

    def decoy(self) -> tuple[str, ...]:
        """Return the hashes of somebody's passwords, none where nobody has one."""

    async def settle(self) -> bool:
        """Wait until they are known; False: they are not."""


class _Verified(NamedTuple):
    name: str
    hashed: str
    """The hash that it was verified against: worth nothing once the name has others."""
    until: float
    """Monotonic seconds."""


class BasicAuthenticator:
    """A `contracts.policies.Authenticator`. What was verified is remembered by a keyed hash, for a while."""

    def __init__(self, users: Users, realm: str, remember: float) -> None:
        """`remember`: seconds that a verified password need not be verified again."""
        self._users = users
        self._remember = remember
        self._secret = token_bytes(32)
        self._verified: dict[bytes, _Verified] = {}
        self._under_way: dict[bytes, asyncio.Task[Verified]] = {}
        self.challenge = f'Basic realm="{realm}", charset="UTF-8"'.encode()

    def authenticate(self, exchange: Exchange) -> Verified | Awaitable[Verified]:
        """Return whose name and password came with the request."""
        values = [value for value in authorizations(exchange.plan.request) if value[:6].lower() == b"basic "]
        if not values:
            return None
        if len(values) > 1:
            return _SEVERAL
        value = values[0][6:]
        if len(value) > _LONGEST:
            return _MALFORMED
        mark = blake2b(value, key=self._secret, digest_size=16).digest()
        known = self._verified.get(mark)
        if known is not None and known.until > monotonic() and known.hashed in self._users.hashes(known.name):
            return self._users.identity(known.name, METHOD)
        return self._begin(value, mark)

    def begin(self, exchange: Exchange) -> None:
        """Return None: the challenge makes browsers ask."""

    def _begin(self, value: bytes, mark: bytes) -> Verified | Awaitable[Verified]:
        """Verify, once for all requests that wait for the same credentials."""
        task = self._under_way.get(mark)
        if task is None:
            pair = decoded(value)
            if pair is None:
                return _MALFORMED
            if len(self._under_way) >= _MOST_WAITING:
                return _BUSY
            task = asyncio.get_running_loop().create_task(self._verify(*pair, mark))
            self._under_way[mark] = task
            task.add_done_callback(lambda _: self._under_way.pop(mark))
        return asyncio.shield(task)  # a client that goes away leaves the others to wait

    async def _verify(self, name: str, password: bytes, mark: bytes) -> Verified:
        if not self._users.settled and not await self._users.settle():
            return NOT_KNOWN
        hashes = self._users.hashes(name)
        loop = asyncio.get_running_loop()
        # Where nobody has the name, as much is done: how long it takes does not tell which names there are.
        found = await loop.run_in_executor(
            passwords.threads, passwords.matching, hashes or self._users.decoy(), password
        )
        if found is None or found not in self._users.hashes(name):
            return _WRONG
        self._keep(mark, _Verified(name, found, monotonic() + self._remember))
        return self._users.identity(name, METHOD)

    def _keep(self, mark: bytes, verified: _Verified) -> None:
        self._verified.pop(mark, None)
        self._verified[mark] = verified
        if len(self._verified) > _MOST_REMEMBERED:
            del self._verified[next(iter(self._verified))]


def decoded(value: bytes) -> tuple[str, bytes] | None:
    """Return name and password of credentials (RFC 7617 section 2); None for what is none."""
    try:
        data = base64.b64decode(value.strip(b" "), validate=True)
        name, colon, password = data.partition(b":")
        text = name.decode()
    except ValueError:
        return None
    if not colon or not text or any(character < 32 or character == 127 for character in data):
        return None
    return text, password
