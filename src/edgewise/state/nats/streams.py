"""The streams there are and how they are set up."""

from __future__ import annotations

from nats.js.api import DiscardPolicy, StorageType, StreamConfig

from edgewise.contracts.state import TOPIC_AGE, TOPIC_MESSAGES

KEYS, BLOBS, LEASES, COUNTERS = "EDGEWISE_KEYS", "EDGEWISE_BLOBS", "EDGEWISE_LEASES", "EDGEWISE_COUNTERS"
WINDOWS = ((10.0, "EDGEWISE_WINDOWS_10S", 60.0), (600.0, "EDGEWISE_WINDOWS_10M", 1800.0),
           (86400.0, "EDGEWISE_WINDOWS_1D", 90000.0))  # fmt: skip
"""(longest window, stream, seconds its messages live): a stream of counters takes no time to live of single messages,
so windows go by their length to streams that forget at different ages."""
ROOTS = {
    KEYS: "edgewise.keys",
    BLOBS: "edgewise.blobs",
    LEASES: "edgewise.leases",
    COUNTERS: "edgewise.counters",
    **{name: f"edgewise.windows.{name.rpartition('_')[2].lower()}" for _, name, _ in WINDOWS},
}
"""Stream -> first tokens of its subjects."""


def topic_stream(topic: str) -> str:
    """Return the stream of a topic: of its own, so that sequence numbers are cursors without holes."""
    return f"EDGEWISE_TOPIC_{topic}"


def topic_subject(topic: str) -> str:
    """Return the subject of a topic."""
    return f"edgewise.topics.{topic}"


def window_stream(window: float) -> str:
    """Return the stream for counters of a window."""
    return next(name for longest, name, _ in WINDOWS if window <= longest)


def configurations(replicas: int) -> list[StreamConfig]:
    """Return every stream but those of topics.

    No markers for what expired (subject_delete_marker_ttl): a marker is the last message of its subject, which a plain
    read takes for a value.
    """
    last_value = [_stream(name, replicas, allow_msg_ttl=True) for name in (KEYS, BLOBS, LEASES)]
    counters = [_stream(COUNTERS, replicas, allow_msg_counter=True)]
    windows = [_stream(name, replicas, allow_msg_counter=True, max_age=age) for _, name, age in WINDOWS]
    return last_value + counters + windows


def _stream(name: str, replicas: int, **options: bool | float) -> StreamConfig:
    return StreamConfig(
        name=name,
        subjects=[f"{ROOTS[name]}.>"],
        max_msgs_per_subject=1,
        storage=StorageType.FILE,
        num_replicas=replicas,
        allow_direct=replicas == 1,
        **options,  # type: ignore[arg-type]
    )


def topic_configuration(topic: str, replicas: int) -> StreamConfig:
    """Return the stream of a topic."""
    return StreamConfig(
        name=topic_stream(topic),
        subjects=[topic_subject(topic)],
        max_msgs=TOPIC_MESSAGES,
        max_age=TOPIC_AGE,
        discard=DiscardPolicy.OLD,
        storage=StorageType.FILE,
        num_replicas=replicas,
        allow_direct=replicas == 1,
    )
