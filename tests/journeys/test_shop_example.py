"""The shop of the examples: a price is changed in the admin, or by plain SQL, and every layer shows it at once."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from html import unescape
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlencode, urlsplit

import psycopg
import pytest

from support.edgewise_process import COMMAND, wait_until
from support.postgres import binaries

SHOP = Path(__file__).parents[2] / "examples" / "shop_django"
CHROMIUM = Path("/usr/bin/chromium")
PATIENCE = 120.0
SHOWN = ["/products/1/", "/", "/api/products/1/", "/api/products/"]
"""What shows the price of the first product."""
OTHERS = ["/products/2/", "/about/"]

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


class Answer:
    """What came back."""

    def __init__(
        self, connection: HTTPConnection, method: str, path: str, fields: dict[str, str], content: str
    ) -> None:
        connection.request(method, path, content.encode() or None, fields)
        response = connection.getresponse()
        self.status, self.text = response.status, response.read().decode()
        self.get = response.getheader
        self.cookies = response.headers.get_all("Set-Cookie") or []

    @property
    def cache(self) -> str:
        """What edgewise says of it: hit, or why not."""
        return (self.get("Cache-Status") or "").removeprefix("edgewise; ").partition(";")[0]


class Visitor:
    """A browser: keeps cookies, but nothing else."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._cookies: dict[str, str] = {}

    def ask(self, path: str, content: str = "", **fields: str) -> Answer:
        """Get a page, or post a form."""
        names = {name.replace("_", "-"): value for name, value in fields.items()}
        if self._cookies:
            names["Cookie"] = "; ".join(f"{name}={value}" for name, value in self._cookies.items())
        if content:
            names |= {"Content-Type": "application/x-www-form-urlencoded", "Origin": f"http://{self._address}"}
        connection = HTTPConnection(self._address, timeout=PATIENCE)
        try:
            answer = Answer(connection, "POST" if content else "GET", path, names, content)
        finally:
            connection.close()
        for cookie in answer.cookies:
            name, _, value = cookie.partition(";")[0].partition("=")
            self._cookies[name] = value
        return answer

    def submit(self, path: str, **fields: str) -> Answer:
        """Fill in the form of a page, as it is but for these fields, and send it."""
        form = {}
        for tag in re.findall(r"<input[^>]*>", self.ask(path).text):
            attributes = {name: unescape(value) for name, value in re.findall(r'([a-z]+)="([^"]*)"', tag)}
            if "name" in attributes and (attributes.get("type") != "submit" or attributes["name"] == "_save"):
                form[attributes["name"]] = attributes.get("value", "")
        assert fields.keys() <= form.keys(), (fields, form)
        return self.ask(path, urlencode(form | fields))


class Shop:
    """The example as somebody runs it."""

    def __init__(self, *options: str) -> None:
        command = [sys.executable, "-u", str(SHOP / "run.py"), *options]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self._lines: list[str] = []
        self._reader = threading.Thread(target=self._read)
        self._reader.start()
        wait_until(lambda: "Stop: Ctrl-C" in self.said or not self._reader.is_alive(), "the shop says so", PATIENCE)
        assert self._process.poll() is None, self.said
        self.address = urlsplit(self._said(r"(http://\S+)/admin/")).netloc
        self.config = self._said(r"explain -c (\S+)")
        self.database = re.search(r"psql (\S+)", self.said)
        if self.database:
            wait_until(lambda: "are heard" in self.said, "edgewise listens", PATIENCE)

    def _read(self) -> None:
        assert self._process.stdout is not None
        self._lines.extend(iter(self._process.stdout.readline, ""))

    @property
    def said(self) -> str:
        """All that it has printed."""
        return "".join(list(self._lines))

    def _said(self, pattern: str) -> str:
        found = re.search(pattern, self.said)
        assert found is not None, self.said
        return found[1]

    def explain(self, path: str) -> str:
        """Return what `edgewise explain --cache` says of a page."""
        command = [COMMAND, "explain", "-c", self.config, "--cache", f"http://{self.address}{path}"]
        return subprocess.run(command, check=True, capture_output=True, text=True, timeout=PATIENCE).stdout

    def is_kept(self, path: str) -> None:
        """Ask until both workers, all but surely, have an answer of what they keep."""
        hits = 0

        def often() -> bool:
            nonlocal hits
            hits = hits + 1 if Visitor(self.address).ask(path).cache == "hit" else 0
            return hits >= 12

        wait_until(often, f"{path} is kept", PATIENCE)

    def price(self, path: str) -> set[str]:
        """Return which prices of the first product a page shows to somebody who asks often."""
        answers = [Visitor(self.address).ask(path) for _ in range(12)]
        assert {answer.status for answer in answers} == {200}
        return {_price(path, answer.text) for answer in answers}

    def stop(self) -> None:
        self._process.terminate()  # SIGINT may be ignored where tests run in the background
        self._process.wait(PATIENCE)
        self._reader.join()


