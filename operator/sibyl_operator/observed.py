"""What one pass of the reconciler has seen: the facts that conditions and status are computed from.

Everything here is frozen and free of secrets, so a fact can be logged, compared and kept between passes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sibyl_operator.api.resource import WorkspaceResource
    from sibyl_operator.api.sources import Source

Manifest = dict[str, Any]
OUT_OF_MEMORY = "it was killed because it needed more memory than its limit"


@dataclass(frozen=True)
class Endpoint:
    """Where a server is: a name or an address, and a port."""

    host: str
    port: int


@dataclass(frozen=True)
class SourceFacts:
    """What may be known of a Secret or a ConfigMap: which keys it has, a digest that moves when a needed one changes,
    and where those of its keys that hold an address point to. Never a value.
    """

    exists: bool
    keys: frozenset[str]
    digest: str
    endpoints: Mapping[str, tuple[Endpoint, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class DatabaseFacts:
    """The answer of one probe of the database; `error` is free of credentials."""

    reachable: bool
    error: str | None = None
    server_version: str | None = None
    vector_version: str | None = None
    max_connections: int | None = None
    reserved_connections: int | None = None


@dataclass(frozen=True)
class SlotFacts:
    """What a primary keeps for one read replica. `waiting_bytes` is what the replica has not confirmed yet.

    `lost`: the primary has removed what the replica had not received, so that it can never catch up.
    """

    name: str
    streaming: bool
    lost: bool
    waiting_bytes: int


@dataclass(frozen=True)
class ReplicationFacts:
    """What the primary of a Builtin database says of its read replicas; `error` is free of credentials."""

    slots: tuple[SlotFacts, ...] = ()
    error: str | None = None


@dataclass(frozen=True)
class PodFacts:
    """One pod: what the API server says of it and, of a runtime pod, what the pod says of itself.

    `template_hash` is the configuration that the pod was started for, `loaded_hash` the one that it serves.
    """

    name: str
    ip: str | None
    ready: bool
    terminating: bool
    template_hash: str | None = None
    loaded_hash: str | None = None
    health: Mapping[str, Any] | None = None
    waiting_reason: str | None = None
    waiting_message: str | None = None
    restarts: int = 0
    last_words: str | None = None
    """The end of what its container wrote before it last ended."""
    error: str | None = None


@dataclass(frozen=True)
class TargetFacts:
    """A KPI of the document over all pods. `value`, in the unit of the target, and `met` are None while not known.

    `is_share`: a part of a whole, between 0 and 1.
    """

    name: str
    target: float
    value: float | None
    met: bool | None
    is_share: bool = False


@dataclass(frozen=True)
class KpiFacts:
    """Figures over the last `window_seconds`, summed over the pods that answered; latencies in seconds."""

    p50: float | None
    p95: float | None
    p99: float | None
    requests_per_second: float
    error_ratio: float | None
    cache_hit_ratio: float | None
    pods_scraped: int
    pods_expected: int
    window_seconds: float
    targets: tuple[TargetFacts, ...] = ()


@dataclass(frozen=True)
class Conflict:
    """An object of a name that we need, which is not ours: refused, never overwritten."""

    kind: str
    name: str
    message: str


@dataclass(frozen=True)
class ApplyError:
    """A child that could not be written; `transient` errors are retried with backoff, the others wait for a change."""

    component: str
    message: str
    transient: bool


@dataclass(frozen=True)
class Observed:
    """One gathered view of a workspace; `children` is keyed by (kind, name) and holds live objects."""

    resource: WorkspaceResource
    sources: Mapping[Source, SourceFacts]
    children: Mapping[tuple[str, str], Manifest]
    conflicts: tuple[Conflict, ...]
    apply_errors: tuple[ApplyError, ...]
    database: DatabaseFacts | None
    pods: tuple[PodFacts, ...]
    kpis: KpiFacts | None
    config_hash: str
    service_pods: Mapping[str, tuple[PodFacts, ...]] = field(default_factory=dict)
    """The pods of database and cache by component, as the API server has them."""
    unapplied: tuple[str, ...] = ()
    """While suspended: the children that are not as the spec asks, each as `Kind name`."""
    replication: ReplicationFacts | None = None
    """None unless the operator runs the database, and it answers."""
