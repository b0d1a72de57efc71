"""Who may talk to whom: one NetworkPolicy for each component, with the connections that the workspace declares.

Everything else is refused in both directions, where the cluster's network enforces policies at all.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sibyl_operator.api.resource import WorkspaceResource
from sibyl_operator.api.sources import Source
from sibyl_operator.desired.names import Names
from sibyl_operator.desired.network_policy.cache import cache_policy
from sibyl_operator.desired.network_policy.database import database_policy
from sibyl_operator.desired.network_policy.database_replica import database_replica_policy
from sibyl_operator.desired.network_policy.runtime import runtime_policy
from sibyl_operator.observed import SourceFacts


def network_policies(
    resource: WorkspaceResource, names: Names, sources: Mapping[Source, SourceFacts]
) -> tuple[dict[str, Any], ...]:
    """A policy for each component that the operator runs; none where they are switched off."""
    if not resource.spec.network_policy.enabled:
        return ()
    policies = (
        runtime_policy(resource, names, sources),
        database_policy(resource, names),
        database_replica_policy(resource, names),
        cache_policy(resource, names),
    )
    return tuple(policy for policy in policies if policy is not None)
