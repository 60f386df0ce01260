"""What a cache tells an operator of one URL: what it holds, and why it does not hold what it does not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from edgewise.cache.key import Keys, purge_url
from edgewise.cache.memory import recency
from edgewise.cache.slicing import count, slice_key
from edgewise.cache.stored import Stored
from edgewise.cache.tags import split_ids
from edgewise.cache.tiers import Tiers

_BOTH = (b"http", b"https")


class Refused(NamedTuple):
    """Why an answer was not stored."""

    reason: str
    at: float
    """Seconds since the epoch."""


def report(
    store: Tiers, keys: Keys, refused: Mapping[bytes, Refused], text: str, now: float
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return what is stored of a URL, all variants, and the latest refusals, as JSON-compatible values.

    Fields and cookies that are part of the keys are taken to be absent. Looks up keys; walks through nothing. Raises
    ValueError where the text is no URL with a host.
    """
    url = purge_url(text, keys)
    held, refusals = [], []
    for scheme in _schemes(text):
        for key in keys.of_url(url, scheme):
            held += [{"scheme": scheme.decode(), **told} for told in _held(store, key, now)]
            if key in refused:
                reason, at = refused[key]
                refusals.append({"scheme": scheme.decode(), "reason": reason, "ago": round(now - at, 1)})
    return held, refusals


def _held(store: Tiers, key: bytes, now: float) -> list[dict[str, Any]]:
    """Return what is stored under a key: the latest of each variant, and where it is."""
    memory, disk = ({stored.key: stored for stored in tier} for tier in store.under(key))
    told = []
    for name in memory | disk:
        tiers = ["memory"] * (name in memory) + ["disk"] * (name in disk)
        held = [tier[name] for tier in (memory, disk) if name in tier]
        latest = max(held, key=recency)
        told.append({"in": tiers, **_of(latest, now), **_slices(store, latest)})
    return told


def _schemes(text: str) -> tuple[bytes, ...]:
    """Return the scheme that a URL names, else both."""
    named = text.strip().lower().partition("://")[0].encode("latin-1")
    return (named,) if named in _BOTH else _BOTH


def _slices(store: Tiers, stored: Stored) -> dict[str, int]:
    """Return how large the slices are that an object is kept in, and how many this worker has in memory."""
    if not stored.slice:
        return {}
    keys = [slice_key(stored, number) for number in range(count(stored))]
    return {"slice": stored.slice, "slices": sum(store.memory.get(key) is not None for key in keys)}


def _of(stored: Stored, now: float) -> dict[str, Any]:
    return {
        "status": stored.status,
        "key": stored.key.decode("latin-1"),
        "vary": [name.decode("latin-1") for name in stored.vary],
        "age": stored.age(now),
        "ttl": stored.ttl(now),
        "bytes": stored.size,
        "content": stored.length,
        "tags": [tag.hex() for tag in split_ids(stored.tags)],
    }
