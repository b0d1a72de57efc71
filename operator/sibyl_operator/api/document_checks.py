"""What a workspace document must keep inside a cluster, beyond what it must keep anywhere.

Each check is a pure function of the custom resource's spec and its document and yields problems; paths start at
`spec.workspace`. A value is never shown where it may be a secret.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

from sibyl_operator.api.disk_cache import path_fault
from sibyl_operator.api.document_schema import document_schema
from sibyl_operator.api.models import SibylWorkspaceSpec
from sibyl_operator.api.structure import Location, leaves
from sibyl_runtime.workspace import (
    MalformedReference,
    Problem,
    Reference,
    Workspace,
    canonical_shop,
    environment_references,
    format_path,
    literal_secrets,
    unreachable_models,
    whole_reference,
)

ROOT: Final = ("spec", "workspace")
DATABASE_URL: Final = "DATABASE_URL"
REDIS_URL: Final = "REDIS_URL"
REPLICA_KEYS: Final = frozenset({"read_strategy", "replicas"})
LOOPBACK: Final = frozenset({"127.0.0.1", "localhost", "::1"})

_WANTED: Final = {
    "boolean": "true or false",
    "enum": "the chosen word",
    "integer": "the number",
    "number": "the number",
}
_SECRETS_BELONG: Final = (
    ", which everyone who may read this object can read; put it into a Secret, name that in spec.runtime.env, "
    "and write ${NAME} here"
)


@dataclass(frozen=True)
class ClusterDocument:
    """What the checks read: the spec around the document, the document as written, and as understood."""

    spec: SibylWorkspaceSpec
    raw: Mapping[str, Any]
    document: Workspace


Check = Callable[[ClusterDocument], Iterator[Problem]]


def problem(location: Location, message: str) -> Problem:
    """A problem at a place of the document, seen from the root of the custom resource."""
    return Problem(format_path((*ROOT, *location)), message)


def literals_where_typed(read: ClusterDocument) -> Iterator[Problem]:
    """The CRD types the document, so a number is a number there: a reference cannot stand for it."""
    for location, schema, value in leaves(_document_schema(), read.raw):
        wanted = _WANTED.get("enum" if "enum" in schema else schema.get("type", ""))
        if wanted and isinstance(value, str) and "${" in value:
            yield problem(location, f"{value} is a reference; in a custom resource {wanted} is written out here")


def variables_have_sources(read: ClusterDocument) -> Iterator[Problem]:
    """Every ${NAME} without a default comes from spec.runtime.env, or from what the operator injects."""
    provided = injected_variables(read.spec) | {variable.name for variable in read.spec.runtime.env}
    for name, places in environment_references(read.raw).items():
        for place in places:
            if place.default is None and name not in provided:
                path = f"{format_path(ROOT)}.{place.path}"
                yield Problem(path, f"${{{name}}} has no source in this cluster; {_source_of(name)}")


def _source_of(name: str) -> str:
    if name == REDIS_URL:
        return "set spec.cache.provider Builtin, or External with spec.cache.external.secretRef"
    return "add it to spec.runtime.env from a Secret"


def injected_variables(spec: SibylWorkspaceSpec) -> set[str]:
    """The variables that the operator gives to the runtime from the Secrets of database and cache."""
    cache = {REDIS_URL} if spec.cache.provider != "None" else set()
    return {DATABASE_URL, *replica_variables(spec)} | cache


def replica_variables(spec: SibylWorkspaceSpec) -> tuple[str, ...]:
    """The variables with the addresses of the Builtin database's read replicas, one for each."""
    return tuple(f"SIBYL_DATABASE_REPLICA_{number}_URL" for number in range(spec.database.read_replicas or 0))


def secrets_by_reference(read: ClusterDocument) -> Iterator[Problem]:
    """A custom resource can be read by many: passwords and keys stand in Secrets."""
    for location, held in literal_secrets(read.raw):
        yield problem(location, f"holds a literal {held}{_SECRETS_BELONG}")


def models_can_be_reached(read: ClusterDocument) -> Iterator[Problem]:
    """A pod that its language model keeps from starting would only be seen to restart."""
    for location, message in unreachable_models(read.document):
        yield problem(location, message)


def whole_environment_reference(text: str) -> Reference | None:
    """The environment reference that is all of `text`, if that is what it is."""
    try:
        reference = whole_reference(text)
    except MalformedReference:
        return None
    return reference if reference is not None and reference.kind == "environment" else None


def one_source_of_the_database(read: ClusterDocument) -> Iterator[Problem]:
    """The vector store is the database of the spec."""
    name, store = read.document.default_vector_store
    if store.dsn is not None and not _refers_to(store.dsn, DATABASE_URL):
        yield problem(
            ("providers", "vector_store", name, _address_key(read.raw, name)),
            "names a database beside spec.database; remove it (the operator sets it), or write ${DATABASE_URL}",
        )


def one_source_of_the_replicas(read: ClusterDocument) -> Iterator[Problem]:
    """Read replicas follow the database of the spec, and how they are chosen only matters where there are some."""
    written = read.raw.get("providers", {}).get("vector_store") or {}
    default = read.document.default_vector_store[0]
    for key in REPLICA_KEYS & written.keys():
        yield problem(
            ("providers", "vector_store", key),
            f"stands beside the stores; in a custom resource, write it into the store: {default}.{key}",
        )
    for name, store in read.document.providers.vector_store.named.items():
        given = bool(store.replicas)
        location: Location = ("providers", "vector_store", name)
        if given and read.spec.database.provider == "Builtin":
            yield problem(
                (*location, "replicas"),
                "names read replicas beside a database that the operator runs; remove them, and set "
                "spec.database.readReplicas",
            )
        follow = given or (name == default and bool(replica_variables(read.spec)))
        if "read_strategy" in store.model_fields_set and not follow:
            yield problem(
                (*location, "read_strategy"),
                "has no effect without read replicas; set spec.database.readReplicas, or remove it",
            )


