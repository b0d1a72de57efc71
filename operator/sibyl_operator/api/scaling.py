"""How many pods a workspace may have, and how many connections they may open, read from its spec."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sibyl_operator.api.models import Autoscaling, RuntimeSpec

if TYPE_CHECKING:
    from sibyl_operator.api.resource import WorkspaceResource

# What the Deployment's rollout may add on top: `maxSurge` of its strategy.
SURGE: Final = 1


@dataclass(frozen=True)
class ReplicaBounds:
    """Fewest and most pods outside a rollout; `field` is the spec's name for the upper end."""

    fewest: int
    most: int
    field: str


def scaling(runtime: RuntimeSpec) -> Autoscaling | None:
    """The autoscaler in effect: as written, the defaults when nothing is written, None for a fixed number of pods."""
    return None if runtime.replicas is not None else runtime.autoscaling or Autoscaling()


def replica_bounds(runtime: RuntimeSpec) -> ReplicaBounds:
    """The bounds in effect."""
    if runtime.replicas is not None:
        return ReplicaBounds(runtime.replicas, runtime.replicas, "runtime.replicas")
    bounds = runtime.autoscaling or Autoscaling()
    return ReplicaBounds(bounds.min_replicas, bounds.max_replicas, "runtime.autoscaling.maxReplicas")


def pool_connections(resource: WorkspaceResource) -> int:
    """Connections that one pod may open to each database server."""
    _, store = resource.document.default_vector_store
    return store.pool_size + store.max_overflow


def planned_connections(resource: WorkspaceResource) -> int:
    """Connections that the pods may open together to each server, at most replicas and during a rollout."""
    return (replica_bounds(resource.spec.runtime).most + SURGE) * pool_connections(resource)
