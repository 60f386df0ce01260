"""PostgreSQL triggers that tell of every write, also of those that pass the app by.

`install_triggers("shop_product")` and `drop_triggers("shop_product")` are SQL for a migration: Django's
`migrations.RunSQL(install_triggers(...), drop_triggers(...))`, Alembic's `op.execute(install_triggers(...))`, or psql
(`edgewise db triggers`). The triggers run once a statement, and NOTIFY the tags of `edgewise.contrib.tags`; PostgreSQL
sends what is notified when the transaction commits, and nothing when it does not. PostgreSQL 14 or later.
"""

from __future__ import annotations

from string import Template

from edgewise.contrib.tags import rows_tag, table_tag

CHANNEL = "edgewise"
FUNCTION = "edgewise_notify"
MOST_ROWS = 1000
"""Of one statement; where it changed more, every row of the table counts as changed."""
_LONGEST_NAME = 63
"""Bytes of an identifier; PostgreSQL cuts longer ones off."""
_LONGEST_TAG = 256
"""Bytes that the HTTP cache takes."""
_LONGEST_PAYLOAD = 7900
"""Bytes; NOTIFY takes less than 8000."""
_TRANSITIONS = {
    "INSERT": "REFERENCING NEW TABLE AS edgewise_new",
    "UPDATE": "REFERENCING OLD TABLE AS edgewise_old NEW TABLE AS edgewise_new",
    "DELETE": "REFERENCING OLD TABLE AS edgewise_old",
    "TRUNCATE": "",
}

# Arguments of the trigger: the table's tag, and that of any of its rows. Names are looked up in pg_catalog alone, so
# that nobody's function or operator of the same name runs in their place; transition tables are found all the same.
_CREATE_FUNCTION = Template(r"""CREATE OR REPLACE FUNCTION $function() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET datestyle = 'ISO, YMD' AS $$edgewise$$
DECLARE
  rows text := CASE TG_OP WHEN 'INSERT' THEN 'TABLE edgewise_new' WHEN 'DELETE' THEN 'TABLE edgewise_old'
    ELSE 'TABLE edgewise_new UNION ALL TABLE edgewise_old' END;
  bound int := $most_rows * CASE TG_OP WHEN 'UPDATE' THEN 2 ELSE 1 END;
  parts text;
  told boolean;
  changed int;
  tags text[];
  tag text;
  payload text := TG_ARGV[0];
BEGIN
  IF TG_OP = 'TRUNCATE' THEN
    PERFORM pg_notify('$channel', TG_ARGV[0] || ' ' || TG_ARGV[1]);
    RETURN NULL;
  END IF;
  -- The primary key: what makes each column's part of a tag, and whether its type has one text for all who tag.
  SELECT string_agg(format('CASE WHEN %1$$I::text ~ ''^[A-Za-z0-9_.-]{1,64}$$'' THEN %1$$I::text'
      || ' ELSE ''~'' || left(encode(sha256(convert_to(%1$$I::text, ''UTF8'')), ''hex''), 32) END', a.attname),
      ' || '':'' || ' ORDER BY k.place),
    bool_and(a.atttypid IN ('int2'::regtype, 'int4'::regtype, 'int8'::regtype, 'text'::regtype,
      'varchar'::regtype, 'uuid'::regtype, 'bool'::regtype, 'date'::regtype))
    INTO parts, told
    FROM pg_index AS i CROSS JOIN unnest(i.indkey) WITH ORDINALITY AS k(number, place)
    JOIN pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum = k.number
    WHERE i.indrelid = TG_RELID AND i.indisprimary AND k.place <= i.indnkeyatts;
  EXECUTE format('SELECT count(*), array_agg(DISTINCT tag) FROM (SELECT %L || %s AS tag FROM (%s) AS r LIMIT %s) AS s',
    TG_ARGV[0] || ':', coalesce(parts, 'NULL'), rows, bound + 1) INTO changed, tags;
  IF changed = 0 THEN
    RETURN NULL;
  ELSIF told IS NOT TRUE OR changed > bound
      OR (SELECT max(octet_length(t)) FROM unnest(tags) AS t) > $longest_tag THEN
    PERFORM pg_notify('$channel', TG_ARGV[0] || ' ' || TG_ARGV[1]);
    RETURN NULL;
  END IF;
  FOREACH tag IN ARRAY tags LOOP
    IF octet_length(payload) + octet_length(tag) >= $longest_payload THEN
      PERFORM pg_notify('$channel', payload);
      payload := tag;
    ELSE
      payload := payload || ' ' || tag;
    END IF;
  END LOOP;
  PERFORM pg_notify('$channel', payload);
  RETURN NULL;
END
$$edgewise$$;
""")
_CREATE_TRIGGER = Template("""CREATE OR REPLACE TRIGGER $trigger AFTER $event ON $table
  $transitions FOR EACH STATEMENT EXECUTE FUNCTION $function($tag, $any_row);
""")
_DROP_TRIGGER = Template("DROP TRIGGER IF EXISTS $trigger ON $table;\n")
_DROP_FUNCTION = Template("""DO $$edgewise$$
BEGIN
  IF NOT EXISTS (SELECT FROM pg_catalog.pg_trigger WHERE tgfoid = pg_catalog.to_regproc($name)) THEN
    DROP FUNCTION IF EXISTS $function();
  END IF;
END
$$edgewise$$;
""")