def _address_key(raw: Mapping[str, Any], store: str) -> str:
    """`dsn`, or its alias `url` where the document uses that."""
    written = raw.get("providers", {}).get("vector_store", {}).get(store) or {}
    return "url" if "url" in written else "dsn"


def _refers_to(text: str, name: str) -> bool:
    reference = whole_environment_reference(text)
    return reference is not None and reference.name == name


def one_source_of_the_cache(read: ClusterDocument) -> Iterator[Problem]:
    """spec.cache and the document's caching must mean the same Redis, or neither."""
    caching = read.document.caching
    written = written_caching(read.raw)
    location: Location = ("shops", infrastructure_key(read.raw), "config", "caching")
    if read.spec.cache.provider == "None":
        if caching.redis_level is not None:
            yield problem(
                location,
                "caches in Redis, but spec.cache.provider is None; set it to Builtin or External, or cache in memory",
            )
        return
    shop = read.document.shops.get("infrastructure")
    redis = caching.redis
    if (shop is not None and not shop.enabled) or written.get("enabled") is False or (redis and not redis.enabled):
        yield problem(location, "switches off the cache that spec.cache provides; set spec.cache.provider None")
    elif redis is not None and redis.url is not None and not _refers_to(redis.url, REDIS_URL):
        yield problem(
            (*location, "redis", "url"),
            "names a Redis beside spec.cache; remove it (the operator sets it), or write ${REDIS_URL}",
        )


def infrastructure_key(raw: Mapping[str, Any]) -> str:
    """The shop `infrastructure` as the document spells it."""
    spelled = (name for name in raw.get("shops") or {} if canonical_shop(name) == "infrastructure")
    return next(spelled, "infrastructure")


def written_caching(raw: Mapping[str, Any]) -> Mapping[str, Any]:
    """The caching section as written; empty when there is none."""
    shop = (raw.get("shops") or {}).get(infrastructure_key(raw)) or {}
    caching = (shop.get("config") or {}).get("caching") or {}
    return caching if isinstance(caching, Mapping) else {}


def disk_has_a_volume(read: ClusterDocument) -> Iterator[Problem]:
    """The root file system of a pod is read-only."""
    level = read.document.caching.disk_level
    fault = None if level is None or level.path is None else path_fault(level.path)
    if fault is not None:
        yield problem(("shops", infrastructure_key(read.raw), "config", "caching", "disk", "path"), fault)


def pods_can_be_reached(read: ClusterDocument) -> Iterator[Problem]:
    """Probes, clients and the operator come from outside the pod."""
    if read.document.mcp.host in LOOPBACK:
        yield problem(
            ("mcp", "host"),
            f"{read.document.mcp.host} keeps probes and clients out of the pod; remove it, or write 0.0.0.0",
        )
    if read.document.mcp.transport == "stdio":
        yield problem(("mcp", "transport"), "stdio has no port, so nobody reaches the pod; remove it, or write http")
    if not read.document.observability.metrics.enabled:
        yield problem(
            ("observability", "metrics", "enabled"),
            "false hides from the operator what the pods loaded and how they fare; remove it",
        )


def one_source_of_shared_rates(read: ClusterDocument) -> Iterator[Problem]:
    """The pods reach one Redis, that of spec.cache: the network policy lets them go to no other."""
    limiting = read.document.mcp.rate_limiting
    if limiting is None or limiting.redis_url is None or _refers_to(limiting.redis_url, REDIS_URL):
        return
    yield problem(
        ("mcp", "rate_limiting", "redis_url"),
        "names a Redis beside spec.cache; write ${REDIS_URL}, which is that of it",
    )


def keys_are_within_reach(read: ClusterDocument) -> Iterator[Problem]:
    """A pod mounts no files of the user's: a changed Secret replaces the pods one by one, which rotates keys too."""
    authentication = read.document.mcp.authentication
    if authentication is not None and authentication.keys_file is not None:
        yield problem(
            ("mcp", "authentication", "keys_file"),
            "names a file, and pods mount none of yours; put the keys into a Secret, name that in spec.runtime.env, "
            "and list ${NAME} in mcp.authentication.keys: when the Secret changes, the pods are replaced",
        )


CHECKS: Final[tuple[Check, ...]] = (
    literals_where_typed,
    one_source_of_the_database,
    one_source_of_the_replicas,
    one_source_of_the_cache,
    disk_has_a_volume,
    secrets_by_reference,
    models_can_be_reached,
    variables_have_sources,
    pods_can_be_reached,
    one_source_of_shared_rates,
    keys_are_within_reach,
)


def document_problems(read: ClusterDocument) -> tuple[Problem, ...]:
    """Everything that keeps the document from working in a cluster; of one place, only what is found first."""
    by_path: dict[str, Problem] = {}
    for check in CHECKS:
        for found in check(read):
            by_path.setdefault(found.path, found)
    return tuple(by_path.values())


@cache
def _document_schema() -> dict[str, Any]:
    return document_schema()
