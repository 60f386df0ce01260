"""What the supervisor and its children say to each other.

Only the supervisor sends pickles (the configuration, to its own forks); what children send is plain data.
"""

from __future__ import annotations

from typing import Any

import msgspec

from edgewise.cache.purges import Mark
from edgewise.server.listeners import Kind


class Prepare(msgspec.Struct, tag="prepare"):
    """Build everything the generation needs, change nothing yet; answered by Prepared."""

    generation: int
    plan: bytes
    """A pickled `server.generation.Generation`."""


class Commit(msgspec.Struct, tag="commit"):
    """Run the prepared generation: `added` comes with one descriptor a listener; answered by Committed."""

    generation: int
    added: list[tuple[Kind, str]]
    """(kind, address) of each new listening socket, in the order of the descriptors."""
    removed: list[tuple[Kind, str]]


class Abort(msgspec.Struct, tag="abort"):
    """Forget the prepared generation."""

    generation: int


class Drain(msgspec.Struct, tag="drain"):
    """Accept nothing more, finish what is under way within `seconds`, then exit."""

    seconds: float


class Reopen(msgspec.Struct, tag="reopen"):
    """Open the log files anew (after they were rotated)."""


class Certificates(msgspec.Struct, tag="certificates"):
    """Load the certificates that edgewise got by itself, and answer these challenges; answered by CertificatesTaken."""

    number: int
    tokens: dict[str, str] = {}
    """http-01: token -> key authorization."""
    challenges: dict[str, str] = {}
    """tls-alpn-01: name -> file of the certificate that answers."""


class CertificatesAnswer(msgspec.Struct, tag="certificates_answer"):
    """To the control process: every worker took what CertificatesWanted told."""

    request: int


class Problem(msgspec.Struct):
    """What keeps a configuration from being used, in the fields of `config.Problem`."""

    message: str
    file: str = ""
    line: int = 0
    key: str = ""
    expected: str = ""
    nearest: str = ""


class ReloadAnswer(msgspec.Struct, tag="reload_answer"):
    """To the control process: how the reload it asked for ended."""

    request: int
    generation: int
    """The generation that runs now."""
    problems: list[Problem] = []
    """Why it is not the new one; empty when it is."""


class State(msgspec.Struct, tag="state"):
    """To the control process, at each change: the state of the processes, as JSON-compatible data."""

    state: dict[str, Any]


class Ready(msgspec.Struct, tag="ready"):
    """The child serves; with an error it could not start and will exit."""

    error: str = ""


class Prepared(msgspec.Struct, tag="prepared"):
    """The generation could be built, or why it could not."""

    generation: int
    error: str = ""


class Committed(msgspec.Struct, tag="committed"):
    """The generation runs in this child."""

    generation: int


class ReloadWanted(msgspec.Struct, tag="reload_wanted"):
    """From the control process: read the configuration again; answered by ReloadAnswer."""

    request: int
    candidate: str = ""
    """Id of a published version to try; "" to go on with the present one."""


class CertificatesWanted(msgspec.Struct, tag="certificates_wanted"):
    """From the control process: have every worker do what Certificates says; answered by CertificatesAnswer."""

    request: int
    tokens: dict[str, str] = {}
    challenges: dict[str, str] = {}


class CertificatesTaken(msgspec.Struct, tag="certificates_taken"):
    """The worker did what Certificates said."""

    number: int


class PurgeSpec(msgspec.Struct, frozen=True):
    """One purge (`cache.purges.Purge`)."""

    kind: str
    value: str = ""
    """A URL with or without scheme, a host, a tag: as the operator wrote it."""
    soft: bool = False


class Purge(msgspec.Struct, tag="purge"):
    """Purge what is stored; answered by Purged."""

    number: int
    purges: list[PurgeSpec]
    count: bool = False
    """Only count what would be purged."""
    numbered: list[Mark] = []
    """The same with their numbers, for what is on disk."""


class PurgesNumbered(msgspec.Struct, tag="purges_numbered"):
    """The numbers of purges that this worker told of; to the control process: of all."""

    numbered: list[Mark]


