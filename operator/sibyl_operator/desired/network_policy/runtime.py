"""The network of the runtime's pods."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sibyl_operator.api.models import CacheSecretReference, DatabaseSecretReference
from sibyl_operator.api.resource import WorkspaceResource
from sibyl_operator.api.sources import Source, key_of_secret
from sibyl_operator.desired.cache.config_map import PORT
from sibyl_operator.desired.names import CACHE, DATABASE, DATABASE_REPLICA, RUNTIME, Names
from sibyl_operator.desired.network_policy.destinations import (
    destinations,
    known_endpoints,
    loading_rules,
    model_rules,
    replica_rules,
)
from sibyl_operator.desired.network_policy.rules import ANY_POD, DNS, POSTGRES_PORT, Rule, pods, policy, ports
from sibyl_operator.observed import SourceFacts


def runtime_policy(resource: WorkspaceResource, names: Names, sources: Mapping[Source, SourceFacts]) -> dict[str, Any]:
    """Clients may come from everywhere, and scrapers from the cluster; out go the questions that a pod itself asks."""
    document = resource.document
    ingress = [
        {"ports": ports(document.mcp.port)},
        {"from": [ANY_POD], "ports": ports(document.observability.metrics.port)},
    ]
    egress = [DNS, *_to_database(resource, names, sources), *_to_cache(resource, names, sources)]
    for rules in (model_rules(resource, sources), loading_rules(resource, sources)):
        egress += [rule for rule in rules if rule not in egress]
    return policy(names.runtime, RUNTIME, names, ingress=ingress, egress=egress)


def _to_database(resource: WorkspaceResource, names: Names, sources: Mapping[Source, SourceFacts]) -> list[Rule]:
    database = resource.spec.database
    if database.external is not None:
        rules = _to_external(database.external.secret_ref, sources, POSTGRES_PORT)
        rules += [rule for rule in replica_rules(resource, sources) if rule not in rules]
        return rules
    peers = [pods(DATABASE, names)]
    if database.read_replicas:
        peers.append(pods(DATABASE_REPLICA, names))
    return [{"to": peers, "ports": ports(POSTGRES_PORT)}]


def _to_cache(resource: WorkspaceResource, names: Names, sources: Mapping[Source, SourceFacts]) -> list[Rule]:
    cache = resource.spec.cache
    if cache.external is not None:
        return _to_external(cache.external.secret_ref, sources, PORT)
    return [{"to": [pods(CACHE, names)], "ports": ports(PORT)}] if cache.provider == "Builtin" else []


def _to_external(
    reference: DatabaseSecretReference | CacheSecretReference, sources: Mapping[Source, SourceFacts], port: int
) -> list[Rule]:
    """Where the Secret points to; while it is not there, or does not tell, any address on the usual port."""
    return destinations(known_endpoints(key_of_secret(reference), sources) or ()) or [{"ports": ports(port)}]
