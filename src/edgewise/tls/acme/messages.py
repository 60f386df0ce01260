"""What an ACME exchange consists of, and what an authority's answers say (RFC 8555)."""

from __future__ import annotations

import json
import time
from collections.abc import Generator, Mapping
from typing import Any, NamedTuple, TypeVar

from edgewise.http.dates import parse_date

JOSE = "application/jose+json"
_LONGEST_WAIT = 7 * 86400.0
_ERROR = "urn:ietf:params:acme:error:"
_T = TypeVar("_T")


class Request(NamedTuple):
    """A request to the authority: answered by a Response."""

    method: str
    url: str
    body: bytes = b""


class Response(NamedTuple):
    """An answer of the authority."""

    status: int
    headers: Mapping[str, str]
    """By lower-case name."""
    body: bytes

    def retry_after(self) -> float | None:
        """Return the seconds that Retry-After asks to wait (RFC 9110 section 10.2.3); None where it asks nothing."""
        value = self.headers.get("retry-after", "").strip()
        if value.isascii() and value.isdigit() and len(value) <= 9:
            return min(float(value), _LONGEST_WAIT)
        moment = parse_date(value.encode("latin-1", "replace"))
        return None if moment is None else min(max(0.0, moment - time.time()), _LONGEST_WAIT)


class Pause(NamedTuple):
    """Wait before going on."""

    seconds: float


class Challenge(NamedTuple):
    """What must be answered to prove that a name is ours."""

    name: str
    kind: str
    """http-01 or tls-alpn-01."""
    token: str
    authorization: str
    """Key authorization (RFC 8555 section 8.1)."""
    url: str


class Present(NamedTuple):
    """Answer a challenge from now on; go on once every worker does."""

    challenge: Challenge


Steps = Generator[Request | Pause | Present, Any, _T]
"""A conversation: yields what is to be done, is sent the Response to each Request, and returns its result."""


class AcmeError(Exception):
    """The authority refused, or answered what cannot be understood; the text says which and why."""

    def __init__(self, message: str, kind: str = "", retry_after: float | None = None) -> None:
        super().__init__(message)
        self.kind = kind
        """Type of the problem without its prefix, such as `rateLimited` (RFC 8555 section 6.7); "" for none."""
        self.retry_after = retry_after
        """Seconds that the authority asks to wait."""


def members(response: Response) -> dict[str, Any]:
    """Return the JSON object that a response carries. Raises AcmeError."""
    try:
        value = json.loads(response.body)
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise AcmeError(f"the authority answered {response.status} without a JSON object")
    return value


def failure(response: Response) -> AcmeError:
    """Return the error that a response of status 400 or more stands for (RFC 7807)."""
    try:
        problem = members(response)
    except AcmeError:
        problem = {}
    kind, text = described(problem)
    return AcmeError(text or f"the authority answered {response.status}", kind, response.retry_after())


def described(problem: object) -> tuple[str, str]:
    """Return (type without prefix, words in one line) of a problem document."""
    if not isinstance(problem, dict):
        return "", ""
    kind = str(problem.get("type", "")).removeprefix(_ERROR)
    detail = " ".join(str(problem.get("detail", "")).split())[:500]
    return kind, ": ".join(part for part in (kind, detail) if part)


def text_of(values: Mapping[str, Any], key: str) -> str:
    """Return a member that must be a text. Raises AcmeError."""
    value = values.get(key)
    if not isinstance(value, str) or not value:
        raise AcmeError(f"the authority's answer lacks {key!r}")
    return value


def list_of(values: Mapping[str, Any], key: str) -> list[Any]:
    """Return a member that must be a list. Raises AcmeError."""
    value = values.get(key)
    if not isinstance(value, list):
        raise AcmeError(f"the authority's answer lacks {key!r}")
    return value
