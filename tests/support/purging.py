"""What tests of purges share: an origin that answers anew each time, the admin address, a look at every worker."""

from __future__ import annotations

import json
import threading
import urllib.error
import urllib.request
from typing import Any

from support.edgewise_process import EdgewiseProcess
from support.origin import OriginConnection
from support.raw_http import get


class Numbers:
    """An origin that answers each request with another number."""

    def __init__(self, *lines: str) -> None:
        self._lines = lines
        self._lock = threading.Lock()
        self.count = 0

    def __call__(self, connection: OriginConnection) -> None:
        while True:
            path = connection.read_request().split()[1].decode()
            with self._lock:
                self.count += 1
                number = b"%d" % self.count
            lines = [*self._lines, f"Surrogate-Key: all key{path.partition('?')[0].replace('/', '-')}"]
            fields = "".join(f"{line}\r\n" for line in lines).encode()
            length = b"Content-Length: %d\r\nCache-Control: max-age=600\r\n" % len(number)
            connection.send(b"HTTP/1.1 200 OK\r\n%b%b\r\n%b" % (length, fields, number))


def purge(edgewise: EdgewiseProcess, **wanted: Any) -> Any:
    """Purge by the admin address."""
    request = urllib.request.Request(
        f"http://127.0.0.1:{edgewise.admin_port}/api/v1/cache/purge", json.dumps(wanted).encode(), method="POST"
    )
    try:
        with urllib.request.urlopen(request, timeout=40) as response:
            return json.load(response)
    except urllib.error.HTTPError as error:
        return {"status": error.code, **json.load(error)}


class Everywhere:
    """The workers of an edgewise."""

    def __init__(self, edgewise: EdgewiseProcess) -> None:
        self._edgewise = edgewise

    def ask(self, path: str) -> list[bytes]:
        """Ask by forty new connections, which go to both workers, all but surely."""
        found = []
        for _ in range(40):
            with self._edgewise.client() as client:
                found.append(client.ask(get(path)).body)
        return found
