"""SQLAlchemy: reads are tagged, commits purge, and nothing that was not committed is kept for others."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Iterator

import pytest

pytest.importorskip("sqlalchemy")
from sqlalchemy import Engine, ForeignKey, create_engine, delete, select, update
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship, sessionmaker

from edgewise.contrib.cache import AppCache
from edgewise.contrib.sqlalchemy import RecordedSession
from edgewise.contrib.tags import collecting
from edgewise.sessions import StateSettings
from support.state_servers import SqliteServer

PATIENCE = 30.0
Make = sessionmaker[RecordedSession]


class Base(DeclarativeBase):
    pass


class Product(Base):
    __tablename__ = "product"
    id: Mapped[int] = mapped_column(primary_key=True)
    price: Mapped[int]
    reviews: Mapped[list[Review]] = relationship(back_populates="product")


class Review(Base):
    __tablename__ = "review"
    id: Mapped[int] = mapped_column(primary_key=True)
    product_id: Mapped[int] = mapped_column(ForeignKey("product.id"))
    product: Mapped[Product] = relationship(back_populates="reviews")


@pytest.fixture
def cache(state: SqliteServer, request: pytest.FixtureRequest) -> Iterator[AppCache]:
    cache = AppCache(state=StateSettings(url=state.url, patience=15.0), namespace=f"t{abs(hash(request.node.name))}")
    cache.clear()  # of what the test kept of another database
    yield cache
    cache.close()


@pytest.fixture
def engine(database: str) -> Iterator[Engine]:
    if database.startswith("postgresql"):
        engine = create_engine(database.replace("postgresql", "postgresql+psycopg"))
    else:
        engine = create_engine(f"sqlite:///{database}", connect_args={"timeout": PATIENCE})
        with engine.connect() as connection:
            connection.exec_driver_sql("PRAGMA journal_mode=WAL")
    Base.metadata.create_all(engine)
    yield engine
    engine.dispose()


@pytest.fixture
def make(engine: Engine) -> Make:
    make = sessionmaker(engine, class_=RecordedSession)
    with make.begin() as session:
        session.add_all([Product(id=7, price=1), Product(id=8, price=1), Review(id=1, product_id=7)])
    return make


def price(make: Make) -> Callable[[], int]:
    def read() -> int:
        with make() as session:
            return session.get_one(Product, 7).price

    return read


def test_a_read_by_key_has_the_tag_of_its_row_and_a_set_that_of_its_table(make: Make) -> None:
    with make() as session, collecting() as used:
        session.get(Product, 7)
        assert used.tags == {"product:7", "product:*"}
    with make() as session, collecting() as used:
        assert session.get(Product, 99) is None
        assert used.tags == {"product:99", "product:*"}
    with make() as session, collecting() as used:
        session.scalars(select(Product).where(Product.id == 7)).all()
        assert used.tags == {"product"}
    with make() as session, collecting() as used:
        session.scalars(
            select(Product.id).where(select(Review.id).where(Review.product_id == Product.id).exists())
        ).all()
        assert used.tags == {"product", "review"}


def test_a_relationship_has_the_tag_of_its_table(make: Make) -> None:
    with make() as session, collecting() as used:
        assert len(session.get_one(Product, 7).reviews) == 1
        assert used.tags == {"product:7", "product:*", "review"}


def test_what_the_session_holds_already_is_tagged_with_all_that_it_read(make: Make) -> None:
    with make() as session:
        assert session.get_one(Product, 7).reviews
        with collecting() as used:
            assert session.get_one(Product, 7).reviews
        assert used.tags == {"product:7", "product:*", "review"}


def test_a_commit_purges_and_a_rollback_does_not(make: Make, cache: AppCache) -> None:
    calls: list[int] = []

    def counted() -> int:
        calls.append(1)
        return price(make)()

    def kept() -> int:
        return cache.get_or_compute("k", counted, 600)

    assert (kept(), kept(), len(calls)) == (1, 1, 1)
    with make() as session:
        session.get_one(Product, 7).price = 2
        session.flush()
        session.rollback()
    assert (kept(), len(calls)) == (1, 1)
    with make.begin() as session:
        session.get_one(Product, 8).price = 2
    assert (kept(), len(calls)) == (1, 1), "another row"
    with make.begin() as session:
        session.get_one(Product, 7).price = 2
    assert kept() == 2
    for number, statement in enumerate((update(Product).values(price=3), delete(Review)), 3):
        with make.begin() as session:
            session.execute(statement)
        assert kept() == 3, number


def test_a_savepoint_that_is_rolled_back_purges_nothing(make: Make, cache: AppCache) -> None:
    calls: list[int] = []

    def counted() -> int:
        calls.append(1)
        return price(make)()

    cache.get_or_compute("k", counted, 600)
    with make.begin() as session:
        savepoint = session.begin_nested()
        session.get_one(Product, 7).price = 5
        session.flush()
        savepoint.rollback()
    assert (cache.get_or_compute("k", counted, 600), len(calls)) == (1, 1)
    with make.begin() as session, session.begin_nested():
        session.get_one(Product, 7).price = 5
    assert cache.get_or_compute("k", counted, 600) == 5


def test_what_is_read_in_a_transaction_that_wrote_is_not_kept(make: Make, cache: AppCache) -> None:
    with make() as session:
        session.get_one(Product, 7).price = 9
        for _ in range(2):
            assert cache.get_or_compute("k", lambda: session.get_one(Product, 7).price, 600) == 9
        session.rollback()
    assert cache.get("k") is None
    assert cache.get_or_compute("k", price(make), 600) == 1


def test_what_an_older_transaction_read_is_not_kept_past_a_purge(make: Make, cache: AppCache) -> None:
    with make() as session:
        held = session.get_one(Product, 7)
        assert held.price == 1
        with make.begin() as other:
            other.get_one(Product, 7).price = 2
        assert cache.get_or_compute("k", lambda: session.get_one(Product, 7).price, 600) == 1
    assert cache.get_or_compute("k", price(make), 600) == 2


def test_async_sessions_are_tagged_and_purge(make: Make, cache: AppCache, engine: Engine) -> None:
    pytest.importorskip("aiosqlite")

    async def run() -> None:
        url = engine.url.set(drivername=engine.url.drivername.replace("sqlite", "sqlite+aiosqlite"))
        in_loop = create_async_engine(url)
        sessions = async_sessionmaker(in_loop, sync_session_class=RecordedSession)

        async def read() -> int:
            async with sessions() as session:
                return (await session.get_one(Product, 7)).price

        assert await cache.aget_or_compute("k", read, 600) == 1
        async with sessions.begin() as session:
            (await session.get_one(Product, 7)).price = 4
        assert await cache.aget_or_compute("k", read, 600) == 4
        with collecting() as used:
            await read()
        assert used.tags == {"product:7", "product:*"}
        await cache.aclose()
        await in_loop.dispose()

    asyncio.run(run())


def test_no_read_is_older_than_a_commit_that_returned_before_it(make: Make, cache: AppCache) -> None:
    committed = 1
    ended = threading.Event()
    reads, wrong = [0, 0], []

    def read(number: int) -> None:
        while not ended.is_set():
            least = committed
            found = cache.get_or_compute("k", price(make), 600)
            reads[number] += 1
            if found < least:
                wrong.append((found, least))

    threads = [threading.Thread(target=read, args=(number,)) for number in (0, 1)]
    for thread in threads:
        thread.start()
    for number in range(2, 300):
        with make.begin() as session:
            session.get_one(Product, 7).price = number
        committed = number
    ended.set()
    for thread in threads:
        thread.join(PATIENCE)
    assert not wrong
    assert min(reads) > 0


@pytest.mark.timeout(900)
def test_a_computation_begun_before_a_commit_is_never_used_after_it(
    make: Make, cache: AppCache, engine: Engine
) -> None:
    """EDGEWISE_TRIES times: a thread reads the row, another commits a change of it, then the first ends."""
    tries, read, go = int(os.environ.get("EDGEWISE_TRIES", "300")), threading.Semaphore(0), threading.Semaphore(0)
    number, wrong = 1, []

    def slow() -> int:
        found = price(make)()
        read.release()
        assert go.acquire(timeout=PATIENCE)
        return found

    def fill() -> None:
        for _ in range(tries):
            cache.get_or_compute("k", slow, 600)
            read.release()

    filling = threading.Thread(target=fill)
    filling.start()
    for _ in range(tries):
        assert read.acquire(timeout=PATIENCE)
        number += 1
        with make.begin() as session:
            session.get_one(Product, 7).price = number
        go.release()
        assert read.acquire(timeout=PATIENCE)
        if (found := cache.get("k")) is not None:
            wrong.append((found, number))
    filling.join(PATIENCE)
    assert not wrong
