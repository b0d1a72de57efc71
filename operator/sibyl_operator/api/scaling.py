"""How many pods a workspace may have, read from its spec."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from sibyl_operator.api.models import Autoscaling, RuntimeSpec

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
