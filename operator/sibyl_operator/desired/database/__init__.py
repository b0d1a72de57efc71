"""The PostgreSQL that the operator runs, for `database.provider: Builtin`: one file per object."""

from __future__ import annotations

from collections.abc import Mapping

from sibyl_operator.api.resource import WorkspaceResource
from sibyl_operator.api.sources import Source
from sibyl_operator.desired.database.config_map import config_map
from sibyl_operator.desired.database.pod_disruption_budget import pod_disruption_budget
from sibyl_operator.desired.database.primary import primary
from sibyl_operator.desired.database.replicas import replicas
from sibyl_operator.desired.database.service_account import service_account
from sibyl_operator.desired.database.services import read_only, read_write, replica_names
from sibyl_operator.desired.names import Names
from sibyl_operator.observed import Manifest, SourceFacts

__all__ = ["builtin_database"]


def builtin_database(
    resource: WorkspaceResource, names: Names, sources: Mapping[Source, SourceFacts]
) -> tuple[Manifest | None, ...]:
    """Everything of the database, in the order in which it is needed; nothing for another provider."""
    if resource.spec.database.provider != "Builtin":
        return ()
    return (
        service_account(names),
        config_map(resource, names),
        primary(resource, names, sources),
        read_write(names),
        replicas(resource, names, sources),
        replica_names(resource, names),
        read_only(resource, names),
        pod_disruption_budget(resource, names),
    )
