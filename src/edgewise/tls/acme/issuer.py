"""Orders certificates: drives a conversation with the authority, one request at a time."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, TypeVar

from edgewise.tls.acme.jws import AccountKey
from edgewise.tls.acme.messages import AcmeError, Challenge, Pause, Present, Request, Response, Steps
from edgewise.tls.acme.session import AcmeSession, ChallengeError
from edgewise.tls.acme.transport import Transport
from edgewise.tls.pem import new_key, private_pem, read_bundle, signing_request
from edgewise.tls.renewal import identifier, parse_window

if TYPE_CHECKING:
    from edgewise.config.schema import Acme
    from edgewise.tls.store import Store

log = logging.getLogger("edgewise.certificates")
_T = TypeVar("_T")
Answers = Callable[[list[Challenge]], Awaitable[None]]
"""Has every worker answer exactly these challenges; returns once they do."""


class AcmeIssuer:
    """Gets certificates from the authority that `settings` name. One order at a time."""

    def __init__(self, settings: Acme, store: Store, challenges: list[str], answer: Answers) -> None:
        """`challenges` are the kinds to try, in order. Raises TlsError for authorities that cannot be read."""
        self.source = settings.directory
        """What certificates of this issuer are marked with."""
        self.retry = settings.retry
        self._settings = settings
        self._store = store
        self._challenges = challenges
        self._answer = answer
        self._transport = Transport(settings.ca_file)
        # A thread of its own, which nothing waits for at the end: a request may hang for half a minute. It ends with
        # this object, so an order that outlives a reload can finish.
        self._thread = ThreadPoolExecutor(1, "acme")

    @property
    def key_type(self) -> str:
        """Kind of key that certificates get."""
        return self._settings.key_type

    async def issue(self, names: tuple[str, ...], previous: bytes | None) -> bytes:
        """Return key and certificate chain (PEM) for the one name in `names`; `previous` is what they follow.

        Raises AcmeError, TlsError, or OSError for an account that cannot be kept.
        """
        (name,) = names
        session = await self._signed_in()
        key = new_key(self._settings.key_type)
        request = signing_request(key, name)
        replaces = identifier(read_bundle(previous)[0]) if previous is not None else None
        chain = await self._prove(session, name, request, replaces)
        pem = private_pem(key) + chain
        certificate = read_bundle(pem, name)[0]
        log.info("%s: certificate issued, valid until %s", name, f"{certificate.not_valid_after_utc:%Y-%m-%d %H:%M}")
        return pem

    async def _prove(self, session: AcmeSession, name: str, request: bytes, replaces: str | None) -> bytes:
        """Order with each kind of challenge until one does."""
        errors: list[ChallengeError] = []
        for kind in self._challenges:
            try:
                return await self._run(session.order(name, kind, request, replaces))
            except ChallengeError as error:
                log.warning("%s: %s", name, error)
                errors.append(error)
            except AcmeError as error:
                if replaces is None or error.kind not in ("alreadyReplaced", "malformed"):
                    raise
                return await self._run(session.order(name, kind, request))
            finally:
                await self._answer([])
        first = errors[0]
        raise AcmeError("; ".join(str(error) for error in errors), first.kind, first.retry_after)

    async def revoke(self, pem: bytes) -> None:
        """Revoke a certificate of this authority. Raises AcmeError."""
        session = await self._signed_in()
        await self._run(session.revoke(read_bundle(pem)[1]))

    async def window(self, pem: bytes) -> tuple[float, float, float] | None:
        """Return (start, end, when to ask again) as Unix times: when the authority wants this certificate renewed.

        None where it has no wish (RFC 9773). Raises AcmeError.
        """
        name = identifier(read_bundle(pem)[0])
        if name is None:
            return None
        session = await self._signed_in()
        found = await self._run(session.renewal_info(name))
        return None if found is None else parse_window(*found)

    async def _signed_in(self) -> AcmeSession:
        key, account = self._store.account(self.source)
        external = self._settings.external_account
        session = AcmeSession(self.source, AccountKey.load(key), account)
        binding = (external.key_id, external.hmac_key) if external is not None else None
        await self._run(session.sign_in(self._settings.email, binding))
        if session.account is not None and session.account != account:
            self._store.keep_account(self.source, session.account)
        return session

    async def _run(self, steps: Steps[_T]) -> _T:
        """Carry a conversation to its end."""
        answer: Response | None = None
        loop = asyncio.get_running_loop()
        try:
            while True:
                step: Any = steps.send(answer)
                answer = None
                match step:
                    case Request():
                        answer = await loop.run_in_executor(self._thread, self._transport.ask, step)
                    case Pause(seconds=seconds):
                        await asyncio.sleep(seconds)
                    case Present(challenge=challenge):
                        await self._answer([challenge])
        except StopIteration as end:
            result: _T = end.value
            return result
        finally:
            steps.close()

    def close(self) -> None:
        """Let go of the thread."""
        self._thread.shutdown(wait=False, cancel_futures=True)


def usable_challenges(settings: Acme, plain_listeners: Mapping[str, Any] | list[str]) -> list[str]:
    """Return the kinds of challenge that this configuration can answer: http-01 comes in by a plain listener."""
    return [kind for kind in settings.challenges if kind != "http-01" or plain_listeners]
