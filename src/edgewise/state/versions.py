"""Versions of the configuration that nodes have in common, as sealed values in the state engine.

configuration/GROUP/versions      the versions published lately, the newest last
configuration/GROUP/content/ID    what one of them says

GROUP names the nodes that have one secret. The list is written by compare-and-set alone, so of two who publish at once
one learns that the other did.
"""

from __future__ import annotations

import contextlib
import secrets
import time
from typing import Any, NamedTuple, TypeVar

import msgspec

from edgewise.contracts.sealing import OVERHEAD, Sealer
from edgewise.contracts.state import BLOB_BYTES, StateEngine, StateError

PURPOSE = "configuration"
"""What the nodes' secret is used for here; see `Sealer`."""
KEPT = 20
"""Versions that can be gone back to."""
HIGHEST = 2**53
"""Of a version's number; what a node tells of itself is not sealed, so it is not counted beyond."""


_Value = TypeVar("_Value")


class Version(msgspec.Struct, frozen=True):
    """A configuration that was published."""

    number: int
    """Grows by one with each; never used twice while the engine keeps what it acknowledged."""
    id: str
    """Different for each, also where a number was used twice."""
    at: float
    """Unix time."""
    by: str
    """Who published it, for people."""
    restores: int = 0
    """Number of the version whose content it has again; 0: its content is its own."""


class Published(NamedTuple):
    """What the engine holds."""

    versions: list[Version]
    """The newest last."""
    revision: int
    """Of the list in the engine."""

    @property
    def newest(self) -> int:
        """Return the newest version's number, 0 where there is none."""
        return self.versions[-1].number if self.versions else 0


class VersionConflict(StateError):
    """Somebody else published meanwhile; the text says what."""


class NotSealed(StateError):
    """What is there was not written by who has the nodes' secret."""


class Versions:
    """Every method raises StateUnavailable."""

    def __init__(self, engine: StateEngine, sealer: Sealer) -> None:
        self._engine = engine
        self._sealer = sealer
        self.group = sealer.group
        """Names the nodes that have this secret."""
        self._key = f"configuration/{sealer.group}/versions"
        self.topic = f"configuration-{sealer.group}"
        """Where an empty message says that there is a new version."""

    async def published(self) -> Published:
        """Return the versions there are. Raises NotSealed."""
        entry = await self._engine.get(self._key)
        if entry is None:
            return Published([], 0)
        return Published(_decoded(self._opened(entry.value, self._key), list[Version]), entry.revision)

    async def content(self, version: Version) -> dict[str, Any] | None:
        """Return what a version says, as a configuration's plain data; None where it is not kept. Raises NotSealed."""
        key = self._content_key(version)
        blob = await self._engine.get_blob(key)
        return None if blob is None else _decoded(self._opened(blob, key), dict[str, Any])

    async def publish(
        self, content: dict[str, Any], by: str, *, expect: int | None = None, least: int = 0, restores: int = 0
    ) -> Version:
        """Publish; return the new version, whose number is above `least`.

        Raises VersionConflict where the newest version is not `expect` or changes meanwhile, NotSealed, and StateError
        for what is too large. After StateUnavailable look what there is: the version may have been published.
        """
        before = await self.published()
        if expect is not None and expect != before.newest:
            raise VersionConflict(f"the newest version is {before.newest}, not {expect}{_publisher(before)}")
        number = max(before.newest, least) + 1
        version = Version(number, f"{number}-{secrets.token_hex(8)}", time.time(), by, restores)
        await self._put(version, content)
        versions = [*before.versions, version]
        sealed = self._sealer.seal(msgspec.json.encode(versions[-KEPT:]), self._key)
        if await self._engine.compare_and_set(self._key, sealed, before.revision) is None:
            await self._forget([version])
            raise VersionConflict(f"another version was published meanwhile{_publisher(await self.published())}")
        with contextlib.suppress(StateError):  # nodes look from time to time, too
            await self._engine.publish(self.topic, b"")
        await self._forget(versions[:-KEPT])
        return version

    async def _put(self, version: Version, content: dict[str, Any]) -> None:
        plain = msgspec.json.encode(content)
        if len(plain) > BLOB_BYTES - OVERHEAD:
            raise StateError(f"the configuration is too large: {len(plain)} bytes, at most {BLOB_BYTES - OVERHEAD}")
        key = self._content_key(version)
        await self._engine.put_blob(key, self._sealer.seal(plain, key))

    async def _forget(self, versions: list[Version]) -> None:
        with contextlib.suppress(StateError):
            for version in versions:
                await self._engine.delete_blob(self._content_key(version))

    def _content_key(self, version: Version) -> str:
        return f"configuration/{self._sealer.group}/content/{version.id}"

    def _opened(self, sealed: bytes, place: str) -> bytes:
        plain = self._sealer.open(sealed, place)
        if plain is None:
            raise NotSealed(f"what is at {place} was not sealed with this key")
        return plain


def _decoded(plain: bytes, kind: type[_Value]) -> _Value:
    """Return what was published. Raises StateError."""
    try:
        return msgspec.json.decode(plain, type=kind)
    except msgspec.DecodeError as error:
        raise StateError(f"it was published by another release of edgewise: {error}") from error


def _publisher(found: Published) -> str:
    """Return who published the newest version, as the end of a sentence."""
    return f": {found.versions[-1].by} published version {found.newest}" if found.versions else ""
