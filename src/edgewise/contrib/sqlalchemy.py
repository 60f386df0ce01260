"""SQLAlchemy 2: what a session reads is tagged, what it writes is purged once it is committed.

`sessionmaker(engine, class_=RecordedSession)`, or `async_sessionmaker(engine, sync_session_class=RecordedSession)`.
Statements in plain text (`text()`, `exec_driver_sql`) tell nothing: name their tags by `contrib.tags.record` and
`RecordedSession.changed`.
"""

from __future__ import annotations

import asyncio
import time
import weakref
from collections.abc import Iterable
from typing import Any

from sqlalchemy import Connection, Engine, event, inspect
from sqlalchemy.orm import Mapper, Session, SessionTransaction
from sqlalchemy.sql import visitors
from sqlalchemy.sql.schema import Table
from sqlalchemy.util import await_only
from sqlalchemy.util.concurrency import in_greenlet

from edgewise.contrib.committed import purge_committed
from edgewise.contrib.tags import Collected, Unit, change_tags, collected, row_tag, rows_tag, table_tag

_sessions: weakref.WeakKeyDictionary[Connection, RecordedSession] = weakref.WeakKeyDictionary()
_tables: weakref.WeakKeyDictionary[Any, frozenset[str]] = weakref.WeakKeyDictionary()
"""Compiled statement -> the tables that it reads."""


class _Frame:
    """What was written in a transaction or savepoint."""

    def __init__(self) -> None:
        self.tags: set[str] = set()
        self.committed = False


class RecordedSession(Session):
    """A session that tags and purges."""

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        self._frames: list[_Frame] = []
        self._unit = Unit()
        self._reads = Collected()
        self._reads_began = time.monotonic()
        self._by_key: set[str] = set()
        """Tables whose rows are being read by their key."""
        self._flushing_now = False
        super().__init__(*arguments, **settings)

    # Reading.

    def get(self, entity: Any, ident: Any, **options: Any) -> Any:
        """See `Session.get`; the row is tagged, be it there or not."""
        mapper: Mapper[Any] = inspect(entity)
        names = _table_names(mapper)
        before, self._by_key = self._by_key, self._by_key | names
        try:
            found = super().get(entity, ident, **options)
        finally:
            self._by_key = before
        key = _key(mapper, ident) if found is None else inspect(found).mapper.primary_key_from_instance(found)
        self.used(_row_tags(names, key))
        return found

    def refresh(self, instance: object, *arguments: Any, **options: Any) -> None:
        """See `Session.refresh`."""
        mapper = inspect(instance).mapper
        names = _table_names(mapper)
        before, self._by_key = self._by_key, self._by_key | names
        try:
            super().refresh(instance, *arguments, **options)
        finally:
            self._by_key = before
        self.used(_row_tags(names, mapper.primary_key_from_instance(instance)))

    def _identity_lookup(self, *arguments: Any, **options: Any) -> Any:
        """Tag what comes out of the identity map too, with all that the session read: it may lead on to that."""
        self.used(())
        return super()._identity_lookup(*arguments, **options)

    def used(self, tags: Iterable[str]) -> None:
        """Note that rows are used; with them all that this session read before, which it may hand out again."""
        self._reads.add(tags)
        found = collected()
        if found is None:
            return
        found.add(list(self._reads.tags))
        if self._reads.overflowed:
            found.overflowed = True
        found.age(self._reads_began)
        if self._dirty():
            found.depend(self._unit)

    def _dirty(self) -> bool:
        return bool(self.new or self.deleted or self.dirty or any(frame.tags for frame in self._frames))

    # Writing.

    def changed(self, *tags: str) -> None:
        """Have tags purged once what is under way is committed; for writes that tell nothing of themselves."""
        if not self._frames:
            self.begin()
        self._frames[-1].tags.update(tags)
        found = collected()
        if found is not None:
            found.depend(self._unit)

    def _begun(self, transaction: SessionTransaction) -> None:
        if transaction.parent is None:
            self._unit = Unit()
            if self.expire_on_commit or not len(self.identity_map):  # nothing read before is used without being read
                self._reads = Collected()
                self._reads_began = time.monotonic()
        if transaction.parent is None or transaction.nested:
            self._frames.append(_Frame())

    def _committed(self) -> None:
        frame = self._frames[-1]
        frame.committed = True
        if len(self._frames) > 1:
            return
        self._unit.committed = True
        if not frame.tags:
            return
        if in_greenlet():
            await_only(asyncio.to_thread(purge_committed, frame.tags))
        else:
            purge_committed(frame.tags)

    def _ended(self, transaction: SessionTransaction) -> None:
        if transaction.parent is not None and not transaction.nested:
            return
        frame = self._frames.pop()
        if not self._frames or not frame.tags:
            return
        if frame.committed:
            self._frames[-1].tags |= frame.tags
        else:
            self._unit = Unit()  # what was read of it will never have been so


