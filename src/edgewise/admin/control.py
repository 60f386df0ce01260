"""What the admin address needs of the rest of edgewise: one protocol, and the values it speaks in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from edgewise.contracts.shared import DRAINED, UNHEALTHY, EndpointState

ServerState = Literal["healthy", "unhealthy", "ejected", "draining", "drained"]


@dataclass(frozen=True, slots=True)
class WorkerStatus:
    """One worker process."""

    index: int
    pid: int
    uptime: float
    """Seconds since the process was started."""
    connections: int
    """Open client connections."""
    requests: int
    """Exchanges finished by this worker and those it replaced."""
    cache_objects: int = 0
    cache_bytes: int = 0
    """Of answers that it keeps."""


@dataclass(frozen=True, slots=True)
class RouteStatus:
    """One route."""

    name: str
    target: str
    """What answers: an upstream's name, `split`, `redirect` or `respond`."""
    requests: int = 0
    cache: dict[str, int] = field(default_factory=dict)
    """Result -> requests for which the route's cache did that (`contracts.cache.Result`)."""


@dataclass(frozen=True, slots=True)
class DiskStatus:
    """The answers on disk, which the workers of this machine share."""

    most: int
    """Bytes that there is room for."""
    bytes: int
    objects: int
    """Both as they were counted; less while they are counted, after the start."""
    evictions: int = 0
    """Answers that gave way to others."""
    written: int = 0
    """Bytes ever written."""


@dataclass(frozen=True, slots=True)
class Status:
    """The instance as a whole."""

    version: str
    generation: int
    """Configurations loaded so far."""
    ready: bool
    """Are all workers up and is none told to stop?"""
    uptime: float
    workers: tuple[WorkerStatus, ...] = ()
    routes: tuple[RouteStatus, ...] = ()
    cache_disk: DiskStatus | None = None
    """None where no answers are kept on disk."""


@dataclass(frozen=True, slots=True)
class ServerStatus:
    """One server of an upstream, over all workers."""

    name: str
    """As in the configuration; `upstream/name` is its key."""
    state: ServerState
    reason: str = ""
    """Why the state is not healthy, in words."""
    weight: int = 1
    backup: bool = False
    active: int = 0
    connections: int = 0
    waiting: int = 0
    requests: int = 0
    failures: int = 0
    ejections: int = 0
    moved: dict[str, int] = field(default_factory=dict)
    """Reason -> requests that came though another server is their session's (`contracts.endpoint.Move`)."""
    last_check: str | None = None
    """Time of the last active check (RFC 3339); None where there was none."""


@dataclass(frozen=True, slots=True)
class UpstreamStatus:
    """A group of servers."""

    name: str
    balance: str
    servers: tuple[ServerStatus, ...] = ()


@dataclass(frozen=True, slots=True)
class CertificateStatus:
    """A certificate of the TLS listeners; times are RFC 3339."""

    name: str
    """Host name, `internal`, or the file of a certificate that is configured."""
    names: tuple[str, ...]
    """What it is for."""
    not_after: str | None
    """None where there is no certificate yet."""
    next_renewal: str | None
    """When it is ordered next; None where edgewise does not renew it."""
    failures: int = 0
    """Attempts in a row that came to nothing."""
    last_error: str = ""


@dataclass(frozen=True, slots=True)
class HeldSession:
    """A user's session."""

    namespace: str
    """`gateway`, or that of an app."""
    id: str
    """Names it to those who end it; opens nothing."""
    label: str
    created: str
    """Time of the login (RFC 3339)."""
    expires_in: float
    """Seconds that it lives on unused."""


@dataclass(frozen=True, slots=True)
class ApiKeyStatus:
    """An API key, without the key."""

    id: str
    """Names it to those who revoke it; opens nothing."""
    label: str
    created: str
    """RFC 3339."""


@dataclass(frozen=True, slots=True)
class ConsumerStatus:
    """A consumer, without its credentials."""

    name: str
    source: Literal["file", "state"]
    """Where it stands: in the configuration, or in the state engine, where it was added at run time."""
    groups: tuple[str, ...]
    scopes: tuple[str, ...]
    claims: dict[str, str]
    keys: tuple[ApiKeyStatus, ...] = ()
    unlisted_keys: int = 0
    """API keys of the configuration, which have no ids."""
    passwords: int = 0
    created: str | None = None
    """RFC 3339; None where the configuration has it."""


@dataclass(frozen=True, slots=True)
class PurgeOrder:
    """What is to be purged."""

    kind: str
    """url, prefix, host, tag, pattern or all."""
    value: str = ""


@dataclass(frozen=True, slots=True)
class PurgeResult:
    """What came of a purge."""

    objects: int = 0
    """Answers in memory that it would concern, over all workers of this node, where they were counted."""
    nodes: int = 1
    """Of which every worker has purged."""
    late: tuple[str, ...] = ()
    """Nodes that are alive and have not said so in time."""
    on_disk: int | None = None
    """Answers on this node's disk that it would concern; None where none are kept there, or they were not counted."""
    estimated: bool = False
    """Were these too many to count all?"""
    kept: bool = True
    """False: this node's disk did not take the purge, so that after a restart what is there may be found again."""


