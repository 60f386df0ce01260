"""A headless Chromium, steered by the Chrome DevTools Protocol."""

from __future__ import annotations

import itertools
import json
import re
import subprocess
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

from websockets.sync.client import connect

from support.edgewise_process import wait_until

PROGRAM = Path("/usr/bin/chromium")
_PATIENCE = 40.0


class Chromium:
    """A browser with one page; a context manager."""

    def __init__(self, profile: Path) -> None:
        log = profile / "chromium.log"
        options = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"]
        options += ["--remote-debugging-port=0", "--ignore-certificate-errors", f"--user-data-dir={profile}"]
        with log.open("wb") as stderr:
            self._process = subprocess.Popen([PROGRAM, *options, "about:blank"], stdout=stderr, stderr=stderr)
        try:
            found = wait_until(
                lambda: re.search(r"ws://([0-9.:]+)/", log.read_text("latin-1")), "Chromium listens", _PATIENCE
            )
            with urlopen(Request(f"http://{found[1]}/json/new", method="PUT"), timeout=_PATIENCE) as answer:
                target = json.load(answer)["webSocketDebuggerUrl"]
            self._closing = ExitStack()
            self._socket = self._closing.enter_context(connect(target, max_size=1 << 24, compression=None))
        except BaseException:
            self._process.kill()
            raise
        self._numbers = itertools.count(1)

    def _call(self, method: str, **params: Any) -> dict[str, Any]:
        number = next(self._numbers)
        self._socket.send(json.dumps({"id": number, "method": method, "params": params}))
        while True:
            told = json.loads(self._socket.recv(timeout=_PATIENCE))
            if told.get("id") == number:
                assert "error" not in told, told
                result: dict[str, Any] = told["result"]
                return result

    def open(self, url: str) -> None:
        """Go to an address, as if it was typed."""
        self._call("Page.navigate", url=url, transitionType="typed")

    def run(self, script: str) -> Any:
        """Return the value of a script on the page; None while a page is coming."""
        result = self._call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        return result["result"].get("value")

    def wait(self, script: str) -> Any:
        """Return the first true value of a script."""
        return wait_until(lambda: self.run(script), script, _PATIENCE)

    def cookies(self, url: str) -> list[dict[str, Any]]:
        """Return the cookies that it would send."""
        cookies: list[dict[str, Any]] = self._call("Network.getCookies", urls=[url])["cookies"]
        return cookies

    def __enter__(self) -> Chromium:
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.close()
        self._process.kill()
        self._process.wait()
