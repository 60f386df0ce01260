"""Listens to a PostgreSQL whose triggers tell of writes (`contrib.postgres`), and has what they name purged."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from contextlib import aclosing
from time import monotonic
from typing import TYPE_CHECKING

from edgewise.cache.tags import LONGEST_TAG
from edgewise.config.state import without_password
from edgewise.contracts.state import StateError
from edgewise.contrib.postgres import CHANNEL, FUNCTION
from edgewise.server.tasks import end

if TYPE_CHECKING:
    from psycopg import AsyncConnection

    from edgewise.server.generation import Generation

log = logging.getLogger("edgewise.database")
_RETRY = 1.0
"""Seconds between two tries to connect, or to purge."""
_PATIENCE = 5.0
"""Seconds for the database to answer."""
_CONNECTING = 5
"""The same for a connection."""
_QUIET = 5.0
"""Seconds between two looks at whether it still does."""
_MOST_WAITING = 1000
"""Tags; where more wait, the rows of a table that is watched count as changed all together."""
_ROOM = 10_000
"""Tags that may wait; what was notified beyond them waits at the database."""
_WATCHED = f"""
SELECT DISTINCT tgargs FROM pg_catalog.pg_trigger AS t JOIN pg_catalog.pg_proc AS p ON p.oid = t.tgfoid
WHERE p.proname = '{FUNCTION}' AND NOT t.tgisinternal
"""

Purge = Callable[[list[str], bool], Awaitable[None]]
"""Purges tags from every layer of this node; True: what has them is validated before its next use."""


class DatabaseListener:
    """Runs from `commit` to `close`, where there is a [database] table. Its purges come one after the other; what is
    told meanwhile makes the next one.

    A connection that was lost leaves open what was written meanwhile. So all that was read of tables with triggers is
    purged when there is a connection again, the first one too; while there is none, it is made stale every
    `cache.offline` seconds.
    """

    def __init__(self, purge: Purge) -> None:
        """`purge` may raise TimeoutError and StateError; it is tried again then."""
        self._purge = purge
        self._url = self._next = ""
        self._offline = self._next_offline = 0.0
        self._listening = False
        self._losses = self._purged = 0
        self._tables: frozenset[tuple[str, str]] = frozenset()
        """Of each table that has triggers: its tag, and that of any of its rows."""
        self._waiting: dict[str, None] = {}
        self._more = asyncio.Event()
        self._less = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def figures(self) -> dict[str, int]:
        """Return how it is doing; nothing where there is no database."""
        if not self._url:
            return {}
        return {"listening": int(self._listening), "losses": self._losses, "tags": self._purged}

    def prepare(self, generation: Generation) -> str:
        """Take what a generation says; return why that is impossible, or ""."""
        database = generation.config.database
        self._next, self._next_offline = database.url if database is not None else "", generation.config.cache.offline
        if not self._next:
            return ""
        try:
            from psycopg import ProgrammingError
            from psycopg.conninfo import conninfo_to_dict
        except ImportError as error:
            return f"[database] needs the extra 'postgres', pip install 'edgewise[postgres]': {error}"
        try:
            conninfo_to_dict(self._next)
        except ProgrammingError as error:
            return f"database.url: {str(error).strip()}"
        return ""

    def commit(self) -> None:
        """Listen to what was prepared."""
        self._offline = self._next_offline
        if self._next == self._url:
            return
        self._url, before = self._next, self._task
        self._task = asyncio.get_running_loop().create_task(self._run(self._url, before))

    async def close(self) -> None:
        """Stop."""
        if self._task is not None:
            await end(self._task)

    async def _run(self, url: str, before: asyncio.Task[None] | None) -> None:
        if before is not None:
            await end(before)
        while url:
            try:
                async with asyncio.TaskGroup() as group:
                    group.create_task(self._listen(url))
                    group.create_task(self._purge_what_waits())
            except Exception:  # a defect must not cut this node off for good
                log.exception("listening to the database failed, and begins anew")
            await asyncio.sleep(_RETRY)

    # ---- hearing -----------------------------------------------------------------------------------------------------

    async def _listen(self, url: str) -> None:
        import psycopg

        shown, lost = without_password(url), 0.0
        while True:
            try:
                async with await _connected(url) as connection:
                    await self._begin(connection)
                    log.info("writes to %d tables of %s are heard", len(self._tables), shown)
                    lost, self._listening = 0.0, True
                    await self._hear(connection)
            except (psycopg.Error, OSError, TimeoutError) as error:
                self._losses += self._listening
                self._listening = False
                if not lost:
                    lost = monotonic()
                    log.warning("writes to %s are not heard: %s", shown, str(error).strip() or "it does not answer")
            if monotonic() - lost > self._offline:
                lost = monotonic()
                await self._make_stale()
            await asyncio.sleep(_RETRY)

    async def _begin(self, connection: AsyncConnection) -> None:
        """Listen, then purge: what was written before the one is reached by the other. Raises psycopg.Error."""
        async with asyncio.timeout(_PATIENCE):
            await connection.execute(f"LISTEN {CHANNEL}")
            watched = await _watched(connection)
        self._want(tag for table in self._tables | watched for tag in table)
        self._tables = watched

    async def _hear(self, connection: AsyncConnection) -> None:
        """Take what comes, and look now and then whether anything could; raises psycopg.Error or TimeoutError."""
        while True:
            async with aclosing(connection.notifies(timeout=_QUIET)) as notifies:
                async for notify in notifies:
                    self._want(tags_in(notify.payload))
                    while len(self._waiting) > _ROOM:
                        self._less.clear()
                        await self._less.wait()
            async with asyncio.timeout(_PATIENCE):
                self._tables = await _watched(connection)

    def _want(self, tags: Iterable[str]) -> None:
        """Have tags purged."""
        self._waiting.update(dict.fromkeys(tags))
        if len(self._waiting) > _MOST_WAITING:
            self._waiting = dict.fromkeys(gathered(self._waiting, self._tables))
        if self._waiting:
            self._more.set()

    # ---- purging -----------------------------------------------------------------------------------------------------

    async def _purge_what_waits(self) -> None:
        while True:
            await self._more.wait()
            self._more.clear()
            batch, self._waiting = self._waiting, {}
            try:
                await self._purge(list(batch), False)
                self._purged += len(batch)
            except (TimeoutError, StateError) as error:
                log.warning("what was written is not purged everywhere, and tried again: %s", error or "no answer")
                await asyncio.sleep(_RETRY)
                self._want(batch)
            self._less.set()

    async def _make_stale(self) -> None:
        try:
            await self._purge([tag for table in self._tables for tag in table], True)
        except (TimeoutError, StateError) as error:
            log.warning("what may have been written over is not validated everywhere: %s", error or "no answer")


async def _connected(url: str) -> AsyncConnection:
    """Return a connection that holds no transaction open, to a server that can be written to. Raises psycopg.Error."""
    from psycopg import AsyncConnection
    from psycopg.conninfo import conninfo_to_dict, make_conninfo

    wanted: dict[str, str | int] = {"application_name": "edgewise", "target_session_attrs": "read-write"}
    wanted["connect_timeout"] = _CONNECTING
    given = conninfo_to_dict(url)
    missing = {name: value for name, value in wanted.items() if name not in given}
    return await AsyncConnection.connect(make_conninfo(url, **missing), autocommit=True)


async def _watched(connection: AsyncConnection) -> frozenset[tuple[str, str]]:
    """Return the arguments of the triggers that are there: tags. Raises psycopg.Error."""
    found = await connection.execute(_WATCHED)
    arguments = [bytes(row[0]).decode("ascii", "replace").split("\0") for row in await found.fetchall()]
    return frozenset((each[0], each[1]) for each in arguments if len(each) == 3)


def tags_in(payload: str) -> list[str]:
    """Return the tags of a notification; what no layer could have stored is passed over."""
    found = payload.split(" ")
    tags = [tag for tag in found if 0 < len(tag) <= LONGEST_TAG and tag.isascii() and tag.isprintable()]
    if len(tags) < len(found):
        log.warning("a notification on %s holds what is no tag: %.80r", CHANNEL, payload)
    return tags


def gathered(tags: Iterable[str], tables: Iterable[tuple[str, str]]) -> list[str]:
    """Return tags with those of single rows replaced by those of their tables, where these have triggers."""
    both = dict(tables)
    found = dict.fromkeys(tag for tag in tags if tag.partition(":")[0] not in both)
    touched = dict.fromkeys(tag.partition(":")[0] for tag in tags)
    return [*found, *(tag for table in touched if table in both for tag in (table, both[table]))]
