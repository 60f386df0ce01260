"""The example apps, three processes each: logged in once, served by any of them."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from support.edgewise_process import EdgewiseProcess, wait_until
from support.raw_http import RawResponse

EXAMPLES = Path(__file__).parents[2] / "examples"
FRAMEWORKS = ["django", "flask", "fastapi"]


class Browser:
    """Keeps the cookie that the app sets, as browsers would for https://."""

    def __init__(self, edgewise: EdgewiseProcess, cookie: str = "") -> None:
        self._edgewise = edgewise
        self.cookie = cookie

    def ask(self, path: str, method: str = "GET") -> RawResponse:
        """Make a request, and take a cookie that is set or removed."""
        cookie = f"Cookie: {self.cookie}\r\n" if self.cookie else ""
        head = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\n{cookie}Content-Length: 0\r\nConnection: close\r\n\r\n"
        with self._edgewise.client() as client:
            answer = client.ask(head.encode())
        for value in answer.all("Set-Cookie"):
            assert value.startswith("__Host-"), value
            pair, *attributes = [part.strip() for part in value.split(";")]
            gone = "Max-Age=0" in attributes
            if not gone:
                assert {"Path=/", "Secure", "HttpOnly", "SameSite=Lax"} <= set(attributes)
            self.cookie = "" if gone else pair
        return answer

    def post(self, path: str) -> None:
        """Do something."""
        answer = self.ask(path, "POST")
        assert answer.status == 200, answer

    def visit(self) -> dict[str, Any]:
        """Return what the app says of this visit."""
        answer = self.ask("/")
        assert answer.status == 200, answer
        assert answer.get("Vary") == "Cookie"
        found: dict[str, Any] = json.loads(answer.body)
        return found


@pytest.fixture(params=FRAMEWORKS)
def app(request: pytest.FixtureRequest, edgewise_server: Any, tmp_path: Path) -> EdgewiseProcess:
    example = EXAMPLES / f"sessions_{request.param}"
    text = (example / "edgewise.toml").read_text().replace("127.0.0.1:8080", "127.0.0.1:$PORT")
    text = text.replace("[server]\n", '[server]\nadmin = "off"\nworkers = 1\n')
    shutil.copy(example / "app.py", tmp_path / f"{request.param}_app.py")
    text = text.replace('"app:app"', f'"{request.param}_app:app"')
    edgewise: EdgewiseProcess = edgewise_server(text, env={"PYTHONPATH": f"{tmp_path}:{':'.join(sys.path)}"})
    if request.param == "django":
        subprocess.run([sys.executable, str(tmp_path / "django_app.py")], cwd=edgewise.directory, check=True)
    wait_until(lambda: Browser(edgewise).ask("/").status == 200, "the state is made")
    return edgewise


def visits_of_every_process(browser: Browser) -> list[dict[str, Any]]:
    """Visit until all three processes answered."""
    visits: list[dict[str, Any]] = []

    def all_answered() -> bool:
        visits.append(browser.visit())
        return len({visit["process"] for visit in visits}) == 3

    wait_until(all_answered, "three processes answered")
    return visits


def test_a_user_logged_in_once_is_served_by_any_process(app: EdgewiseProcess) -> None:
    browser = Browser(app)
    assert browser.visit()["user"] == ""
    before = browser.cookie
    browser.post("/login/ann")
    assert browser.cookie != before
    visits = visits_of_every_process(browser)
    assert {visit["user"] for visit in visits} == {"ann"}
    assert [visit["visits"] for visit in visits] == list(range(2, 2 + len(visits)))
    copy = browser.cookie
    browser.post("/logout")
    assert browser.cookie == ""
    for _ in range(3):
        assert {visit["user"] for visit in visits_of_every_process(Browser(app, copy))} == {""}
        assert {visit["user"] for visit in visits_of_every_process(Browser(app, before))} == {""}


def test_other_sessions_of_a_user_are_listed_and_ended(app: EdgewiseProcess) -> None:
    here, there, other = Browser(app), Browser(app), Browser(app)
    assert here.ask("/mine").status == 401
    here.post("/login/ann")
    there.post("/login/ann")
    other.post("/login/ben")
    assert len(json.loads(here.ask("/mine").body)) == 2
    assert len(json.loads(other.ask("/mine").body)) == 1
    here.post("/logout-everywhere")
    assert {visit["user"] for visit in visits_of_every_process(there)} == {""}
    assert {visit["user"] for visit in visits_of_every_process(here)} == {"ann"}
    assert {visit["user"] for visit in visits_of_every_process(other)} == {"ben"}
    assert len(json.loads(here.ask("/mine").body)) == 1
