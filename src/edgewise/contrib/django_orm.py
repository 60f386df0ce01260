"""Django's ORM: what a query reads is tagged, what it writes is purged once it is committed.

    INSTALLED_APPS = [..., "edgewise.contrib.django_orm.OrmConfig"]
    MIDDLEWARE = ["edgewise.contrib.django_orm.SurrogateKeys", ...]     # above all that reads

Covered is all that the ORM compiles: `save`, `delete` with its cascades, `update`, `bulk_create`, `bulk_update`, many
to many. Not covered: `raw()`, `cursor()`, what the database itself does (triggers, its own cascades), and code that
turned autocommit off without `atomic`; `changed` and `contrib.tags.record` are for that.
"""

from __future__ import annotations

import math
import time
from collections.abc import Awaitable, Callable, Iterable
from contextvars import ContextVar
from typing import Any, cast

from asgiref.sync import iscoroutinefunction
from django.apps import AppConfig
from django.db import DEFAULT_DB_ALIAS, connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Model
from django.db.models.expressions import Col
from django.db.models.lookups import Exact, In
from django.db.models.signals import m2m_changed, post_delete, post_save
from django.db.models.sql.compiler import SQLCompiler, SQLDeleteCompiler, SQLInsertCompiler, SQLUpdateCompiler
from django.http import HttpRequest, HttpResponse
from django.utils.decorators import sync_and_async_middleware

from edgewise.contrib.committed import purge_committed
from edgewise.contrib.surrogate_keys import key_fields
from edgewise.contrib.tags import Unit, change_tags, collected, collecting, row_tag, rows_tag, table_tag

_reading: ContextVar[list[str] | None] = ContextVar("edgewise_django_tables", default=None)
"""The tables of the statement that is compiled."""
_BEGAN = "_edgewise_began"
"""Attribute of a connection: when its transaction began, in monotonic seconds."""


class OrmConfig(AppConfig):
    """Has the ORM tag and purge."""

    name = "edgewise.contrib.django_orm"
    label = "edgewise_orm"

    def __init__(self, app_name: str, app_module: Any) -> None:
        super().__init__(app_name, app_module)
        _install()


class _Purge:
    """What is purged when a transaction commits: a hook of `on_commit`, one for each savepoint that wrote."""

    def __init__(self, savepoints: set[str]) -> None:
        self.savepoints = savepoints
        self.tags: set[str] = set()
        self.urls: set[str] = set()
        self.unit = Unit()

    def __call__(self) -> None:
        self.unit.committed = True
        purge_committed(self.tags, self.urls)


def changed(tags: Iterable[str] = (), urls: Iterable[str] = (), *, using: str | None = None) -> None:
    """Have tags and URLs purged once what is under way on a database is committed; at once outside of a transaction."""
    connection = connections[using or DEFAULT_DB_ALIAS]
    atomic = connection.in_atomic_block
    savepoints = set(connection.savepoint_ids) if atomic else set()
    found = next((hook for hook in _hooks(connection) if hook.savepoints == savepoints), None) if atomic else None
    purge = found or _Purge(savepoints)
    purge.tags.update(tags)
    purge.urls.update(urls)
    if found is None:
        if atomic or connection.get_autocommit():
            transaction.on_commit(purge, using=connection.alias, robust=True)
        else:
            purge()
    used = collected()
    if used is not None:
        used.depend(purge.unit)


def _hooks(connection: Any) -> list[_Purge]:
    return [hook for _savepoints, hook, _robust in connection.run_on_commit if isinstance(hook, _Purge)]


def purge_on_save(
    model: type[Model],
    *,
    tags: Callable[[Any], Iterable[str]] | None = None,
    urls: Callable[[Any], Iterable[str]] | None = None,
) -> None:
    """Purge what functions of an instance name, whenever one is saved, deleted or its many-to-many fields change.

    For tags and URLs of one's own, with or without `OrmConfig`; once the change is committed.
    """

    def heard(instance: Any, using: str | None, **said: Any) -> None:
        if isinstance(instance, model) and str(said.get("action", "post_")).startswith("post_"):
            changed(
                () if tags is None else tags(instance),
                () if urls is None else urls(instance),
                using=using,
            )

    post_save.connect(heard, sender=model, weak=False)
    post_delete.connect(heard, sender=model, weak=False)
    for field in model._meta.many_to_many:
        m2m_changed.connect(heard, sender=cast("Any", field.remote_field).through, weak=False)


@sync_and_async_middleware
def SurrogateKeys(get_response: Callable[[HttpRequest], Any]) -> Callable[[HttpRequest], Any]:
    """Put the tags of what a request used on its answer. Content that is streamed reads too late to be tagged."""

    async def in_loop(request: HttpRequest) -> HttpResponse:
        with collecting() as used:
            response = await cast("Awaitable[HttpResponse]", get_response(request))
            return _tagged(response, key_fields(used))

    def in_thread(request: HttpRequest) -> HttpResponse:
        with collecting() as used:
            return _tagged(get_response(request), key_fields(used))

    return in_loop if iscoroutinefunction(get_response) else in_thread


