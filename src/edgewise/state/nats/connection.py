"""A connection to NATS that comes back by itself, and what is asked over it."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import logging
import time
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any, NamedTuple, TypeVar

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import Error as NatsError
from nats.errors import NoRespondersError
from nats.js.errors import Error as JetStreamError

from edgewise.contracts.state import StateError, StateUnavailable

log = logging.getLogger("edgewise.state")
_WRONG_LAST_SEQUENCE = (10071, 10164)
_STREAM_IN_USE, _STREAM_NOT_FOUND = 10058, 10059
MOST_SUBJECTS = 1000
"""Of one request for many last messages; servers answer up to 1024."""
_FIRST_PAUSE = 0.02
_LONGEST_PAUSE = 0.25
_AWAY = (NatsError, JetStreamError, OSError, TimeoutError)
Result = TypeVar("Result")


class Stored(NamedTuple):
    """A message of a stream."""

    subject: str
    sequence: int
    at: float
    """Unix time of the server when it was stored."""
    headers: dict[str, str]
    data: bytes


class Refused(StateError):
    """JetStream answered with an error."""

    def __init__(self, code: int, description: str) -> None:
        super().__init__(f"NATS refuses: {description}")
        self.code = code


class Connection:
    """Asks for up to `patience` seconds. `ready` is called after each connect, before anything else is asked."""

    def __init__(self, url: str, patience: float, replicas: int) -> None:
        self.patience = patience
        self.replicas = replicas
        self.nats = Client()
        self._servers = url.split("://", 1)[0] + "://", url.split("://", 1)[1].split(",")
        self._connected = asyncio.Event()
        self._offset = 0.0
        self._closed = False
        self.lost = 0
        """How often the connection was lost."""

    async def open(self) -> None:
        """Begin to connect, and go on for as long as it takes. Returns once connected."""
        scheme, hosts = self._servers
        await self.nats.connect(
            [scheme + host for host in hosts],
            name="edgewise",
            allow_reconnect=True,
            max_reconnect_attempts=-1,
            reconnect_time_wait=0.1,  # type: ignore[arg-type]  # seconds, whole or not
            connect_timeout=max(1, round(self.patience)),
            ping_interval=max(1, round(self.patience)),
            max_outstanding_pings=2,
            error_cb=self._error,
            disconnected_cb=self._disconnected,
            reconnected_cb=self._reconnected,
        )
        self._connected.set()

    async def _error(self, error: Exception) -> None:
        log.debug("NATS: %s", error)

    async def _disconnected(self) -> None:
        self._connected.clear()
        self.lost += 1

    async def _reconnected(self) -> None:
        self._connected.set()

    @property
    def connected(self) -> bool:
        """Is there a connection right now?"""
        return self._connected.is_set()

    def now(self) -> float:
        """Return the server's Unix time, as of the last look at its clock."""
        return time.monotonic() + self._offset

    async def read_clock(self, stream: str) -> None:
        """Look at the server's clock."""
        asked = time.monotonic()
        info = await self.api(f"STREAM.INFO.{stream}", None)
        self._offset = _unix(info["ts"]) - (asked + time.monotonic()) / 2

    async def ask(self, subject: str, data: bytes, headers: dict[str, str] | None = None, *, again: bool) -> Msg:
        """Send a request and return the reply; `again`: it may be sent twice. Raises StateUnavailable."""
        return await self.patiently(lambda left: self.nats.request(subject, data, left, headers=headers), again=again)

    async def patiently(self, call: Callable[[float], Awaitable[Result]], *, again: bool) -> Result:
        """Await `call(seconds left)`; `again`: also after it failed without it being known whether it took effect."""
        deadline = time.monotonic() + self.patience
        pause = _FIRST_PAUSE
        while True:
            await self._wait(deadline)
            try:
                return await call(max(0.05, deadline - time.monotonic()))
            except NoRespondersError as error:  # JetStream is starting, or without a leader
                reason: Exception = error
                may = True
            except _AWAY as error:
                reason, may = error, again
            if not may or time.monotonic() + pause > deadline:
                raise StateUnavailable(f"NATS does not answer: {reason or type(reason).__name__}") from reason
            await asyncio.sleep(pause)
            pause = min(_LONGEST_PAUSE, 2 * pause)

    async def _wait(self, deadline: float) -> None:
        if not self._connected.is_set() and not self._closed:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._connected.wait(), max(0.0, deadline - time.monotonic()))
        if self._closed:
            raise StateUnavailable("the engine was closed")
        if not self._connected.is_set():
            raise StateUnavailable("there is no connection to NATS")

    async def api(self, name: str, body: dict[str, Any] | None) -> dict[str, Any]:
        """Call JetStream's API (calls that may be repeated) and return its answer. Raises Refused."""
        data = b"" if body is None else json.dumps(body).encode()
        reply = await self.ask(f"$JS.API.{name}", data, again=True)
        return _answer(reply)

    async def publish(
        self, subject: str, data: bytes, headers: dict[str, str] | None = None, *, again: bool = False
    ) -> dict[str, Any] | None:
        """Store a message; return the acknowledgement, None where the expected last sequence was another."""
        try:
            return _answer(await self.ask(subject, data, headers, again=again))
        except Refused as refused:
            if refused.code in _WRONG_LAST_SEQUENCE:
                return None
            raise

    async def last(self, stream: str, subject: str) -> Stored | None:
        """Return the last message of a subject."""
        if self.replicas == 1:
            return _direct(await self.ask(f"$JS.API.DIRECT.GET.{stream}.{subject}", b"", again=True))
        return await self._from_leader(stream, {"last_by_subj": subject})

    async def last_of_each(self, stream: str, subjects: list[str]) -> list[Stored]:
        """Return the last messages of up to MOST_SUBJECTS subjects that have any, by one request."""
        if self.replicas == 1:
            return await self.patiently(lambda left: self._many(stream, subjects, left), again=True)
        found = await asyncio.gather(*(self.last(stream, subject) for subject in subjects))
        return [stored for stored in found if stored is not None]

    async def _many(self, stream: str, subjects: list[str], left: float) -> list[Stored]:
        """The server sends each as a message of its own, then one with a status: 204, or 404 where there is none."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        found: list[Stored] = []

        async def take(reply: Msg) -> None:
            if done.done():
                return
            try:
                stored = None if (reply.headers or {}).get("Status") == "204" else _direct(reply)
            except (Refused, KeyError, ValueError) as error:
                done.set_exception(error)
                return
            if stored is None:
                done.set_result(None)
            else:
                found.append(stored)

        inbox = self.nats.new_inbox()
        replies = await self.nats.subscribe(inbox, cb=take)
        try:
            body = json.dumps({"multi_last": subjects, "batch": len(subjects)}).encode()
            await self.nats.publish(f"$JS.API.DIRECT.GET.{stream}", body, reply=inbox)
            await asyncio.wait_for(done, left)
            return found
        finally:
            await replies.unsubscribe()

    async def message(self, stream: str, sequence: int) -> Stored | None:
        """Return a message by its number."""
        if self.replicas == 1:
            body = json.dumps({"seq": sequence}).encode()
            return _direct(await self.ask(f"$JS.API.DIRECT.GET.{stream}", body, again=True))
        return await self._from_leader(stream, {"seq": sequence})

    async def _from_leader(self, stream: str, body: dict[str, Any]) -> Stored | None:
        """Ask the stream's leader: a direct read may be answered by a replica that is behind."""
        try:
            found = (await self.api(f"STREAM.MSG.GET.{stream}", body))["message"]
        except Refused as refused:
            if refused.code in (10037, 10014):  # no message found
                return None
            raise
        block = base64.b64decode(found.get("hdrs", "")).decode()
        lines = (line.partition(":") for line in block.split("\r\n")[1:] if ":" in line)
        headers = {name: value.removeprefix(" ") for name, _, value in lines}
        data = base64.b64decode(found.get("data", ""))
        return Stored(found["subject"], found["seq"], _unix(found["time"]), headers, data)

    async def stream_state(self, stream: str, subjects: str = "") -> dict[str, Any]:
        """Return the state of a stream and when it was made; with a wildcard also its subjects. Raises Refused."""
        info = await self.api(f"STREAM.INFO.{stream}", {"subjects_filter": subjects} if subjects else None)
        return {**info["state"], "created": info["created"]}

    async def make_stream(self, configuration: Any) -> None:
        """Make a stream where it is missing; one that is there stays as an operator set it up."""
        name = configuration.name
        try:
            await self.api(f"STREAM.CREATE.{name}", configuration.as_dict())
        except Refused as refused:
            if refused.code != _STREAM_IN_USE:
                raise

    async def close(self) -> None:
        """Disconnect."""
        self._closed = True
        self._connected.set()
        with contextlib.suppress(*_AWAY):
            await self.nats.close()


def not_found(refused: Refused) -> bool:
    """Is there no such stream?"""
    return refused.code == _STREAM_NOT_FOUND


def _answer(reply: Msg) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(reply.data)
    if error := answer.get("error"):
        raise Refused(int(error.get("err_code", 0)), str(error.get("description", "unknown")))
    return answer


def _direct(reply: Msg) -> Stored | None:
    headers = reply.headers or {}
    if "Nats-Sequence" not in headers:
        if headers.get("Status") == "404":
            return None
        raise Refused(0, f"direct get: {headers.get('Status')} {headers.get('Description', '')}")
    at = _unix(headers["Nats-Time-Stamp"])
    return Stored(headers["Nats-Subject"], int(headers["Nats-Sequence"]), at, headers, reply.data)


def _unix(text: str) -> float:
    """Return the Unix time that RFC 3339 writes with up to nanoseconds."""
    whole, dot, rest = text.removesuffix("Z").partition(".")
    fraction, zone = (rest, "") if dot else ("0", "")
    for sign in "+-":
        if sign in fraction:
            fraction, _, offset = fraction.partition(sign)
            zone = sign + offset
    return datetime.fromisoformat(whole + (zone or "+00:00")).timestamp() + float(f"0.{fraction}")
