"""Which of the published versions a node takes, and what it says of the newest one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

from edgewise.state.versions import Version

Outcome = Literal["applied", "refused", "pending"]
_LONGEST = 500
"""Characters of a reason at most."""


class Standing(NamedTuple):
    """How far a node is, for everybody to see."""

    applied: int = 0
    """Number of the version in force; 0: none, the node runs its own file."""
    newest: int = 0
    """Newest version that it knows of."""
    outcome: Outcome = "pending"
    """Of the newest version."""
    reason: str = ""
    """Why it refused the newest version, or what it waits for."""
    group: str = ""
    """Names the nodes that have the same secret; see `Versions`."""


class Adoption:
    """Takes the newest version that this node does not refuse, and never one older than what it runs.

    So who can only write to the engine cannot bring back an older configuration, and an engine that lost versions
    changes nothing. A version once refused is not tried again before `reloaded`.
    """

    def __init__(self, applied: Version | None = None) -> None:
        self._applied = applied
        self._newest: Version | None = None
        self._refused: dict[str, str] = {}
        """Id -> reason."""
        self._waits_for = ""

    def wanted(self, versions: Sequence[Version]) -> Version | None:
        """Take note of what is published, the newest last; return the version to try now, None for none."""
        self._newest = versions[-1] if versions else None
        self._refused = {one.id: self._refused[one.id] for one in versions if one.id in self._refused}
        least = self._number()
        return next((one for one in reversed(versions) if one.number > least and one.id not in self._refused), None)

    def odd(self) -> str:
        """Return what is wrong with what is published, seen from here, or ""."""
        if self._applied is None or self._newest is None or self._newest.number > self._applied.number:
            return ""
        if self._newest.number < self._applied.number:
            return (
                f"the newest version published is {self._newest.number}, but version {self._applied.number} runs here"
            )
        return "" if self._newest.id == self._applied.id else f"another version {self._newest.number} runs here"

    def took(self, version: Version) -> None:
        """Note that a version is in force."""
        self._applied = version
        self._waits_for = ""

    def refused(self, version: Version, reason: str) -> None:
        """Note that a version cannot be used here."""
        self._refused[version.id] = reason
        self._waits_for = ""

    def waits(self, reason: str) -> None:
        """Note what keeps this node from trying the version that it wants."""
        self._waits_for = reason

    def reloaded(self, running: Version | None) -> None:
        """Note that the node loaded its own file again, and runs this version: what was refused may do now."""
        self._applied = running
        self._refused.clear()

    def standing(self) -> Standing:
        """Return how far this node is."""
        applied, newest = self._number(), self._newest
        if newest is None or newest.number < applied:
            return Standing(applied, applied, "applied")
        if newest.id in self._refused:
            return Standing(applied, newest.number, "refused", self._refused[newest.id][:_LONGEST])
        if newest.number == applied:
            return Standing(applied, applied, "applied", self.odd())
        return Standing(applied, newest.number, "pending", self._waits_for[:_LONGEST])

    def _number(self) -> int:
        return self._applied.number if self._applied is not None else 0
