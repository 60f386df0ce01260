"""What Django's ORM tags and purges, in a process of its own: `python django_orm_cases.py CASE STATE_URL DATABASE`."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import django
from django.conf import settings

CASE, STATE, DATABASE = sys.argv[1:]


def place(database: str) -> dict[str, object]:
    """Return Django's settings of a database: a URL of PostgreSQL or the path of a file."""
    url = urlsplit(database)
    if url.scheme == "postgresql":
        server = {"HOST": url.hostname, "PORT": url.port, "USER": url.username, "NAME": url.path[1:]}
        return {"ENGINE": "django.db.backends.postgresql", **server}
    options = {"timeout": 30, "transaction_mode": "IMMEDIATE", "init_command": "PRAGMA journal_mode=WAL"}
    return {"ENGINE": "django.db.backends.sqlite3", "NAME": database, "OPTIONS": options}


settings.configure(
    INSTALLED_APPS=["edgewise.contrib.django_orm.OrmConfig"],
    MIDDLEWARE=["edgewise.contrib.django_orm.SurrogateKeys"],
    DATABASES={"default": {**place(DATABASE), "ATOMIC_REQUESTS": True}},
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
    ROOT_URLCONF=__name__,
    ALLOWED_HOSTS=["*"],
)
django.setup()

from django.db import connection, models, transaction  # noqa: E402
from django.http import HttpRequest, HttpResponse  # noqa: E402
from django.test import Client  # noqa: E402
from django.urls import path  # noqa: E402

from edgewise.contrib.cache import AppCache  # noqa: E402
from edgewise.contrib.django_orm import changed, purge_on_save  # noqa: E402
from edgewise.contrib.tags import collecting  # noqa: E402
from edgewise.sessions import StateSettings  # noqa: E402


class Tag(models.Model):
    class Meta:
        app_label, db_table = "edgewise_orm", "tag"


class Product(models.Model):
    price = models.IntegerField(default=1)
    tags = models.ManyToManyField(Tag, db_table="product_tags")

    class Meta:
        app_label, db_table = "edgewise_orm", "product"


class Review(models.Model):
    product = models.ForeignKey(Product, models.CASCADE)

    class Meta:
        app_label, db_table = "edgewise_orm", "review"


def view(request: HttpRequest) -> HttpResponse:
    return HttpResponse(str(Product.objects.get(pk=7).price))


def writing(request: HttpRequest) -> HttpResponse:
    Product.objects.filter(pk=7).update(price=5)
    if "fail" in request.GET:
        raise LookupError
    return HttpResponse(b"")


async def in_loop(request: HttpRequest) -> HttpResponse:
    return HttpResponse(str((await Product.objects.aget(pk=7)).price))


in_loop = transaction.non_atomic_requests(in_loop)
urlpatterns = [path("p", view), path("w", writing), path("a", in_loop)]
cache = AppCache(state=StateSettings(url=STATE, patience=15.0), namespace=CASE)
calls = 0


def tags_of(read: Callable[[], Any]) -> set[str]:
    with collecting() as used:
        read()
    return used.tags


def kept(pk: int = 7) -> int:
    """The price of a product, kept until it is purged."""

    def read() -> int:
        global calls
        calls += 1
        return Product.objects.get(pk=pk).price

    return cache.get_or_compute(f"price {pk}", read, 600)


def reads() -> None:
    row = {"product:7", "product:*"}
    assert tags_of(lambda: Product.objects.get(pk=7)) == row
    assert tags_of(lambda: Product.objects.filter(pk=99).first()) == {"product:99", "product:*"}
    assert tags_of(lambda: Product.objects.in_bulk([7, 8])) == row | {"product:8"}
    assert tags_of(lambda: Review.objects.get(pk=1).product) == row | {"review:1", "review:*"}
    assert tags_of(lambda: Review.objects.select_related("product").get(pk=1)) == {"review:1", "review:*", "product"}
    assert tags_of(lambda: list(Product.objects.filter(price=1))) == {"product"}
    assert tags_of(Product.objects.count) == {"product"}
    assert tags_of(lambda: list(Product.objects.get(pk=7).tags.all())) == row | {"tag", "product_tags"}
    nested = Product.objects.filter(pk=7, price__lte=Product.objects.order_by("-price").values("price")[:1])
    assert tags_of(lambda: list(nested)) == {"product"}
    found = Product.objects.filter(review__isnull=False) | Product.objects.filter(pk=7)
    assert tags_of(lambda: list(found)) == {"product", "review"}
    assert tags_of(lambda: list(Product.objects.filter(review__in=Review.objects.filter(pk=1)))) == {
        "product",
        "review",
    }


