"""The effective document: what the user wrote, and what only the operator can know. The pods read exactly this.

Credentials never appear in it: it refers to ${DATABASE_URL} and ${REDIS_URL}, which the pods get from Secrets.
"""

from __future__ import annotations

import copy
from typing import Any, Final

from sibyl_operator.api.document_checks import (
    DATABASE_URL,
    REDIS_URL,
    infrastructure_key,
    replica_variables,
    written_caching,
)
from sibyl_operator.api.resource import WorkspaceResource
from sibyl_operator.yaml_text import dump
from sibyl_runtime.workspace import effective_hash

DATABASE_REFERENCE: Final = f"${{{DATABASE_URL}}}"
REDIS_REFERENCE: Final = f"${{{REDIS_URL}}}"


def effective_document(resource: WorkspaceResource) -> dict[str, Any]:
    """The user's document, with the database in its default vector store and the cache among its caches."""
    document = copy.deepcopy(dict(resource.raw_document))
    _give_database(document, resource)
    if resource.spec.cache.provider != "None":
        _give_cache(document, resource)
    return document


def config_hash(resource: WorkspaceResource) -> str:
    """The hash that every pod must report once it has loaded the effective document."""
    return effective_hash(effective_document(resource))


def document_text(resource: WorkspaceResource) -> str:
    """The effective document as the file that the pods read; equal documents give equal text."""
    header = (
        f"# The effective document of SibylWorkspace {resource.namespace}/{resource.name}.\n"
        "# Written by sibyl-operator; change spec.workspace of the resource instead.\n"
    )
    return header + dump(effective_document(resource))


def _give_database(document: dict[str, Any], resource: WorkspaceResource) -> None:
    name, store = resource.document.default_vector_store
    replicas = [{"dsn": f"${{{variable}}}"} for variable in replica_variables(resource.spec)]
    if store.dsn is not None and not replicas:
        return
    written = _section(_section(_section(document, "providers"), "vector_store"), name)
    if store.dsn is None:
        written["dsn"] = DATABASE_REFERENCE
    if replicas:
        written["replicas"] = replicas


def _give_cache(document: dict[str, Any], resource: WorkspaceResource) -> None:
    """Add Redis as a level of the cache. A level in memory that the document has without writing it is written out,
    because it is only there while no level is written."""
    written = written_caching(document)
    shop = _section(_section(document, "shops"), infrastructure_key(document))
    caching = _section(_section(shop, "config"), "caching")
    if resource.document.caching.memory_level is not None and "memory" not in written:
        caching["memory"] = {}
    _section(caching, "redis").setdefault("url", REDIS_REFERENCE)


def _section(parent: dict[str, Any], name: str) -> dict[str, Any]:
    """The mapping under `name`, made where it is absent or empty."""
    if not parent.get(name):
        parent[name] = {}
    section: dict[str, Any] = parent[name]
    return section
