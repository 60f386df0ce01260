"""Writes that bypass the app, heard by a real edgewise from a real PostgreSQL: what they concern is not used again."""

from __future__ import annotations

import os
import re
import signal
import threading
from collections.abc import Callable, Iterator

import psycopg
import pytest

from edgewise.contrib.postgres import install_triggers
from journeys.conftest import StartEdgewise, StartOrigin
from support.cuttable_proxy import CuttableProxy
from support.edgewise_process import EdgewiseProcess, wait_until
from support.origin import OriginConnection
from support.postgres import PostgresServer
from support.raw_http import RawResponse, get

TOML = """
[server]
listen = ["127.0.0.1:$PORT"]
workers = 2
admin = "127.0.0.1:$ADMIN_PORT"
[database]
url = "URL"
[cache]
offline = "OFFLINE"
[upstreams.app]
servers = ["ORIGIN"]
[[routes]]
upstream = "app"
cache = { ignore_marketing = true }
"""
PATIENCE = 60.0

pytestmark = pytest.mark.timeout(300)


class Shop:
    """An origin that shows a product's price (`/7`) or how many there are (`/`), read in the database each time."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.reads: dict[str, int] = {}

    def __call__(self, connection: OriginConnection) -> None:
        while True:
            path = connection.read_request().split()[1].decode()
            with psycopg.connect(self.url, autocommit=True) as database:
                text, tags = self._read(database, path.strip("/"))
            self.reads[path] = self.reads.get(path, 0) + 1
            fields = f"Content-Length: {len(text)}\r\nCache-Control: max-age=3600\r\nSurrogate-Key: {tags}\r\n"
            connection.send(f"HTTP/1.1 200 OK\r\n{fields}\r\n{text}".encode())

    def _read(self, database: psycopg.Connection, key: str) -> tuple[str, str]:
        if key == "other":
            return "unrelated", "other"
        if not key:
            row = database.execute("SELECT count(*), coalesce(sum(price), 0) FROM product").fetchone()
            return str(row), "product"
        row = database.execute("SELECT price FROM product WHERE id = %s", [key]).fetchone()
        return str(row), f"product:{key} product:*"


class Running:
    """An edgewise before a shop, and a way to write to its database."""

    def __init__(self, edgewise: EdgewiseProcess, shop: Shop) -> None:
        self.edgewise = edgewise
        self.shop = shop
        self.writer = psycopg.connect(shop.url, autocommit=True)
        self.clients = [edgewise.client() for _ in range(8)]

    def ask(self, path: str) -> set[bytes]:
        """Ask on connections that both workers have, all but surely."""
        return {client.ask(get(path)).body for client in self.clients}

    def one(self, path: str) -> RawResponse:
        """Ask on one connection."""
        return self.clients[0].ask(get(path))

    def price(self, key: int) -> set[bytes]:
        """Return what a product costs in the database, as the shop shows it."""
        row = self.writer.execute("SELECT price FROM product WHERE id = %s", [key]).fetchone()
        return {str(row).encode()}

    def is_shown(self, key: int) -> None:
        """Wait until every worker shows what a product costs."""
        wait_until(lambda: self.ask(f"/{key}") == self.price(key), f"product {key} is shown as it is", PATIENCE)

    def listeners(self) -> list[int]:
        """Return the backends that edgewise listens by."""
        rows = self.writer.execute(
            "SELECT pid FROM pg_stat_activity WHERE application_name = 'edgewise' AND datname = current_database()"
        )
        return [row[0] for row in rows]

    def heard(self, times: int = 1) -> None:
        """Wait until edgewise has said so often that it listens."""
        wait_until(lambda: self.edgewise.log.count("tables of postgresql") >= times, "edgewise listens", PATIENCE)

    def close(self) -> None:
        self.writer.close()
        for client in self.clients:
            client.close()


Start = Callable[..., Running]


@pytest.fixture
def start(postgres: PostgresServer, edgewise_server: StartEdgewise, origin: StartOrigin) -> Iterator[Start]:
    running: list[Running] = []

    def begin(url: str = "", offline: str = "60s", port: int = 0, user: str = "edgewise") -> Running:
        shop = Shop(url or made(postgres))
        listened = shop.url.replace(f":{postgres.port}/", f":{port}/") if port else shop.url
        listened = listened.replace("edgewise@", f"{user}@")
        text = TOML.replace("URL", listened).replace("OFFLINE", offline).replace("ORIGIN", origin(shop).address)
        running.append(Running(edgewise_server(text), shop))
        running[-1].heard()
        return running[-1]

    yield begin
    for each in running:
        each.close()


def made(server: PostgresServer) -> str:
    """Make a database of 20 products; return its URL."""
    url = server.database()
    with psycopg.connect(url) as connection:
        connection.execute("CREATE TABLE product (id int PRIMARY KEY, price int)")
        connection.execute("INSERT INTO product SELECT n, 100 FROM generate_series(1, 20) AS n")
        connection.execute(install_triggers("product").encode())
    return url


def test_a_write_purges_what_read_the_row_and_what_read_the_table_alone(start: Start) -> None:
    shop = start()
    for path in ("/1", "/2", "/", "/other"):
        shop.ask(path)
    reads = dict(shop.shop.reads)
    shop.writer.execute("UPDATE product SET price = 7 WHERE id = 1")
    shop.is_shown(1)
    wait_until(lambda: shop.ask("/") == {b"(20, 1907)"}, "the list is shown as it is", PATIENCE)
    assert shop.ask("/2") == {b"(100,)"}
    assert shop.ask("/other") == {b"unrelated"}
    assert [shop.shop.reads[path] for path in ("/2", "/other")] == [reads[path] for path in ("/2", "/other")]
    assert b"hit" in (shop.one("/1").get("Cache-Status") or "").encode()


def test_a_statement_that_cannot_tell_its_rows_purges_all_that_read_the_table(start: Start) -> None:
    shop = start()
    for key in (1, 2):
        shop.ask(f"/{key}")
    shop.writer.execute("TRUNCATE product")
    for key in (1, 2):
        shop.is_shown(key)


def test_one_transaction_of_more_writes_than_are_told_apart_purges_each(start: Start) -> None:
    shop = start()
    for key in range(1, 21):
        shop.ask(f"/{key}")
    with shop.writer.transaction():
        for key in range(1, 21):
            shop.writer.execute("UPDATE product SET price = 5 WHERE id = %s", [key])
        for first in (1000, 2000):
            shop.writer.execute(
                f"INSERT INTO product SELECT n, 0 FROM generate_series({first}, {first + 999}) AS n".encode()
            )
    for key in range(1, 21):
        shop.is_shown(key)


def test_what_was_written_while_the_connection_was_lost_is_purged_after_it(start: Start) -> None:
    shop = start()
    ended, written = threading.Event(), [0]

    def write() -> None:
        with psycopg.connect(shop.shop.url, autocommit=True) as database:
            while not ended.is_set():
                written[0] += 1
                key = written[0] % 20 + 1
                database.execute("UPDATE product SET price = price + 1 WHERE id = %s", [key])

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for times in range(3):
            for key in range(1, 21):
                shop.ask(f"/{key}")
            before = written[0]
            for pid in shop.listeners():
                shop.writer.execute("SELECT pg_terminate_backend(%s)", [pid])
            wait_until(lambda before=before: written[0] > before + 20, "writes go on", PATIENCE)
            shop.heard(times + 2)
    finally:
        ended.set()
        writer.join()
    for key in range(1, 21):
        shop.is_shown(key)


def test_while_there_is_no_connection_what_was_read_is_validated_now_and_then(
    start: Start, postgres: PostgresServer
) -> None:
    between = CuttableProxy(postgres.port)
    shop = start(offline="1s", port=between.port)
    for path in ("/1", "/other"):
        shop.ask(path)
    other = shop.shop.reads["/other"]
    between.cut()
    shop.writer.execute("UPDATE product SET price = 5 WHERE id = 1")
    shop.is_shown(1)
    assert "are not heard" in shop.edgewise.log
    shop.ask("/other")
    assert shop.shop.reads["/other"] == other, "what was not read of the database stays as it is"
    between.heal()
    shop.heard(2)


@pytest.mark.slow
def test_a_connection_that_says_nothing_any_more_is_given_up(start: Start, postgres: PostgresServer) -> None:
    between = CuttableProxy(postgres.port)
    shop = start(port=between.port)
    shop.ask("/1")
    between.silence()
    shop.writer.execute("UPDATE product SET price = 5 WHERE id = 1")
    wait_until(lambda: "are not heard" in shop.edgewise.log, "edgewise misses the database", PATIENCE)
    between.heal()
    shop.is_shown(1)


def test_what_was_written_while_there_was_no_control_process_is_purged_by_the_next_one(start: Start) -> None:
    shop = start()
    shop.ask("/1")
    control = shop.edgewise.tree()[-1]  # it is started last
    os.kill(control, signal.SIGSTOP)
    shop.writer.execute("UPDATE product SET price = 5 WHERE id = 1")
    os.kill(control, signal.SIGKILL)
    shop.heard(2)
    shop.is_shown(1)


def test_metrics_tell_whether_writes_are_heard_and_the_password_is_shown_nowhere(start: Start) -> None:
    shop = start(user="edgewise:hidden")

    def figure(name: str) -> int:
        found = re.search(rf"^edgewise_database_{name} (\d+)$", shop.edgewise.admin("/metrics").decode(), re.MULTILINE)
        return int(found[1]) if found else -1

    wait_until(lambda: figure("listening") == 1, "edgewise says that it listens", PATIENCE)
    tags = figure("tags_total")
    shop.writer.execute("UPDATE product SET price = 5 WHERE id = 1")
    wait_until(lambda: figure("tags_total") == tags + 2, "what was told is counted", PATIENCE)
    shop.writer.execute("SELECT pg_terminate_backend(%s)", shop.listeners())
    wait_until(lambda: figure("losses_total") == 1, "the loss is counted", PATIENCE)
    shop.heard(2)
    assert b"hidden" not in shop.edgewise.admin("/api/v1/config")
    assert "hidden" not in shop.edgewise.log


def test_a_restarted_database_is_heard_again_and_is_served_from_the_cache_meanwhile(start: Start) -> None:
    own = PostgresServer()
    try:
        own.start()
        shop = start(made(own))
        before = shop.ask("/1")
        shop.writer.close()
        own.stop()
        wait_until(lambda: "are not heard" in shop.edgewise.log, "edgewise misses the database", PATIENCE)
        assert shop.ask("/1") == before
        own.start()
        shop.writer = psycopg.connect(shop.shop.url, autocommit=True)
        shop.writer.execute("UPDATE product SET price = 5 WHERE id = 1")
        shop.heard(2)
        shop.is_shown(1)
    finally:
        own.remove()


def test_a_reload_may_begin_listening_change_the_database_and_end_it(start: Start, postgres: PostgresServer) -> None:
    shop = start()
    text = shop.edgewise.config.read_text()
    assert len(shop.listeners()) == 1
    other = made(postgres)
    shop.edgewise.config.write_text(text.replace(shop.shop.url, other))
    shop.edgewise.admin("/api/v1/reload", "POST")
    shop.heard(2)
    assert shop.listeners() == []
    shop.edgewise.config.write_text(text.replace("[database]", "").replace(f'url = "{shop.shop.url}"', ""))
    shop.edgewise.admin("/api/v1/reload", "POST")
    with psycopg.connect(other) as database:
        asked = (
            "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'edgewise' AND datname = current_database()"
        )
        wait_until(lambda: database.execute(asked).fetchone() == (0,), "nobody listens", PATIENCE)
    shop.edgewise.config.write_text(text)
    shop.edgewise.admin("/api/v1/reload", "POST")
    shop.heard(3)
    shop.ask("/1")
    shop.writer.execute("UPDATE product SET price = 5 WHERE id = 1")
    shop.is_shown(1)
