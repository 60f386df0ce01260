"""Django's cache on the state engine, with copies in each process.

    CACHES = {"default": {
        "BACKEND": "edgewise.contrib.django_cache.EdgewiseCache",
        "LOCATION": "",                                    # an engine's URL; "": that of the edgewise that runs the app
        "OPTIONS": {"pickle_secrets": [SECRET_KEY]},       # without: plain data only
    }}

Further OPTIONS are `namespace`, `memory`, `copy_age` and `patience`; docs/app-cache.md says what they mean.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Mapping, Sequence
from typing import Any

from django.core.cache.backends.base import DEFAULT_TIMEOUT, BaseCache
from django.core.exceptions import ImproperlyConfigured

from edgewise.contracts.state import LEAST_TTL, Entry, StateError
from edgewise.contrib.cache.app_cache import AppCache
from edgewise.contrib.cache.filling import MISSING, value_of
from edgewise.contrib.cache.keys import digest
from edgewise.contrib.cache.memory import Copy
from edgewise.contrib.cache.store import Record
from edgewise.contrib.engines import run_now
from edgewise.sessions import StateSettings

log = logging.getLogger("edgewise.cache")
_TRIES = 1000
"""Of an addition that others overtake: each time somebody's addition succeeded."""
_KNOWN = frozenset({"namespace", "memory", "copy_age", "patience", "pickle_secrets"})


class EdgewiseCache(BaseCache):
    """Methods raise StateUnavailable where the engine does not answer, but for reads, which find nothing then.

    A value that is too large for an entry (64 KiB, deflated) is not kept, and what was there before it is deleted.
    """

    def __init__(self, location: str, params: dict[str, Any]) -> None:
        super().__init__(params)
        options = {
            name: tuple(value) if isinstance(value, list) else value
            for name, value in params.get("OPTIONS", {}).items()
            if name not in ("MAX_ENTRIES", "CULL_FREQUENCY")  # Django's own; entries end by their time here
        }
        if unknown := sorted(options.keys() - _KNOWN):
            raise ImproperlyConfigured(f"CACHES: {', '.join(unknown)} is no option: {', '.join(sorted(_KNOWN))} are")
        self._cache = _shared(location, **options)

    def get_backend_timeout(self, timeout: Any = DEFAULT_TIMEOUT) -> float | None:
        """Return the seconds of a timeout: None for no end, 0 or less for an end that has come."""
        seconds = self.default_timeout if timeout is DEFAULT_TIMEOUT else timeout
        return None if seconds is None else float(seconds)

    def _digest(self, key: Any, version: int | None) -> str:
        return digest("django", self.make_and_validate_key(key, version=version))

    def _record(self, key: str, value: Any) -> Record:
        """Return what is kept of a value, as of now. Raises TypeError or ValueError for what cannot be kept."""
        data = self._cache.codec.encode(key, value)
        return Record(0.0, 0.0, run_now(self._cache.store.begin_write(key, ())).since, [], data)

    def _entry(self, key: str) -> tuple[Copy | None, Entry | None]:
        return run_now(self._cache.store.entry(key))

    def _value(self, copy: Copy | None) -> Any:
        return MISSING if copy is None else value_of(copy, self._cache.codec)

    def get(self, key: Any, default: Any = None, version: int | None = None) -> Any:
        """Return a value."""
        name = self._digest(key, version)
        value, _due = self._cache.recall(name, self._cache.codec)
        if value is MISSING:
            value = self._value(run_now(self._cache.store.find(name)))
        return default if value is MISSING else value

    def set(self, key: Any, value: Any, timeout: Any = DEFAULT_TIMEOUT, version: int | None = None) -> None:
        """Keep a value, whatever is there."""
        self._set(self._digest(key, version), value, self.get_backend_timeout(timeout))

    def _set(self, name: str, value: Any, seconds: float | None) -> bool:
        """Keep a value; False: it is too large."""
        if seconds is not None and seconds < LEAST_TTL:
            self._delete(name)
            return True
        try:
            run_now(self._cache.store.write(name, self._record(name, value), seconds))
        except ValueError as error:
            log.warning("a value is not kept: %s", error)
            self._delete(name)
            return False
        return True

    def set_many(
        self, data: Mapping[Any, Any], timeout: Any = DEFAULT_TIMEOUT, version: int | None = None
    ) -> list[Any]:
        """Keep values; return the keys of those that are too large."""
        seconds = self.get_backend_timeout(timeout)
        return [key for key, value in data.items() if not self._set(self._digest(key, version), value, seconds)]

    def add(self, key: Any, value: Any, timeout: Any = DEFAULT_TIMEOUT, version: int | None = None) -> bool:
        """Keep a value where there is none; of several that add at once one does."""
        name, seconds = self._digest(key, version), self.get_backend_timeout(timeout)
        copy, entry = self._entry(name)
        if self._value(copy) is not MISSING:
            return False
        if seconds is not None and seconds < LEAST_TTL:
            return True
        try:
            record = self._record(name, value)
            return run_now(self._cache.store.replace(name, record, entry.revision if entry else 0, seconds))
        except ValueError as error:
            log.warning("a value is not kept: %s", error)
            return False

    def touch(self, key: Any, timeout: Any = DEFAULT_TIMEOUT, version: int | None = None) -> bool:
        """Give a value another timeout; False where there is none."""
        name, seconds = self._digest(key, version), self.get_backend_timeout(timeout)
        for _ in range(_TRIES):
            copy, entry = self._entry(name)
            if copy is None or entry is None or self._value(copy) is MISSING:
                return False
            if seconds is not None and seconds < LEAST_TTL:
                return self._delete(name)
            record = Record(copy.stale, copy.cost, copy.since, [], copy.data)
            if run_now(self._cache.store.replace(name, record, entry.revision, seconds)):
                return True
        raise StateError("a value changes faster than its timeout can be changed")

    def incr(self, key: Any, delta: int = 1, version: int | None = None) -> Any:
        """Add to a number, none of many additions at once is lost; its timeout stays. Raises ValueError."""
        name = self._digest(key, version)
        for _ in range(_TRIES):
            copy, entry = self._entry(name)
            value = self._value(copy)
            if value is MISSING or entry is None:
                raise ValueError(f"Key '{key}' not found")
            value += delta
            if run_now(self._cache.store.replace(name, self._record(name, value), entry.revision, entry.ttl)):
                return value
        raise StateError("a number changes faster than can be added to it")

    def delete(self, key: Any, version: int | None = None) -> bool:
        """Delete a value; False where there was none."""
        return self._delete(self._digest(key, version))

    def _delete(self, name: str) -> bool:
        for _ in range(_TRIES):
            copy, entry = self._entry(name)
            if entry is None:
                return False
            if run_now(self._cache.store.remove(name, entry.revision)):
                return copy is not None
        raise StateError("a value changes faster than it can be deleted")

    def clear(self) -> None:
        """Remove every value of the namespace."""
        self._cache.clear()


@functools.cache
def _shared(
    location: str,
    *,
    namespace: str = "django",
    memory: int = 32 << 20,
    copy_age: float = 1.0,
    patience: float = 2.0,
    pickle_secrets: Sequence[str] = (),
) -> AppCache:
    """Return the one cache of a process for these settings: Django makes a backend for each thread."""
    state = StateSettings(url=location, patience=patience)
    return AppCache(
        state=state, namespace=namespace, memory=memory, copy_age=copy_age, pickle_secrets=tuple(pickle_secrets)
    )