def _price(path: str, text: str) -> str:
    if path.startswith("/api"):
        found = json.loads(text)
        return str((found if isinstance(found, dict) else next(each for each in found if each["id"] == 1))["price"])
    found = re.search(r"Kettle</(?:h1><p|a)>\s*([0-9.]+)", text)
    assert found is not None, text
    return str(found[1])


@pytest.fixture(scope="module", params=["postgresql", "sqlite"])
def shop(request: pytest.FixtureRequest) -> Iterator[Shop]:
    if request.param == "postgresql" and binaries() is None:
        pytest.skip("PostgreSQL is not installed")
    running = Shop(*(["--sqlite"] if request.param == "sqlite" else []))
    yield running
    running.stop()


@pytest.fixture
def kept(shop: Shop) -> Shop:
    """A shop whose pages are all kept, by every worker."""
    for path in SHOWN + OTHERS:
        shop.is_kept(path)
    return shop


def changed(shop: Shop, price: str) -> None:
    """Change the price in the admin, by its forms."""
    operator = Visitor(shop.address)
    assert operator.submit("/admin/login/?next=/admin/", username="admin", password="admin").status == 302
    answer = operator.submit("/admin/shop/product/1/change/", price=price)
    assert (answer.status, answer.get("Location")) == (302, "/admin/shop/product/"), answer.text


def shows_everywhere(shop: Shop, price: str) -> None:
    """Every page shows a price. Plain SQL is heard a moment later than its commit; there is no other way to wait."""
    wait_until(lambda: shop.price(SHOWN[0]) == {price}, "the new price is shown", PATIENCE)
    for path in SHOWN:
        assert shop.price(path) == {price}, path


def test_a_price_changed_in_the_admin_is_shown_by_page_listing_and_api_and_other_pages_stay_kept(kept: Shop) -> None:
    before = kept.explain("/products/1/")
    assert "status 200, fresh for" in before
    changed(kept, "41.00")
    assert "fresh for" not in kept.explain("/products/1/"), "the admin answers after the purge"
    for path in SHOWN:
        assert kept.price(path) == {"41.00"}, path
    for path in OTHERS:
        assert {Visitor(kept.address).ask(path).cache for _ in range(12)} == {"hit"}, path
    kept.is_kept("/products/1/")
    assert "status 200, fresh for" in kept.explain("/products/1/")


def test_a_price_changed_by_plain_sql_reaches_every_layer(kept: Shop) -> None:
    if not kept.database:
        pytest.skip("SQLite has nobody to tell")
    with psycopg.connect(kept.database[1]) as connection:
        connection.execute("UPDATE shop_product SET price = 43 WHERE id = 1")
    shows_everywhere(kept, "43.00")
    with psycopg.connect(kept.database[1]) as connection:
        connection.execute("UPDATE shop_product SET price = 99 WHERE id = 1")
        connection.rollback()
    for path in SHOWN:
        assert kept.price(path) == {"43.00"}


def test_a_browser_asks_each_time_and_gets_content_only_when_it_changed(kept: Shop) -> None:
    visitor = Visitor(kept.address)
    first = visitor.ask("/products/1/")
    tag = first.get("ETag")
    assert (first.get("Cache-Control"), first.get("Surrogate-Key")) == ("no-cache", None)
    assert tag is not None
    again = visitor.ask("/products/1/", If_None_Match=tag)
    assert (again.status, again.text, again.cache) == (304, "", "hit")
    changed(kept, "44.00")
    kept.is_kept("/products/1/")
    after = visitor.ask("/products/1/", If_None_Match=tag)
    assert (after.status, _price("", after.text), after.get("ETag") != tag) == (200, "44.00", True)


@pytest.mark.skipif(not CHROMIUM.exists(), reason="Chromium is not installed")
def test_chromium_shows_the_new_price(kept: Shop, tmp_path: Path) -> None:
    for price in ("45.00", "46.00"):
        changed(kept, price)
        for _ in range(2):
            assert _price("", _seen(f"http://{kept.address}/products/1/", tmp_path)) == price


def _seen(url: str, profile: Path) -> str:
    """Return the document that Chromium makes of a page, with what its profile keeps."""
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", f"--user-data-dir={profile}"]
    result = subprocess.run(
        [str(CHROMIUM), *options, "--dump-dom", url],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=True,
        env=os.environ | {"HOME": str(profile)},
    )
    return result.stdout