def _key(mapper: Mapper[Any], ident: Any) -> tuple[Any, ...]:
    if isinstance(ident, dict):
        return tuple(ident[mapper.get_property_by_column(column).key] for column in mapper.primary_key)
    return tuple(ident) if isinstance(ident, tuple | list) else (ident,)


def _table_names(mapper: Mapper[Any]) -> set[str]:
    return {table.fullname for table in (*mapper.base_mapper.tables, *mapper.tables) if isinstance(table, Table)}


def _row_tags(names: Iterable[str], key: Iterable[object]) -> list[str]:
    values = tuple(key)
    return [tag for name in names for tag in (row_tag(name, *values), rows_tag(name))]


def _tables_of(compiled: Any) -> frozenset[str]:
    """Return the tables that a compiled statement names, those of eager joins and subqueries included."""
    found = _tables.get(compiled)
    if found is None:
        statement = getattr(compiled.compile_state, "statement", None)
        pieces = visitors.iterate(compiled.statement if statement is None else statement)
        found = _tables[compiled] = frozenset(piece.fullname for piece in pieces if isinstance(piece, Table))
    return found


@event.listens_for(Engine, "before_cursor_execute")
def _executes(
    connection: Connection, _cursor: Any, _statement: str, _parameters: Any, context: Any, _many: bool
) -> None:
    session = _sessions.get(connection)
    compiled = context.compiled if context is not None else None
    if session is None or compiled is None or not hasattr(compiled, "isinsert"):
        return
    if compiled.isinsert or compiled.isupdate or compiled.isdelete:
        table = compiled.statement.table
        name = getattr(table, "fullname", None)
        if name is not None:
            session.changed(table_tag(name), *([] if session._flushing_now else [rows_tag(name)]))
        return
    names = _tables_of(compiled)
    session.used([table_tag(name) for name in names if name not in session._by_key])


@event.listens_for(RecordedSession, "after_begin")
def _begins(session: RecordedSession, _transaction: SessionTransaction, connection: Connection) -> None:
    _sessions[connection] = session


@event.listens_for(RecordedSession, "before_flush")
def _flushes(session: RecordedSession, _context: Any, _instances: Any) -> None:
    session._flushing_now = True
    # A key that changes is known as it was only now.
    _note(session, [*session.dirty, *session.deleted], before=True)


@event.listens_for(RecordedSession, "after_flush")
def _flushed(session: RecordedSession, _context: Any) -> None:
    session._flushing_now = False
    _note(session, [*session.new, *session.dirty, *session.deleted], before=False)


@event.listens_for(RecordedSession, "after_soft_rollback")
def _rolled_back(session: RecordedSession, _transaction: SessionTransaction) -> None:
    session._flushing_now = False


def _note(session: RecordedSession, instances: Iterable[Any], *, before: bool) -> None:
    for instance in instances:
        state = inspect(instance)
        mapper = state.mapper
        key = state.identity if before else mapper.primary_key_from_instance(instance)
        if key is not None:
            for name in _table_names(mapper):
                session.changed(*change_tags(name, *key))


@event.listens_for(RecordedSession, "after_transaction_create")
def _transaction_begins(session: RecordedSession, transaction: SessionTransaction) -> None:
    session._begun(transaction)


@event.listens_for(RecordedSession, "after_commit")
def _commits(session: RecordedSession) -> None:
    session._committed()


@event.listens_for(RecordedSession, "after_transaction_end")
def _transaction_ends(session: RecordedSession, transaction: SessionTransaction) -> None:
    session._ended(transaction)