def writes() -> None:
    global calls
    ways: list[tuple[Callable[[], Any], bool]] = [
        (lambda: Product.objects.get(pk=7).save(), True),
        (lambda: Product.objects.get(pk=8).save(), False),
        (lambda: Product.objects.filter(pk=7).update(price=2), True),
        (lambda: Product.objects.filter(pk=8).update(price=2), False),
        (lambda: Product.objects.update(price=3), True),
        (lambda: Product.objects.bulk_update([Product(pk=7, price=4)], ["price"]), True),
        (lambda: Product.objects.bulk_create([Product(price=4)]), False),
        (lambda: Review.objects.all().delete(), False),
    ]
    for number, (write, purges) in enumerate(ways):
        assert kept() == kept()
        calls = 0
        write()
        kept()
        assert bool(calls) is purges, number
    product = Product.objects.get(pk=7)
    price = cache.get_or_compute("tags", lambda: product.tags.count(), 600)
    product.tags.add(Tag.objects.create())
    found = cache.get_or_compute("tags", lambda: product.tags.count(), 600)
    assert found == price + 1, (found, price, product.tags.count())
    missing = "missing"
    assert cache.get_or_compute(missing, lambda: Product.objects.filter(pk=1000).count(), 600) == 0
    Product.objects.create(pk=1000)
    assert cache.get_or_compute(missing, lambda: Product.objects.filter(pk=1000).count(), 600) == 1


def transactions() -> None:
    global calls
    assert kept() == kept()
    calls = 0
    try:
        with transaction.atomic():
            Product.objects.filter(pk=7).update(price=2)
            raise LookupError
    except LookupError:
        pass
    assert (kept(), calls) == (1, 0)
    with transaction.atomic():
        try:
            with transaction.atomic():
                Product.objects.filter(pk=7).update(price=2)
                raise LookupError
        except LookupError:
            pass
    assert (kept(), calls) == (1, 0)
    with transaction.atomic():
        with transaction.atomic():
            Product.objects.filter(pk=7).update(price=2)
        assert kept() == 1, "not committed yet"
    assert kept() == 2
    cache.clear()
    try:
        with transaction.atomic():
            Product.objects.filter(pk=7).update(price=9)
            assert kept() == 9
            raise LookupError
    except LookupError:
        pass
    assert cache.get("price 7") is None
    assert kept() == 2


def requests() -> None:
    client = Client(raise_request_exception=False)
    assert client.get("/p").headers["Surrogate-Key"] == "product:* product:7"
    assert client.get("/a").headers["Surrogate-Key"] == "product:* product:7"
    assert kept() == 1
    assert client.get("/w?fail").status_code == 500
    assert kept() == 1
    answer = client.get("/w")
    assert "Surrogate-Key" not in answer.headers
    assert kept() == 5


def signals() -> None:
    global calls
    purge_on_save(Product, tags=lambda product: [f"mine-{product.pk}"])

    def read() -> int:
        global calls
        calls += 1
        return 1

    def mine() -> int:
        return cache.get_or_compute("mine", read, 600, tags=["mine-7"])

    product = Product.objects.get(pk=7)
    for write in (product.save, lambda: product.tags.add(Tag.objects.create()), lambda: changed(["mine-7"])):
        assert mine() == mine()
        calls = 0
        write()
        mine()
        assert calls == 1


def loops() -> None:
    async def run() -> None:
        async def read() -> int:
            return (await Product.objects.aget(pk=7)).price

        assert await cache.aget_or_compute("async", read, 600) == 1
        await Product.objects.filter(pk=7).aupdate(price=2)
        assert await cache.aget_or_compute("async", read, 600) == 2
        await cache.aclose()

    asyncio.run(run())


def race() -> None:
    committed, ended, wrong = 1, threading.Event(), []

    def read() -> None:
        while not ended.is_set():
            least = committed
            found = kept()
            if found < least:
                wrong.append((found, least))
        connection.close()

    threads = [threading.Thread(target=read) for _ in range(2)]
    for thread in threads:
        thread.start()
    for number in range(2, 200):
        with transaction.atomic():
            Product.objects.filter(pk=7).update(price=number)
        committed = number
    ended.set()
    for thread in threads:
        thread.join(30)
    assert not wrong, wrong
    assert calls > 10


if __name__ == "__main__":
    with connection.schema_editor() as editor:
        for made in (Tag, Product, Review):
            editor.create_model(made)
    Product.objects.bulk_create([Product(pk=7), Product(pk=8)])
    Review.objects.create(pk=1, product_id=7)
    cache.clear()  # of what the case kept of another database
    globals()[CASE]()
    cache.close()
