"""An issuer for tests: it makes what it is asked for, or raises what it is told to."""

from __future__ import annotations

from datetime import UTC, datetime

from edgewise.tls.development import DevelopmentAuthority
from support.manual_clock import ManualClock

AUTHORITY = DevelopmentAuthority()
Window = tuple[float, float, float] | None


class FakeIssuer:
    """Issues certificates of 90 days from its clock's time, or raises what it is told to."""

    key_type = "ec256"
    retry = 60.0

    def __init__(self, clock: ManualClock, source: str = "https://ca.test/") -> None:
        self.source = source
        self.failures: list[Exception] = []
        self.issued: list[tuple[tuple[str, ...], bool]] = []
        """Names, and whether a certificate was replaced."""
        self.revoked: list[bytes] = []
        self.windows: list[Window] = []
        self.closed = False
        self._clock = clock

    async def issue(self, names: tuple[str, ...], previous: bytes | None) -> bytes:
        if self.failures:
            raise self.failures.pop(0)
        self.issued.append((names, previous is not None))
        pair = AUTHORITY.issue(names, starts=datetime.fromtimestamp(self._clock.now, UTC), days=90)
        return pair.key + pair.certificate

    async def window(self, pem: bytes) -> Window:
        return self.windows.pop(0) if self.windows else None

    async def revoke(self, pem: bytes) -> None:
        self.revoked.append(pem)

    def close(self) -> None:
        self.closed = True