class NothingShared(Exception):
    """There is no state engine that sessions or consumers could be in; the text says so."""


class Configured(Exception):
    """The configuration has the consumer, so that it cannot be changed at run time; the text says so."""


class TooMany(Exception):
    """A consumer would have more than one can have; the text says of what."""


class ConsumerControl(Protocol):
    """Consumers of the configuration, and those that are added at run time.

    Methods raise StateError, ValueError for what is no name, group and so on, and those that change something
    NothingShared, Configured, TooMany, and TimeoutError: the change is kept, but not every worker has taken it.
    """

    async def consumers(self) -> tuple[ConsumerStatus, ...]:
        """Return all of them."""

    async def consumer(self, name: str) -> ConsumerStatus | None:
        """Return one; None where there is none."""

    async def add(
        self, name: str, groups: Sequence[str], scopes: Sequence[str], claims: Mapping[str, str]
    ) -> ConsumerStatus | None:
        """Add one without credentials; None: there is one of that name."""

    async def add_key(self, name: str, label: str) -> tuple[str, str] | None:
        """Return (id, key) of a new API key; None: there is no such consumer."""

    async def set_password(self, name: str, hashed: str) -> bool:
        """Set the password of that hash in place of others; False: there is no such consumer."""

    async def revoke(self, name: str) -> int | None:
        """Take every credential from a consumer; return how many were API keys. None: there is no such consumer."""

    async def revoke_key(self, identifier: str) -> str | None:
        """Revoke an API key; return whose it was. None: there is no such key."""

    async def remove(self, name: str) -> bool:
        """Remove a consumer; False: there is none."""


@dataclass(frozen=True, slots=True)
class ReloadProblem:
    """One thing wrong with a new configuration, in the fields of `config.Problem`."""

    message: str
    file: str = ""
    line: int | None = None
    key: str = ""
    expected: str = ""
    nearest: str = ""


@dataclass(frozen=True, slots=True)
class ReloadResult:
    """What came of a reload; with problems, the running configuration stayed as it was."""

    generation: int
    problems: tuple[ReloadProblem, ...] = field(default=())


class Control(Protocol):
    """The control process as the admin address sees it. No method may block."""

    @property
    def consumers(self) -> ConsumerControl:
        """Those who have credentials of their own."""

    def status(self) -> Status:
        """Return how the instance is doing."""

    def upstreams(self) -> tuple[UpstreamStatus, ...]:
        """Return the state of every server."""

    def drain(self, key: str, on: bool) -> None:
        """Take the server `upstream/name` out of new requests, or back in; raises KeyError where there is none."""

    def certificates(self) -> tuple[CertificateStatus, ...]:
        """Return how each certificate is doing."""

    def renew(self, name: str, *, revoke: bool) -> None:
        """Renew a certificate now and revoke the old one, if asked; raises KeyError where none of that name is kept."""

    async def sessions_of(self, user: str, namespaces: Sequence[str]) -> tuple[HeldSession, ...]:
        """Return a user's sessions of some namespaces, by default the gateway's and those of apps without their own.

        This and what follows raise ValueError for what is no namespace, NothingShared, and StateError.
        """

    async def revoke_sessions(self, user: str, namespaces: Sequence[str]) -> int:
        """End every session of a user on all nodes; return how many were listed."""

    async def revoke_session(self, handle: str, namespaces: Sequence[str]) -> str | None:
        """End one session on all nodes; return whose it was, None where there is none of that id."""

    async def purge(self, orders: Sequence[PurgeOrder], *, soft: bool, dry_run: bool) -> PurgeResult:
        """Purge what is stored; done once no worker of any node that is alive finds it any more.

        With `dry_run` only count. `soft`: stale, to be validated, in place of gone. Raises ValueError for what is
        nothing to purge by, TimeoutError where not every worker of this node answers, and StateError where other
        nodes cannot be told before the engine is back.
        """

    async def cached(self, url: str) -> dict[int, list[dict[str, Any]]]:
        """Return what each worker stores of a URL, by route, and why it did not store what it did not.

        Raises ValueError where it is no URL with a host, and TimeoutError.
        """

    async def reload(self) -> ReloadResult:
        """Check the configuration file anew and swap it in where it is sound."""

    def metrics_text(self) -> str:
        """Return every metric in Prometheus text format."""

    def effective_config(self) -> dict[str, Any]:
        """Return the configuration in force as plain values, defaults filled in, secrets left out."""


def server_state(flags: int, figures: EndpointState, workers: int, check_failure: str = "") -> tuple[ServerState, str]:
    """Return (state, reason) of a server from its shared flags and figures; draining wins over unhealthy over ejected.

    `check_failure` says what the last active check found.
    """
    if flags & DRAINED:
        if figures.active:
            return "draining", f"drained by the operator, {figures.active} requests under way"
        return "drained", "drained by the operator"
    if flags & UNHEALTHY:
        return "unhealthy", check_failure or "active checks failed"
    if figures.ejected:
        return "ejected", f"ejected for failed requests by {figures.ejected} of {workers} workers"
    return "healthy", ""
