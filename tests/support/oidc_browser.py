"""A browser as far as logins go: it follows redirects with its cookies, and fills in the provider's form."""

from __future__ import annotations

import http.client
import re
from typing import NamedTuple
from urllib.parse import urlencode, urljoin, urlsplit

NAVIGATION = {"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Site": "none", "Accept": "text/html"}


class Page(NamedTuple):
    """An answer."""

    url: str
    status: int
    fields: list[tuple[str, str]]
    body: str

    def get(self, name: str) -> str | None:
        """Return the first value of a field."""
        return next((value for key, value in self.fields if key.lower() == name.lower()), None)


class Browser:
    """Keeps cookies by host and port (browsers do not tell ports apart, but the names here never meet)."""

    def __init__(self) -> None:
        self.cookies: dict[str, dict[str, str]] = {}
        self.seen: list[Page] = []
        """Every answer, redirects too."""

    def ask(self, url: str, form: dict[str, str] | None = None, *, method: str | None = None, **fields: str) -> Page:
        """Make one request; a field's "_" stands for "-"."""
        parts = urlsplit(url)
        jar = self.cookies.setdefault(parts.netloc, {})
        headers = {name.replace("_", "-"): value for name, value in fields.items()} or dict(NAVIGATION)
        if jar:
            headers["Cookie"] = "; ".join(f"{name}={value}" for name, value in jar.items())
        content = None
        if form is not None:
            content = urlencode(form)
            headers |= {"Content-Type": "application/x-www-form-urlencoded", "Referer": url}
        connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=20)
        try:
            target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
            connection.request(method or ("GET" if form is None else "POST"), target, content, headers)
            response = connection.getresponse()
            page = Page(url, response.status, response.getheaders(), response.read().decode("latin-1"))
        finally:
            connection.close()
        for name, value in page.fields:
            if name.lower() == "set-cookie":
                key, _, rest = value.partition("=")
                jar[key] = rest.partition(";")[0]
                if "Max-Age=0" in value:
                    del jar[key]
        self.seen.append(page)
        return page

    def open(self, url: str, form: dict[str, str] | None = None, *, until: str = "\0") -> Page:
        """Open a page, following redirects up to one whose address has `until` in it, which is not asked for."""
        page = self.ask(url, form)
        for _ in range(12):
            location = page.get("Location")
            if location is None or page.status not in (301, 302, 303, 307, 308):
                return page
            target = urljoin(page.url, location)
            if until in target:
                return Page(target, 0, [], "")
            page = self.ask(target)
        raise AssertionError(f"too many redirects to {page.url}")

    def log_in(self, url: str, user: str = "alice", *, until: str = "\0") -> Page:
        """Open a page, and log in where the provider asks for it."""
        page = self.open(url, until=until)
        if "csrfmiddlewaretoken" not in page.body:
            return page
        found = re.search(r'csrfmiddlewaretoken" value="([^"]+)"', page.body)
        assert found is not None
        form = {"csrfmiddlewaretoken": found[1], "username": user, "password": "secret"}
        return self.open(page.url, form, until=until)
