"""Keys that tokens are verified with: those of the configuration, and those that an issuer tells at a URL.

An issuer's keys are asked for ahead of the time that its Cache-Control gives them, so no request waits for them but the
first ones and those that name a key nobody knows: which is worth one look, shared by all, and no more than one in
`pause` seconds however many such tokens come. While the issuer is out of reach its keys are used on for `stale`
seconds.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable, Collection
from random import uniform
from time import monotonic
from typing import Protocol

from edgewise.contracts.policies import Fetch, Fetched, FetchError
from edgewise.protocols.jwa import ASYMMETRIC, Check
from edgewise.protocols.jwk import MOST_SET_BYTES, KeySet, read_key_set
from edgewise.protocols.jws import Head

LEAST_AGE = 60.0
"""Seconds for which keys are fresh at least, whatever Cache-Control says."""
MOST_AGE = 3600.0
"""The same at most, where nobody says otherwise: when a key that was withdrawn is used no longer."""
_UNTOLD_AGE = 600.0
_AHEAD = (0.7, 0.8)
"""Parts of that time between which keys are asked for again; workers do not ask all at once."""
_FIRST_RETRY, _LAST_RETRY = 1.0, 60.0
"""Seconds after a failure, doubled with each further one."""
_LEAST_PAUSE = 1.0
"""Seconds between any question and the next one for a key that nobody knows."""
_TIMEOUT = 5.0
_MAX_AGE = re.compile(rb"(?:^|[ ,\t])max-age=([0-9]{1,10})(?:$|[ ,\t])", re.IGNORECASE)
_UNKEPT = re.compile(rb"(?:^|[ ,\t])no-(?:store|cache)(?:$|[ ,\t])", re.IGNORECASE)
_AGE = re.compile(rb"[0-9]{1,10}")
_log = logging.getLogger("edgewise.jwt")


class KeysUnavailable(Exception):
    """No key is known, as the issuer could not be asked; `retry_after` are seconds."""

    def __init__(self, retry_after: float) -> None:
        super().__init__("the keys of the issuer are not known at the moment")
        self.retry_after = retry_after


class Keys(Protocol):
    """Where a verifier has its keys from."""

    @property
    def version(self) -> int:
        """Another number once a key that was known verifies no more: what it verified is to be verified again."""

    def known(self, head: Head) -> tuple[Check, ...]:
        """Return the checks of the keys that a token may mean, of those that are known now."""

    def settled(self) -> bool:
        """Would `find` return what `known` does?"""

    async def find(self, head: Head) -> tuple[Check, ...]:
        """Return the same after a look at the issuer's keys, where one is due. Raises KeysUnavailable."""


class FixedKeys:
    """Keys that do not change: files and secrets of the configuration."""

    version = 0

    def __init__(self, keys: KeySet) -> None:
        self.known = keys.find
        """Returns the checks of the keys that a token may mean."""

    def settled(self) -> bool:
        """Return True."""
        return True

    async def find(self, head: Head) -> tuple[Check, ...]:
        """Return the same."""
        return self.known(head)


