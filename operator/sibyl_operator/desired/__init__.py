"""What should exist for a workspace: pure builders, one file per object, in the order in which they are applied."""

from __future__ import annotations

from collections.abc import Mapping

from sibyl_operator.api.resource import WorkspaceResource
from sibyl_operator.api.sources import Source
from sibyl_operator.desired.cache import cache_objects
from sibyl_operator.desired.config_map import config_map
from sibyl_operator.desired.database import builtin_database
from sibyl_operator.desired.deployment import deployment
from sibyl_operator.desired.document import config_hash, effective_document
from sibyl_operator.desired.horizontal_pod_autoscaler import horizontal_pod_autoscaler
from sibyl_operator.desired.names import Names
from sibyl_operator.desired.network_policy import network_policies
from sibyl_operator.desired.pod_disruption_budget import pod_disruption_budget
from sibyl_operator.desired.service import service
from sibyl_operator.desired.service_account import service_account
from sibyl_operator.desired.sources import referenced_sources
from sibyl_operator.observed import Manifest, SourceFacts

__all__ = ["config_hash", "desired", "effective_document", "names_of", "referenced_sources"]


def names_of(resource: WorkspaceResource) -> Names:
    """What the children of this workspace are called."""
    return Names(namespace=resource.namespace, workspace=resource.name, uid=resource.uid)


def desired(resource: WorkspaceResource, sources: Mapping[Source, SourceFacts]) -> tuple[Manifest, ...]:
    """Every child, in phases: what the pods need, the pods and their address, what watches over them."""
    names = names_of(resource)
    wanted = (
        service_account(names),
        config_map(resource, names),
        *network_policies(resource, names, sources),
        *builtin_database(resource, names, sources),
        deployment(resource, names, sources),
        service(resource, names),
        horizontal_pod_autoscaler(resource, names),
        pod_disruption_budget(resource, names),
        *cache_objects(resource, names, sources),
    )
    return tuple(manifest for manifest in wanted if manifest is not None)
