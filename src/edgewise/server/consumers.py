"""The admin address's part in consumers: those that are added at run time are written to the state engine here."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import msgspec

from edgewise.admin.control import ApiKeyStatus, Configured, ConsumerStatus, NothingShared, TooMany
from edgewise.config.consumers import check_claim, check_group, check_password_hash, check_scope
from edgewise.config.values import check_name
from edgewise.contracts.state import PAGE, VALUE_BYTES, StateEngine, StateError
from edgewise.gateway.consumer_records import (
    KEY_ID,
    KEY_PREFIX,
    PREFIX,
    TOPIC,
    StoredConsumer,
    StoredKey,
    decoded,
    encoded,
    new_key,
)
from edgewise.router.sessions import EngineOpening

if TYPE_CHECKING:
    from edgewise.config.consumers import Consumer
    from edgewise.config.state import State

_TRIES = 16
_MOST_KEYS = 100
_MOST_GRANTS = 200
"""Groups, scopes, or claims of a consumer."""
_MOST_LABEL = 200
Change = Callable[[StoredConsumer], StoredConsumer]


class ConsumerAdmin:
    """Methods raise NothingShared without an engine, StateError where it is lost, and TimeoutError where a change is
    kept, and not every worker of this node has said that it goes by it."""

    def __init__(
        self,
        state: State | None,
        configured: Callable[[], Mapping[str, Consumer]],
        tell: Callable[[str], Awaitable[None]],
    ) -> None:
        """`configured`: those of the configuration in force; `tell` has every worker read one anew."""
        self._opening = EngineOpening(state) if state is not None else None
        self._configured = configured
        self._tell = tell

    async def _engine(self) -> StateEngine:
        if self._opening is None:
            raise NothingShared("consumers that are added at run time need shared state: there is no [state] table")
        return await self._opening()

    # ---- looking -----------------------------------------------------------------------------------------------------

    async def consumers(self) -> tuple[ConsumerStatus, ...]:
        """Return all, those of the configuration first."""
        found = [_of_file(name, spec) for name, spec in self._configured().items()]
        if self._opening is None:
            return tuple(found)
        engine, after = await self._engine(), ""
        while True:
            page = await engine.entries(PREFIX, after)
            found += [_of_state(decoded(entry.value)) for entry in page]
            if len(page) < PAGE:
                return tuple(found)
            after = page[-1].key

    async def consumer(self, name: str) -> ConsumerStatus | None:
        """Return one; None where there is none of that name."""
        spec = self._configured().get(name)
        if spec is not None:
            return _of_file(name, spec)
        if self._opening is None:
            return None
        entry = await (await self._engine()).get(PREFIX + check_name(name))
        return None if entry is None else _of_state(decoded(entry.value))

    # ---- changing ----------------------------------------------------------------------------------------------------

    async def add(
        self, name: str, groups: Sequence[str], scopes: Sequence[str], claims: Mapping[str, str]
    ) -> ConsumerStatus | None:
        """Add a consumer without credentials; None: there is one of that name. Raises ValueError and Configured."""
        record = StoredConsumer(
            self._free(name),
            time.time(),
            sorted({check_group(group) for group in groups}),
            sorted({check_scope(scope) for scope in scopes}),
            {check_name(key): check_claim(value) for key, value in claims.items()},
        )
        if max(len(record.groups), len(record.scopes), len(record.claims)) > _MOST_GRANTS:
            raise TooMany(f"a consumer has at most {_MOST_GRANTS} groups, scopes and claims each")
        engine = await self._engine()
        if await engine.compare_and_set(PREFIX + name, _fitting(record), 0) is None:
            return None
        await self._told(engine, name)
        return _of_state(record)

    async def add_key(self, name: str, label: str) -> tuple[str, str] | None:
        """Give a consumer a new API key; return (id, key), which cannot be shown again. None: there is no consumer."""
        if len(label) > _MOST_LABEL or not label.isprintable():
            raise ValueError(f"a label is a line of at most {_MOST_LABEL} characters")
        key, stored = new_key(time.time(), label)
        engine = await self._engine()
        self._free(name)
        await engine.set(KEY_PREFIX + stored.id, name.encode())
        if not await self._change(engine, name, lambda old: msgspec.structs.replace(old, keys=[*old.keys, stored])):
            await engine.delete(KEY_PREFIX + stored.id)
            return None
        return stored.id, key

    async def set_password(self, name: str, hashed: str) -> bool:
        """Give a consumer another password, by its hash; False: there is no such consumer. Raises ValueError."""
        check_password_hash(hashed)
        engine = await self._engine()
        return await self._change(
            engine, self._free(name), lambda old: msgspec.structs.replace(old, passwords=[hashed])
        )

    async def revoke(self, name: str) -> int | None:
        """Take all keys and passwords from a consumer; return how many keys. None: there is no such consumer."""
        engine = await self._engine()
        revoked: list[StoredKey] = []

        def change(old: StoredConsumer) -> StoredConsumer:
            revoked[:] = old.keys
            return msgspec.structs.replace(old, keys=[], passwords=[])

        if not await self._change(engine, self._free(name), change):
            return None
        await _forget(engine, revoked)
        return len(revoked)

    async def revoke_key(self, identifier: str) -> str | None:
        """Revoke an API key; return whose it was. None: there is no such key."""
        engine = await self._engine()
        if not KEY_ID.fullmatch(identifier):
            return None
        owner = await engine.get(KEY_PREFIX + identifier)
        if owner is None:
            return None
        name = owner.value.decode()

        def change(old: StoredConsumer) -> StoredConsumer:
            return msgspec.structs.replace(old, keys=[key for key in old.keys if key.id != identifier])

        changed = await self._change(engine, name, change)
        await engine.delete(KEY_PREFIX + identifier)
        return name if changed else None

    async def remove(self, name: str) -> bool:
        """Remove a consumer with its credentials; False: there is no such consumer."""
        engine = await self._engine()
        key = PREFIX + self._free(name)
        entry = await engine.get(key)
        await engine.delete(key)
        await self._told(engine, name)  # also where it is gone: it may be that nobody could be told before
        if entry is not None:
            await _forget(engine, decoded(entry.value).keys)
        return entry is not None

    def _free(self, name: str) -> str:
        """Return a name that the configuration does not have. Raises Configured and ValueError."""
        if name in self._configured():
            raise Configured(f"{name} is a consumer of the configuration: it is changed there")
        return check_name(name)

    async def _change(self, engine: StateEngine, name: str, change: Change) -> bool:
        """Change what is kept of a consumer, and have everybody go by that; False: there is no such consumer."""
        for _ in range(_TRIES):
            entry = await engine.get(PREFIX + name)
            if entry is None:
                return False
            record = change(decoded(entry.value))
            if len(record.keys) > _MOST_KEYS:
                raise TooMany(f"a consumer has at most {_MOST_KEYS} keys: revoke some before")
            if await engine.compare_and_set(PREFIX + name, _fitting(record), entry.revision) is not None:
                await self._told(engine, name)
                return True
        raise StateError(f"{_TRIES} others changed the same consumer in the same moment")

    async def _told(self, engine: StateEngine, name: str) -> None:
        """Tell the workers of all nodes; wait for those of this node."""
        try:
            await engine.publish(TOPIC, name.encode())
        finally:
            await self._tell(name)


def _fitting(record: StoredConsumer) -> bytes:
    """Return what is kept of a consumer. Raises TooMany."""
    value = encoded(record)
    if len(value) > VALUE_BYTES:
        raise TooMany(f"what is known of a consumer takes at most {VALUE_BYTES} bytes")
    return value


async def _forget(engine: StateEngine, keys: Sequence[StoredKey]) -> None:
    """Drop the names under which revoked keys are found."""
    for key in keys:
        await engine.delete(KEY_PREFIX + key.id)


def _of_file(name: str, spec: Consumer) -> ConsumerStatus:
    return ConsumerStatus(
        name,
        "file",
        tuple(spec.groups),
        tuple(spec.scopes),
        dict(spec.claims),
        unlisted_keys=len(spec.api_keys),
        passwords=len(spec.passwords),
    )


def _of_state(record: StoredConsumer) -> ConsumerStatus:
    return ConsumerStatus(
        record.name,
        "state",
        tuple(record.groups),
        tuple(record.scopes),
        dict(record.claims),
        tuple(ApiKeyStatus(key.id, key.label, _moment(key.created)) for key in record.keys),
        passwords=len(record.passwords),
        created=_moment(record.created),
    )


def _moment(seconds: float) -> str:
    """Return a Unix time in the form of RFC 3339."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