def install_triggers(*tables: str, schema: str = "") -> str:
    """Return the SQL that has every INSERT, UPDATE, DELETE and TRUNCATE of tables told; running it again is harmless.

    `tables`: names as PostgreSQL has them, case and all. `schema`: where they are; it belongs to their tags then, as
    where the ORM names it. Without, they are found by the `search_path` of who runs the SQL. Raises ValueError for what
    is no name.
    """
    function = _qualified(FUNCTION, schema)
    settings = {"channel": CHANNEL, "longest_tag": _LONGEST_TAG, "longest_payload": _LONGEST_PAYLOAD}
    pieces = [_CREATE_FUNCTION.substitute(settings, function=function, most_rows=MOST_ROWS)]
    for table in tables:
        named = f"{schema}.{table}" if schema else table
        tags = {"tag": _literal(table_tag(named)), "any_row": _literal(rows_tag(named))}
        for event, transitions in _TRANSITIONS.items():
            names = {"trigger": _trigger(event), "table": _qualified(table, schema), "function": function}
            pieces.append(_CREATE_TRIGGER.substitute(names, event=event, transitions=transitions, **tags))
    return "".join(pieces)


def drop_triggers(*tables: str, schema: str = "") -> str:
    """Return the SQL that undoes `install_triggers`. Raises ValueError for what is no name."""
    function = _qualified(FUNCTION, schema)
    pieces = [
        _DROP_TRIGGER.substitute(trigger=_trigger(event), table=_qualified(table, schema))
        for table in tables
        for event in _TRANSITIONS
    ]
    return "".join(pieces) + _DROP_FUNCTION.substitute(name=_literal(function), function=function)


def _trigger(event: str) -> str:
    return f"edgewise_{event.lower()}"


def _qualified(name: str, schema: str) -> str:
    return f"{_quoted(schema)}.{_quoted(name)}" if schema else _quoted(name)


def _quoted(name: str) -> str:
    """Return an identifier in quotes. Raises ValueError for what PostgreSQL takes for another name, or for none."""
    if not 0 < len(name.encode()) <= _LONGEST_NAME or "\0" in name:
        raise ValueError(f"{name!r} is no name: 1 to {_LONGEST_NAME} bytes without NUL")
    escaped = name.replace('"', '""')
    return f'"{escaped}"'


def _literal(text: str) -> str:
    """Return a text in quotes; with a backslash it means the same whatever `standard_conforming_strings` is."""
    escaped = text.replace("\\", "\\\\").replace("'", "''")
    return f"E'{escaped}'" if "\\" in text else f"'{escaped}'"