def _tagged(response: HttpResponse, fields: list[tuple[str, str]]) -> HttpResponse:
    for name, value in fields:
        own = response.headers.get(name) if name == "Surrogate-Key" else None
        response.headers[name] = f"{own} {value}" if own else value
    return response


# ---- what the ORM compiles -------------------------------------------------------------------------------------------


def _install() -> None:
    """Have every compiler of the ORM tell; a second time changes nothing."""
    if hasattr(SQLCompiler.execute_sql, "edgewise"):
        return
    select, insert, sources = SQLCompiler.execute_sql, SQLInsertCompiler.execute_sql, SQLCompiler.get_from_clause
    begins = BaseDatabaseWrapper.set_autocommit

    def execute_sql(self: Any, *arguments: Any, **options: Any) -> Any:
        if isinstance(self, SQLUpdateCompiler | SQLDeleteCompiler):
            result = select(self, *arguments, **options)
            changed(_written(self.query), using=self.using)
            return result
        if collected() is None:
            return select(self, *arguments, **options)
        tables: list[str] = []
        token = _reading.set(tables)
        began = time.monotonic()
        try:
            result = select(self, *arguments, **options)
        finally:
            _reading.reset(token)
        _note_read(self, tables, began)
        return result

    def execute_insert(self: Any, *arguments: Any, **options: Any) -> Any:
        returning = options.get("returning_fields", arguments[0] if arguments else None)
        rows = insert(self, *arguments, **options)
        changed(_inserted(self.query, returning, rows), using=self.using)
        return rows

    def get_from_clause(self: Any) -> Any:
        found = sources(self)
        tables = _reading.get()
        if tables is not None:
            query = self.query
            tables.extend(
                source.table_name for alias, source in query.alias_map.items() if query.alias_refcount.get(alias)
            )
        return found

    def set_autocommit(self: Any, autocommit: bool, *arguments: Any, **options: Any) -> None:
        if not autocommit:
            setattr(self, _BEGAN, time.monotonic())
        begins(self, autocommit, *arguments, **options)

    execute_sql.edgewise = True  # type: ignore[attr-defined]
    SQLCompiler.execute_sql = execute_sql  # type: ignore[method-assign]
    SQLInsertCompiler.execute_sql = execute_insert  # type: ignore[method-assign]
    SQLCompiler.get_from_clause = get_from_clause  # type: ignore[method-assign]
    BaseDatabaseWrapper.set_autocommit = set_autocommit  # type: ignore[method-assign]


def _note_read(compiler: Any, tables: list[str], began: float) -> None:
    used = collected()
    if used is None:
        return
    query, connection = compiler.query, compiler.connection
    keys = _keys(query) if getattr(query, "model", None) is not None else None
    tags = {table_tag(table) for table in tables}
    if keys is not None:
        table = query.get_meta().db_table
        if tables.count(table) == 1:  # not in a subquery too
            tags.discard(table_tag(table))
            tags |= {rows_tag(table), *(row_tag(table, key) for key in keys)}
    used.add(tags)
    if connection.in_atomic_block or not connection.get_autocommit():
        used.age(min(began, getattr(connection, _BEGAN, -math.inf)))
        for hook in _hooks(connection):
            used.depend(hook.unit)


def _keys(query: Any) -> list[object] | None:
    """Return the primary keys that a query is limited to, where conditions name them; None where they do not."""
    where = query.where
    if query.combinator or where.negated or where.connector != "AND":
        return None
    for each in where.children:
        lhs = getattr(each, "lhs", None)
        if not isinstance(lhs, Col) or not lhs.target.primary_key or lhs.alias != query.base_table:
            continue
        if lhs.target.model is not query.get_meta().concrete_model:
            continue
        if isinstance(each, Exact) and each.rhs_is_direct_value():
            return [each.rhs]
        if isinstance(each, In) and each.rhs_is_direct_value():
            return list(each.rhs)
    return None


def _written(query: Any) -> list[str]:
    """Return the tags of what an update or a deletion concerned."""
    table = query.get_meta().db_table
    keys = _keys(query)
    pk = query.get_meta().pk
    if keys is None or any(field is pk for field, _model, _value in getattr(query, "values", ())):
        return change_tags(table)
    return [tag for key in keys for tag in change_tags(table, key)]


def _inserted(query: Any, returning: Any, rows: Any) -> list[str]:
    """Return the tags of rows that were inserted, or changed in place of that."""
    meta = query.get_meta()
    names = [field.attname for field in returning or ()]
    if meta.pk.attname in names:
        place = names.index(meta.pk.attname)
        keys = [row[place] for row in rows]
    else:
        keys = [each.pk for each in query.objs]
    known = [meta.pk.get_prep_value(key) for key in keys if key is not None]
    tags = [tag for key in known for tag in change_tags(meta.db_table, key)]
    if query.on_conflict is not None or len(known) < len(query.objs) or not known:
        tags += change_tags(meta.db_table)
    return tags
