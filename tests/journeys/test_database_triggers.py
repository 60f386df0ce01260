"""Triggers on a real PostgreSQL: what each write tells, and that it is told on commit alone."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import psycopg
import pytest
from psycopg import Connection, sql

from edgewise.contrib.postgres import CHANNEL, FUNCTION, MOST_ROWS, drop_triggers, install_triggers
from edgewise.contrib.tags import row_tag, rows_tag, table_tag
from support.postgres import PostgresServer

ROWS = ["product", "product:*"]
"""What is told where rows are not."""

pytestmark = pytest.mark.timeout(300)


class Watched:
    """A database with a listener."""

    def __init__(self, url: str) -> None:
        self.writer = psycopg.connect(url, autocommit=True)
        self._listener = psycopg.connect(url, autocommit=True)
        self._listener.execute(f"LISTEN {CHANNEL}")

    def do(self, statement: str, *tables: str, schema: str = "") -> None:
        """Run a statement of the test, then have triggers on tables."""
        self.writer.execute(statement.encode())
        self.writer.execute(install_triggers(*tables, schema=schema).encode())

    def payloads(self, *statements: str) -> list[str]:
        """Return what statements tell: all that is told before a mark that is told after them."""
        for statement in statements:
            self.writer.execute(statement.encode())
        self.writer.execute(f"NOTIFY {CHANNEL}, 'mark'".encode())
        found: list[str] = []
        for notify in self._listener.notifies(timeout=60):
            if notify.payload == "mark":
                return found
            found.append(notify.payload)
        raise AssertionError("the mark did not come")

    def tags(self, *statements: str) -> list[str]:
        """Return the tags that statements tell."""
        return [tag for payload in self.payloads(*statements) for tag in payload.split(" ")]

    def close(self) -> None:
        self.writer.close()
        self._listener.close()


@pytest.fixture
def database(postgres: PostgresServer) -> Iterator[Watched]:
    watched = Watched(postgres.database())
    yield watched
    watched.close()


@pytest.fixture
def product(database: Watched) -> Watched:
    database.do("CREATE TABLE product (id int PRIMARY KEY, name text)", "product")
    return database


def test_every_kind_of_write_tells_the_table_and_its_rows(product: Watched) -> None:
    assert product.tags("INSERT INTO product VALUES (1, 'a'), (2, 'b')") == ["product", "product:1", "product:2"]
    assert product.tags("UPDATE product SET name = 'x' WHERE id = 1") == ["product", "product:1"]
    assert product.tags("DELETE FROM product WHERE id = 2") == ["product", "product:2"]
    assert product.tags("TRUNCATE product") == ROWS
    upsert = "INSERT INTO product VALUES (1, 'a'), (2, 'b') ON CONFLICT (id) DO UPDATE SET name = 'c'"
    product.tags("INSERT INTO product VALUES (1, 'a')")
    assert set(product.tags(upsert)) == {"product", "product:1", "product:2"}
    merge = """MERGE INTO product AS p USING (VALUES (1), (3)) AS v (id) ON p.id = v.id
        WHEN MATCHED THEN DELETE WHEN NOT MATCHED THEN INSERT VALUES (v.id, '')"""
    assert set(product.tags(merge)) == {"product", "product:1", "product:3"}


def test_copy_tells_the_rows(product: Watched) -> None:
    with product.writer.cursor().copy("COPY product FROM STDIN") as copy:
        copy.write_row((7, "seven"))
    assert product.tags() == ["product", "product:7"]


def test_a_row_whose_key_changes_tells_both(product: Watched) -> None:
    product.tags("INSERT INTO product VALUES (1, 'a')")
    assert product.tags("UPDATE product SET id = 9") == ["product", "product:1", "product:9"]


def test_a_write_of_no_row_tells_nothing(product: Watched) -> None:
    assert product.tags("UPDATE product SET name = ''", "DELETE FROM product") == []


def test_what_is_rolled_back_tells_nothing(product: Watched) -> None:
    assert product.tags("BEGIN", "INSERT INTO product VALUES (1, 'a')", "ROLLBACK") == []
    with_savepoint = ["SAVEPOINT s", "INSERT INTO product VALUES (2, 'b')", "ROLLBACK TO s"]
    told = product.tags("BEGIN", "INSERT INTO product VALUES (1, 'a')", *with_savepoint, "COMMIT")
    assert told == ["product", "product:1"]


def test_nothing_is_told_before_the_commit(product: Watched) -> None:
    with psycopg.connect(product.writer.info.dsn) as other:
        other.execute("INSERT INTO product VALUES (1, 'a')")
        assert product.tags() == []
    assert product.tags() == ["product", "product:1"]


def test_rows_that_a_foreign_key_changes_are_told_too(database: Watched) -> None:
    database.do(
        "CREATE TABLE maker (id int PRIMARY KEY);"
        "CREATE TABLE product (id int PRIMARY KEY, maker int REFERENCES maker ON DELETE CASCADE);"
        "INSERT INTO maker VALUES (1); INSERT INTO product VALUES (7, 1)",
        *("maker", "product"),
    )
    assert set(database.tags("DELETE FROM maker")) == {"maker", "maker:1", "product", "product:7"}


def test_a_statement_of_many_rows_tells_them_in_several_notifications(product: Watched) -> None:
    insert = f"INSERT INTO product SELECT n, '' FROM generate_series(1, {MOST_ROWS}) AS n"
    for statement in (insert, "UPDATE product SET name = 'x'", "DELETE FROM product"):
        payloads = product.payloads(statement)
        assert len(payloads) > 1
        assert max(map(len, payloads)) < 8000
        tags = [tag for payload in payloads for tag in payload.split(" ")]
        assert sorted(tags) == sorted(["product", *(f"product:{n}" for n in range(1, MOST_ROWS + 1))])


def test_a_statement_of_more_rows_tells_the_table_alone(product: Watched) -> None:
    insert = f"INSERT INTO product SELECT n, '' FROM generate_series(0, {MOST_ROWS}) AS n"
    for statement in (insert, "UPDATE product SET name = 'x'", "DELETE FROM product"):
        assert product.tags(statement) == ROWS


def test_a_table_without_a_key_tells_the_table_alone(database: Watched) -> None:
    database.do("CREATE TABLE product (id int)", "product")
    assert database.tags("INSERT INTO product VALUES (1)") == ROWS


@pytest.mark.parametrize("kind", ["timestamptz", "numeric", "bytea", "char(3)", "own"])
def test_keys_without_one_text_tell_the_table_alone(database: Watched, kind: str) -> None:
    values = {"timestamptz": "now()", "numeric": "1.50", "bytea": "'a'", "char(3)": "'a'", "own": "1"}
    database.do(f"CREATE DOMAIN own AS int; CREATE TABLE product (id {kind} PRIMARY KEY)", "product")
    assert database.tags(f"INSERT INTO product VALUES ({values[kind]})") == ROWS


def test_rows_are_tagged_as_those_who_read_them_tag_them(database: Watched) -> None:
    odd, token = "grün, 'x' \"y\"\n\\", uuid.uuid4()
    database.do(
        "CREATE TABLE product (name text, id bigint, code uuid, shown bool, day date, price int,"
        " PRIMARY KEY (id, name, code, shown, day) INCLUDE (price))",
        "product",
    )
    insert = "INSERT INTO product (id, name, code, shown, day) VALUES (%s, %s, %s, %s, %s)"
    database.writer.execute("SET datestyle = 'German'")
    database.writer.execute(insert, [-7, odd, str(token).upper(), True, "2026-02-01"])
    database.writer.execute(insert, [8, "a" * 65, token, False, "1999-12-31"])
    assert database.tags() == [
        "product",
        row_tag("product", -7, odd, str(token), "true", "2026-02-01"),
        "product",
        row_tag("product", 8, "a" * 65, str(token), "false", "1999-12-31"),
    ]


def test_a_tag_that_no_layer_would_keep_becomes_that_of_the_table(database: Watched) -> None:
    database.do("CREATE TABLE product (a text, b text, c text, d text, PRIMARY KEY (a, b, c, d))", "product")
    values = ", ".join(f"'{letter * 64}'" for letter in "abcd")
    assert database.tags(f"INSERT INTO product VALUES ({values})") == ROWS


@pytest.mark.parametrize("name", ["Product", "a \"b\" 'c'", "grün:%s %(x)s", "back\\slash", "select", "a" * 63])
@pytest.mark.parametrize("schema", ["", 'My "own" schema'])
def test_names_are_taken_as_they_are(database: Watched, name: str, schema: str) -> None:
    where = sql.Identifier(schema, name) if schema else sql.Identifier(name)
    table = where.as_string(database.writer)
    make = f"CREATE SCHEMA {sql.Identifier(schema).as_string(database.writer)};" if schema else ""
    key = sql.Identifier(f"r {name}"[:60]).as_string(database.writer)
    database.do(f"{make} CREATE TABLE {table} ({key} int PRIMARY KEY)", name, schema=schema)
    named = f"{schema}.{name}" if schema else name
    told = database.tags(f"INSERT INTO {table} VALUES (1)", f"UPDATE {table} SET {key} = 2", f"TRUNCATE {table}")
    assert told[:2] == [table_tag(named), row_tag(named, 1)]
    assert told[-2:] == [table_tag(named), rows_tag(named)]
    database.writer.execute(drop_triggers(name, schema=schema).encode())
    assert database.tags(f"INSERT INTO {table} VALUES (1)") == []


def test_writes_to_a_partitioned_table_are_told(database: Watched) -> None:
    database.do(
        "CREATE TABLE product (id int PRIMARY KEY) PARTITION BY RANGE (id);"
        "CREATE TABLE low PARTITION OF product FOR VALUES FROM (0) TO (100);"
        "CREATE TABLE high PARTITION OF product FOR VALUES FROM (100) TO (200)",
        "product",
    )
    assert database.tags("INSERT INTO product VALUES (1), (150)") == ["product", "product:1", "product:150"]
    assert set(database.tags("UPDATE product SET id = 151 WHERE id = 1")) == {"product", "product:1", "product:151"}


def test_installing_again_changes_nothing_and_dropping_leaves_nothing(product: Watched) -> None:
    product.do("CREATE TABLE other (id int PRIMARY KEY)", "other", "product")
    assert product.tags("INSERT INTO product VALUES (1, 'a')") == ["product", "product:1"]
    product.writer.execute(drop_triggers("product").encode())
    assert product.tags("INSERT INTO product VALUES (2, 'a')", "INSERT INTO other VALUES (1)") == ["other", "other:1"]
    for _ in range(2):
        product.writer.execute(drop_triggers("other", "gone").encode())
    assert _functions(product.writer) == 0


def _functions(connection: Connection) -> int:
    row = connection.execute("SELECT count(*) FROM pg_proc WHERE proname = %s", [FUNCTION]).fetchone()
    assert row is not None
    return int(row[0])


def test_nobodys_function_of_the_same_name_runs_in_place_of_postgresqls(product: Watched) -> None:
    product.writer.execute("CREATE SCHEMA trap; SET search_path = trap, public")
    product.writer.execute(
        "CREATE FUNCTION trap.pg_notify(text, text) RETURNS void LANGUAGE plpgsql AS $$BEGIN RAISE 'trapped'; END$$"
    )
    assert product.tags("INSERT INTO public.product VALUES (1, 'a')") == ["product", "product:1"]


def test_who_may_write_to_the_table_needs_no_other_right(product: Watched) -> None:
    product.writer.execute("DROP ROLE IF EXISTS clerk")
    product.writer.execute(
        "CREATE ROLE clerk; GRANT INSERT ON product TO clerk; REVOKE ALL ON SCHEMA public FROM PUBLIC"
    )
    product.writer.execute("GRANT USAGE ON SCHEMA public TO clerk; SET ROLE clerk")
    assert product.tags("INSERT INTO product VALUES (1, 'a')") == ["product", "product:1"]
    product.writer.execute("RESET ROLE; DROP OWNED BY clerk; DROP ROLE clerk")


@pytest.mark.parametrize("name", ["", "a" * 64, "\u00fc" * 32, "a\0b"])
def test_what_is_no_name_is_refused(name: str) -> None:
    for function in (install_triggers, drop_triggers):
        with pytest.raises(ValueError, match="is no name"):
            function(name)
