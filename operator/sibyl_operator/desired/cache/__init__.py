"""The Redis that the operator runs for a workspace: one file per object, and how the runtime reaches it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sibyl_operator.api.resource import WorkspaceResource
from sibyl_operator.api.sources import Source
from sibyl_operator.desired.cache.config_map import cache_config_map
from sibyl_operator.desired.cache.deployment import cache_deployment
from sibyl_operator.desired.cache.service import cache_service
from sibyl_operator.desired.cache.service_account import cache_service_account
from sibyl_operator.desired.names import Names
from sibyl_operator.observed import SourceFacts


def cache_objects(
    resource: WorkspaceResource, names: Names, sources: Mapping[Source, SourceFacts]
) -> tuple[dict[str, Any], ...]:
    """Everything of a Builtin cache but its Secret, in the order in which it is needed; nothing for another one."""
    if resource.spec.cache.provider != "Builtin":
        return ()
    return (
        cache_service_account(names),
        cache_config_map(resource, names),
        cache_deployment(resource, names, sources),
        cache_service(names),
    )
