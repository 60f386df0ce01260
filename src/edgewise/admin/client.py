"""A small client of the admin API, over TCP or a Unix socket."""

from __future__ import annotations

import http.client
import json
import socket
from typing import Any


class AdminError(Exception):
    """The admin address is not there or refused; the text says which and why."""

    def __init__(self, message: str, members: dict[str, Any] | None = None) -> None:
        super().__init__(message)
        self.members = members or {}
        """Of the problem details (RFC 9457) that came with a refusal."""


class AdminClient:
    """Asks one admin address: "host:port", "[v6]:port", ":port" or "unix:/path"."""

    def __init__(self, address: str) -> None:
        self.address = address

    def get(self, path: str) -> Any:
        """Return the JSON content of `path`. Raises AdminError."""
        return self._ask("GET", path, 10.0)

    def post(self, path: str, timeout: float = 10.0, content: Any = None) -> Any:
        """Do what `path` stands for and return the JSON answer; `timeout` in seconds. Raises AdminError.

        `content`: values to send as JSON; None for none.
        """
        return self._ask("POST", path, timeout, b"" if content is None else json.dumps(content).encode())

    def _ask(self, method: str, path: str, timeout: float, content: bytes = b"") -> Any:
        connection = self._connection(timeout)
        fields = {"Accept": "application/json", "Content-Length": str(len(content))}
        if content:
            fields["Content-Type"] = "application/json"
        try:
            connection.request(method, path, content or None, headers=fields)
            response = connection.getresponse()
            status, content = response.status, response.read()
        except (ConnectionRefusedError, FileNotFoundError):
            raise AdminError(f"no edgewise answers at the admin address {self.address}: is it running?") from None
        except TimeoutError:
            raise AdminError(f"the admin address {self.address} did not answer within {timeout:g} seconds") from None
        except (OSError, http.client.HTTPException) as error:
            raise AdminError(f"the admin address {self.address} cannot be used: {error}") from None
        finally:
            connection.close()
        return self._content(status, content)

    def _content(self, status: int, content: bytes) -> Any:
        try:
            values = json.loads(content)
        except ValueError:
            raise AdminError(f"{self.address} answers {status}, but not as an edgewise admin address does") from None
        if status >= 400:
            members = values if isinstance(values, dict) else {}
            raise AdminError(str(members.get("detail") or f"the admin address answers {status}"), members)
        return values

    def _connection(self, timeout: float) -> http.client.HTTPConnection:
        if self.address.startswith("unix:"):
            return _UnixConnection(self.address.removeprefix("unix:"), timeout)
        host, colon, port = self.address.rpartition(":")
        if not colon or not (port.isascii() and port.isdigit()):
            raise AdminError(f"{self.address} is not an address: write host:port or unix:/path")
        host = host.removeprefix("[").removesuffix("]")
        # A listener on every address is reached by the loopback one.
        host = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
        return http.client.HTTPConnection(host, int(port), timeout=timeout)


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)