class PurgesForgotten(msgspec.Struct, tag="purges_forgotten"):
    """What is on disk was compared with the purges up to `epoch`, or is not used any more."""

    epoch: int


class PurgesCaughtUp(msgspec.Struct, tag="purges_caught_up"):
    """This node has heard what others purged while it was away: what is on disk can be used."""


class Purged(msgspec.Struct, tag="purged"):
    """The worker did what Purge said: nothing of it is found any more."""

    number: int
    counted: int = 0
    """Stored answers that it concerned, where they were to be counted."""


class PurgeWanted(msgspec.Struct, tag="purge_wanted"):
    """Have every other worker purge, and other nodes told; answered by PurgeAnswer."""

    request: int
    """0: no answer is needed."""
    purges: list[PurgeSpec]
    count: bool = False
    heard: bool = False
    """From other nodes, which are not to be told again."""


class PurgeAnswer(msgspec.Struct, tag="purge_answer"):
    """To whom sent PurgeWanted: every worker of this node did what it said."""

    request: int
    counted: int
    kept: bool = True
    """False: what is on disk may be found again after the next start, since the disk did not take the purge."""


class PurgeTold(msgspec.Struct, tag="purge_told"):
    """To the control process: other nodes are to hear of these purges; answered by PurgesPublished."""

    number: int
    purges: list[PurgeSpec]
    request: int
    """Of the control process's PurgeWanted that asked for them; 0 where a worker did."""


class PurgesPublished(msgspec.Struct, tag="purges_published"):
    """From the control process: what these PurgeTold said is with the engine."""

    numbers: list[int]


class PurgesHeard(msgspec.Struct, tag="purges_heard"):
    """From the control process: every worker has done what nodes published up to here."""

    cursor: int
    history: str
    """Of the engine, in which the cursor means something."""
    known: float
    """Monotonic seconds up to which nothing more was published; 0: not known."""


class EntriesCompared(msgspec.Struct, tag="entries_compared"):
    """From the control process: what is on disk was compared with the purges up to `epoch`."""

    epoch: int


class CacheLook(msgspec.Struct, tag="cache_look"):
    """Tell what is stored of a URL; answered by CacheLooked."""

    number: int
    url: str


class CacheLooked(msgspec.Struct, tag="cache_looked"):
    """What a worker stores of the URL of CacheLook, by route, as JSON-compatible data."""

    number: int
    routes: list[dict[str, Any]]


class CacheLookWanted(msgspec.Struct, tag="cache_look_wanted"):
    """From the control process: have every worker do what CacheLook says; answered by CacheLookAnswer."""

    request: int
    url: str


class CacheLookAnswer(msgspec.Struct, tag="cache_look_answer"):
    """To the control process: what each worker told."""

    request: int
    workers: dict[int, list[dict[str, Any]]]
    """By slot."""


class ConsumerChanged(msgspec.Struct, tag="consumer_changed"):
    """Read a consumer anew from the state engine; answered by ConsumerTaken."""

    number: int
    name: str


class ConsumerTaken(msgspec.Struct, tag="consumer_taken"):
    """The worker goes by what is now kept of the consumer."""

    number: int


class ConsumerWanted(msgspec.Struct, tag="consumer_wanted"):
    """From the control process: have every worker do what ConsumerChanged says; answered by ConsumerAnswer."""

    request: int
    name: str


class ConsumerAnswer(msgspec.Struct, tag="consumer_answer"):
    """To the control process: every worker did."""

    request: int


_OfPurges = Purge | PurgeAnswer | PurgesNumbered | PurgesForgotten | PurgesCaughtUp
_ToWorker = Prepare | Commit | Abort | Drain | Reopen | Certificates | _OfPurges | CacheLook | ConsumerChanged
ToChild = _ToWorker | CacheLookAnswer | ReloadAnswer | State | CertificatesAnswer | PurgeTold | ConsumerAnswer
_Answers = Ready | Prepared | Committed | CertificatesTaken | Purged | CacheLooked | ConsumerTaken
_Purging = PurgeWanted | PurgesPublished | PurgesHeard | EntriesCompared
ToSupervisor = _Answers | ReloadWanted | CertificatesWanted | CacheLookWanted | ConsumerWanted | _Purging