class Jwks:
    """An issuer's JWK Set (RFC 7517 section 5) at a URL; a `contracts.policies.Service` that keeps it fresh.

    Where it is not run, a request that finds it out of date has it asked for, without waiting.
    """

    def __init__(
        self,
        url: str | Callable[[], Awaitable[str]],
        fetch: Fetch,
        algorithms: Collection[str] = ASYMMETRIC,
        *,
        most_age: float = MOST_AGE,
        stale: float = 86400.0,
        pause: float = 10.0,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        """`url`: or what finds it out, asked before each fetch; it may raise FetchError."""
        self.version = 0
        self._url = url
        self._fetch = fetch
        self._algorithms = algorithms
        self._most_age = most_age
        self._stale = stale
        self._pause = pause
        self._clock = clock
        self._keys = KeySet(())
        self._fresh_until = self._use_until = clock()
        self._next = clock()
        """When a request may have the keys asked for again."""
        self._due = clock()
        """When they are asked for by `run`."""
        self._failures = 0
        self._said: object = None
        """What the log was last told."""
        self._asking: asyncio.Task[None] | None = None
        self._sought = False
        """They are asked for because of a token that names a key nobody knows."""

    def known(self, head: Head) -> tuple[Check, ...]:
        """Return the checks of the keys that a token may mean, () where that is none or they are too old."""
        now = self._clock()
        if now >= self._use_until:
            return ()
        if now >= self._fresh_until and now >= self._next:
            self._begin()
        return self._keys.find(head)

    def settled(self) -> bool:
        """Are there keys, and nothing to learn of others at the moment?"""
        return self._asking is None and self._clock() < min(self._next, self._use_until)

    async def find(self, head: Head) -> tuple[Check, ...]:
        """Return the same after a look at the issuer's keys, where one is due. Raises KeysUnavailable."""
        now = self._clock()
        if self._asking is not None or now >= self._next:
            self._sought = self._sought or now < self._use_until
            await self.refresh()
            now = self._clock()
        if now >= self._use_until:
            raise KeysUnavailable(max(1.0, self._next - now))
        return self._keys.find(head)

    async def run(self) -> None:
        """Ask for the keys ahead of the time that they get old, until cancelled."""
        while True:
            wait = self._due - self._clock()
            if wait > 0:
                await asyncio.sleep(wait)
            else:
                await self.refresh()

    async def refresh(self) -> None:
        """Ask for the keys, or wait with whoever does already."""
        await asyncio.shield(self._begin())

    def _begin(self) -> asyncio.Task[None]:
        if self._asking is None:
            self._asking = asyncio.get_running_loop().create_task(self._ask())
        return self._asking

    async def _ask(self) -> None:
        try:
            url = self._url if isinstance(self._url, str) else await self._url()
            answer = await self._fetch("GET", url, fields=_ACCEPT, timeout=_TIMEOUT, most=MOST_SET_BYTES)
            self._take(answer)
        except FetchError as error:
            self._fail(str(error))
        except Exception as error:  # a fault of ours: whoever waits is told the same as for one of the issuer's
            _log.exception("the keys of an issuer could not be read")
            self._fail(type(error).__name__)
        finally:
            self._asking = None
            self._sought = False

    def _take(self, answer: Fetched) -> None:
        """Use the keys of an answer. Raises FetchError where it has none that verify anything."""
        if answer.status != 200:
            raise FetchError(f"the issuer answers with status {answer.status}")
        try:
            keys, left = read_key_set(answer.content, self._algorithms)
        except ValueError as error:
            raise FetchError(str(error)) from None
        if not keys.keys:
            raise FetchError("; ".join(["the set has no key that can be used", *left]))
        if left:
            self._say(logging.INFO, "keys left out of a set: %s", "; ".join(left))
        if not self._keys.prints <= keys.prints:
            self.version += 1
        now = self._clock()
        age = min(max(_lifetime(answer), LEAST_AGE), self._most_age)
        self._keys = keys
        self._failures = 0
        self._fresh_until = now + age
        self._use_until = self._fresh_until + self._stale
        self._next = now + (self._pause if self._sought else _LEAST_PAUSE)
        self._due = now + age * uniform(*_AHEAD)

    def _fail(self, why: str) -> None:
        """Try again after a while; keys that are too old by now are used no longer."""
        now = self._clock()
        self._say(logging.WARNING, "the keys of an issuer are out of reach: %s", why)
        self._due = self._next = now + min(_FIRST_RETRY * 2.0**self._failures, _LAST_RETRY)
        self._failures = min(self._failures + 1, 16)
        if now >= self._use_until and self._keys.keys:
            self._keys = KeySet(())
            self.version += 1

    def _say(self, level: int, text: str, what: str) -> None:
        if self._said != (text, what):
            self._said = text, what
            _log.log(level, text, what)


_ACCEPT = ((b"Accept", b"application/jwk-set+json, application/json"),)


def _lifetime(answer: Fetched) -> float:
    """Return the seconds for which an answer is fresh (RFC 9111 sections 4.2.1 and 5.2.2), before its bounds."""
    control = b",".join(value for name, value in answer.fields if name == b"cache-control")
    told = _MAX_AGE.search(control)
    if _UNKEPT.search(control):
        return 0.0
    if told is None:
        return _UNTOLD_AGE
    age = answer.get(b"age") or b""
    return float(int(told[1]) - (int(age) if _AGE.fullmatch(age) else 0))
