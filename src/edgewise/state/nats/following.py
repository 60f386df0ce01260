"""Reading a stream from a sequence number on, and on: pull consumers that are made anew from the reader's position.

The position lives with the reader (a subscriber's cursor, the local copy's file), not at the server: it then changes in
one step with what was done with the message, and a server restored from a backup cannot set it back.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from edgewise.contracts.state import StateUnavailable
from edgewise.state.nats.connection import Connection, Refused, Stored

_BATCH = 500
_EXPIRES = 5.0
"""Seconds that a request for messages waits at the server."""
_HEARTBEAT = 0.25
_SILENCE = 0.7
"""Seconds without message or heartbeat after which the consumer is taken for lost."""
_PAUSE = 0.1
_INACTIVE = 60.0
"""Seconds after which the server forgets a consumer that nobody asks any more."""


async def follow(
    connection: Connection, stream: str, wildcard: str, begin: Callable[[], Awaitable[int]], *, latest: bool = False
) -> AsyncIterator[Stored]:
    """Yield stored messages without end, across reconnections.

    `begin` is awaited after each connect and returns the sequence number to go on after; where it raises
    StateUnavailable, that comes again. `latest`: from the start, of each subject only the last message is of interest.
    """
    while True:
        with contextlib.suppress(StateUnavailable):
            consumer = await _make_consumer(connection, stream, wildcard, await begin(), latest=latest)
            async for stored in _messages(connection, stream, consumer):
                yield stored
        await asyncio.sleep(_PAUSE)


async def _make_consumer(connection: Connection, stream: str, wildcard: str, after: int, *, latest: bool) -> str:
    from_start = latest and after == 0
    config: dict[str, Any] = {
        "deliver_policy": "last_per_subject" if from_start else "by_start_sequence",
        "ack_policy": "none",
        "replay_policy": "instant",
        "filter_subject": wildcard,
        "inactive_threshold": int(_INACTIVE * 1e9),
        "mem_storage": True,
        "num_replicas": 1,
    }
    if not from_start:
        config["opt_start_seq"] = after + 1
    try:
        answer = await connection.api(f"CONSUMER.CREATE.{stream}", {"stream_name": stream, "config": config})
    except Refused as refused:
        raise StateUnavailable(str(refused)) from refused
    name: str = answer["name"]
    return name


async def _messages(connection: Connection, stream: str, consumer: str) -> AsyncIterator[Stored]:
    """Yield what a consumer delivers, until it or the connection is lost.

    The consumer itself would go on after a reconnection, but not with what it had sent into the lost connection.
    """
    lost = connection.lost
    client = connection.nats
    inbox = client.new_inbox()
    subscription = await client.subscribe(inbox)
    body = {"batch": _BATCH, "expires": int(_EXPIRES * 1e9), "idle_heartbeat": int(_HEARTBEAT * 1e9)}
    request = json.dumps(body).encode()
    subject = f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{consumer}"
    try:
        left = 0
        while True:
            if left <= 0:
                await client.publish(subject, request, reply=inbox)
                left = _BATCH
            message = await _next(subscription)
            if message is None or connection.lost != lost:
                return
            status = (message.headers or {}).get("Status") if not message.data else None
            if status is None or not message.reply.startswith("$JS.ACK"):
                if status == "100":
                    continue
                if status in ("404", "408"):  # nothing came in time: ask again
                    left = 0
                    continue
                if status is not None:  # the consumer is gone, or nobody answers for it
                    return
            left -= 1
            yield _stored(message)
    finally:
        with contextlib.suppress(Exception):
            await subscription.unsubscribe()


async def _next(subscription: Subscription) -> Msg | None:
    try:
        return await subscription.next_msg(_SILENCE)
    except Exception:  # closed, timed out or cut off: all mean that the consumer has to be made anew
        return None


def _stored(message: Msg) -> Stored:
    metadata = message.metadata
    at: datetime = metadata.timestamp.replace(tzinfo=metadata.timestamp.tzinfo or UTC)
    return Stored(message.subject, metadata.sequence.stream, at.timestamp(), message.headers or {}, message.data)
