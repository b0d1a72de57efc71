"""The rendered policies let through the declared graph and nothing else."""

from __future__ import annotations

from typing import Any, Literal

import pytest
import yaml

from sibyl_operator.api.sources import REFERENCE_FIELDS, Source
from sibyl_operator.desired import desired, names_of
from sibyl_operator.desired.names import CACHE, DATABASE, DATABASE_REPLICA, RUNTIME, Names
from sibyl_operator.desired.network_policy import network_policies
from sibyl_operator.observed import Endpoint, SourceFacts
from tests.operator.api.facts import ROOT, resource, valid
from tests.support.network import Place, may_reach

NAMES = names_of(resource())
OTHER_NAMES = Names(namespace="team", workspace="other", uid="uid-2")
INSTALLED = yaml.safe_load_all((ROOT / "manifests" / "install.yaml").read_text())
OPERATOR_POD = next(made for made in INSTALLED if made["kind"] == "Deployment")["spec"]["template"]

COMPONENTS = {
    name: Place(NAMES.pod_labels(name), "team") for name in (RUNTIME, DATABASE, DATABASE_REPLICA, CACHE)
}  # fmt: skip
PLACES = {
    **COMPONENTS,
    "operator": Place(OPERATOR_POD["metadata"]["labels"], "sibyl-system"),
    "neighbour": Place({"app": "other"}, "team"),
    "stranger": Place({"app": "other"}, "elsewhere"),
    "runtime of another workspace": Place(OTHER_NAMES.pod_labels(RUNTIME), "team"),
    "dns": Place({"k8s-app": "kube-dns"}, "kube-system"),
    "data": Place({"app": "db"}, "data"),
    "llm": Place({"app": "model"}, "llm"),
    "world": Place(address="203.0.113.7"),
    "given address": Place(address="198.51.100.7"),
}
OTHERS = tuple(name for name in PLACES if name not in COMPONENTS)
HTTP, METRICS, POSTGRES, REDIS = 8000, 9090, 5432, 6379
PORTS = (22, 53, 80, 443, REDIS, 5432, 6432, HTTP, METRICS, 8443)

BUILTIN_DATABASE = {"provider": "Builtin"}
REPLICATED = {"provider": "Builtin", "readReplicas": 2}
BUILTIN_CACHE = {"provider": "Builtin"}

# Who may come in, for every component: any number of sources to a port.
INGRESS: dict[str, dict[int, set[str]]] = {
    RUNTIME: {HTTP: set(OTHERS), METRICS: set(OTHERS) - {"world", "given address"}},
    DATABASE: {POSTGRES: {RUNTIME, DATABASE_REPLICA, "operator"}},
    DATABASE_REPLICA: {POSTGRES: {RUNTIME, "operator"}},
    CACHE: {REDIS: {RUNTIME}},
}


Facts = dict[Source, SourceFacts]


def policies(sources: Facts | None = None, **spec: Any) -> list[dict[str, Any]]:
    found = resource(**spec)
    return [made for made in desired(found, sources or {}) if made["kind"] == "NetworkPolicy"]


def reachable(made: list[dict[str, Any]], source: str, protocol: str = "TCP") -> set[tuple[str, int]]:
    """Where a component may go to, of what there is: a component without a policy is not run here."""
    guarded = [policy["spec"]["podSelector"]["matchLabels"] for policy in made]
    there = {name for name in COMPONENTS if NAMES.selector(name) in guarded}
    return {
        (target, port)
        for target in (*OTHERS, *there)
        for port in PORTS
        if target != source and may_reach(made, PLACES[source], PLACES[target], port, protocol)
    }


@pytest.mark.parametrize("target", INGRESS)
def test_only_those_whom_the_graph_names_come_in(target: str) -> None:
    made = policies(database=REPLICATED, cache=BUILTIN_CACHE)
    assert len(made) == 4
    found = {
        port: {name for name in PLACES if name != target and may_reach(made, PLACES[name], PLACES[target], port)}
        for port in PORTS
    }
    assert {port: sources for port, sources in found.items() if sources} == INGRESS[target]


def everywhere(*ports: int) -> set[tuple[str, int]]:
    """Any place on these ports that lets everyone in: all but our own components."""
    return {(name, port) for name in OTHERS for port in ports}


DNS = everywhere(53)


@pytest.mark.parametrize(
    ("source", "allowed"),
    [
        (RUNTIME, DNS | {(DATABASE, POSTGRES), (DATABASE_REPLICA, POSTGRES), (CACHE, REDIS)}),
        (DATABASE, set()),
        (DATABASE_REPLICA, DNS | {(DATABASE, POSTGRES)}),
        (CACHE, set()),
    ],
)
def test_components_go_nowhere_else(source: str, allowed: set[tuple[str, int]]) -> None:
    assert reachable(policies(database=REPLICATED, cache=BUILTIN_CACHE), source) == allowed


def test_names_are_asked_for_over_udp_and_tcp() -> None:
    assert reachable(policies(), RUNTIME, "UDP") == DNS


def test_without_replicas_none_is_let_in_or_asked() -> None:
    made = policies(database=BUILTIN_DATABASE)
    assert len(made) == 2
    assert not may_reach(made, PLACES[DATABASE_REPLICA], PLACES[DATABASE], POSTGRES)
    assert reachable(made, RUNTIME) == DNS | {(DATABASE, POSTGRES)}


def at(name: str, key: str, *endpoints: Endpoint, kind: Literal["ConfigMap", "Secret"] = "Secret") -> Facts:
    return {Source(kind, name): SourceFacts(True, frozenset({key}), "digest", {key: endpoints})}


NEIGHBOURS = {(name, port) for name in ("neighbour", "runtime of another workspace") for port in PORTS}
DSN: list[tuple[tuple[Endpoint, ...], set[tuple[str, int]]]] = [
    ((), everywhere(5432)),
    ((Endpoint("db.example.com", 6432),), everywhere(6432)),
    ((Endpoint("198.51.100.7", 6432),), {("given address", 6432)}),
    # The policy sees the pod's port, which may be another than the Service's.
    ((Endpoint("primary.data.svc", 6432),), {("data", port) for port in PORTS}),
    ((Endpoint("db-0.primary.data.svc.cluster.local", 5432),), {("data", port) for port in PORTS}),
    ((Endpoint("db", 5432),), NEIGHBOURS),
    (
        (Endpoint("198.51.100.7", 5432), Endpoint("203.0.113.7", 6432)),
        {("given address", 5432), ("world", 6432)},
    ),
]  # fmt: skip


@pytest.mark.parametrize(("endpoints", "allowed"), DSN, ids=[str([e.host for e in case[0]]) for case in DSN])
def test_a_database_of_the_users_is_reached_where_its_dsn_points(
    endpoints: tuple[Endpoint, ...], allowed: set[tuple[str, int]]
) -> None:
    assert reachable(policies(at("docs-database", "dsn", *endpoints)), RUNTIME) == DNS | allowed


def test_a_cache_of_the_users_is_reached_where_its_url_points() -> None:
    cache = {"provider": "External", "external": {"secretRef": {"name": "redis"}}}
    secrets = at("docs-database", "dsn", Endpoint("198.51.100.7", 5432)) | at("redis", "url", Endpoint("cache", 6380))
    found = reachable(policies(secrets, cache=cache), RUNTIME)
    assert found == DNS | {("given address", 5432)} | NEIGHBOURS
    del secrets[Source("Secret", "redis")]
    assert reachable(policies(secrets, cache=cache), RUNTIME) == DNS | {("given address", 5432)} | everywhere(6379)


def model(**provider: Any) -> dict[str, Any]:
    return {"providers": {"llm": {"primary": {"kind": "openai", "model": "m", **provider}}}}


KEY = {"name": "KEY", "secretKeyRef": {"name": "keys", "key": "openai"}}


def tokens(url: str) -> dict[str, Any]:
    return {"mcp": {"authentication": {"type": "jwt", "algorithm": "RS256", "jwks_url": url}}}


def traced(**tracing: Any) -> dict[str, Any]:
    return {"observability": {"tracing": tracing}}


COLLECTOR = {"name": "OTEL_EXPORTER_OTLP_ENDPOINT", "value": "http://198.51.100.7:8443"}
URL = "${MODEL_URL}"
MODELS: list[tuple[str, dict[str, Any], list[dict[str, Any]], set[tuple[str, int]]]] = [
    ("none", {}, [], set()),
    ("extractive", {"providers": {"llm": {"primary": {"kind": "extractive"}}}}, [], set()),
    ("OpenAI itself", model(api_key="${KEY}"), [KEY], everywhere(443)),
    ("a name", model(base_url="https://models.example.com/v1"), [], everywhere(443)),
    ("a port", model(base_url="https://models.example.com:8443/v1"), [], everywhere(8443)),
    ("plain HTTP", model(base_url="http://models.example.com/v1"), [], everywhere(80)),
    ("an address", model(base_url="http://198.51.100.7:8000/v1"), [], {("given address", 8000)}),
    ("a Service", model(base_url="http://vllm.llm.svc/v1"), [], {("llm", port) for port in PORTS}),
    ("a variable", model(base_url=URL), [{"name": "MODEL_URL", "value": "https://m.example.com"}], everywhere(443)),
    ("a default", model(base_url="${MODEL_URL:-https://m.example.com:8443}"), [], everywhere(8443)),
    (
        "a Secret", model(base_url=URL), [{"name": "MODEL_URL", "secretKeyRef": {"name": "models", "key": "url"}}],
        {("given address", 8443)},
    ),
    (
        "a ConfigMap",
        model(base_url=URL), [{"name": "MODEL_URL", "configMapKeyRef": {"name": "models", "key": "url"}}],
        {("world", 6432)},
    ),
    (
        "a ConfigMap that is not there",
        model(base_url=URL), [{"name": "MODEL_URL", "configMapKeyRef": {"name": "other", "key": "url"}}],
        everywhere(*PORTS),
    ),
    (
        "a host from the environment", model(base_url="http://${HOST}:80/v1"), [{"name": "HOST", "value": "m"}],
        everywhere(*PORTS),
    ),
    (
        "through a proxy", model(api_key="${KEY}"), [KEY, {"name": "HTTPS_PROXY", "value": "http://198.51.100.7:8443"}],
        everywhere(443) | {("given address", 8443)},
    ),
    ("keys of tokens", tokens("https://issuer.example.com/jwks"), [], everywhere(443)),
    (
        "keys of tokens at a variable",
        tokens(URL), [{"name": "MODEL_URL", "value": "http://i.example.com"}], everywhere(80),
    ),
    (
        "keys of tokens through a proxy",
        tokens("https://i.example.com"), [{"name": "HTTPS_PROXY", "value": "http://198.51.100.7:8443"}],
        everywhere(443) | {("given address", 8443)},
    ),
    (
        "an embedding model",
        {"providers": {"embedding": {"main": {"kind": "openai", "model": "m", "base_url": "http://198.51.100.7:8000"}}}},
        [], {("given address", 8000)},
    ),
    ("a collector", traced(endpoint="http://198.51.100.7:8000"), [], {("given address", 8000)}),
    (
        "a collector at a variable", traced(endpoint=URL), [{**COLLECTOR, "name": "MODEL_URL"}],
        {("given address", 8443)},
    ),
    ("a collector of the environment", traced(), [COLLECTOR], {("given address", 8443)}),
    ("a collector in the pod", traced(), [], set()),
    ("a collector that is not used", traced(enabled=False, endpoint="http://198.51.100.7:8000"), [COLLECTOR], set()),
    ("a proxy for nobody", {}, [{"name": "HTTPS_PROXY", "value": "http://198.51.100.7:8443"}], set()),
]  # fmt: skip


@pytest.mark.parametrize(("workspace", "env", "allowed"), [c[1:] for c in MODELS], ids=[c[0] for c in MODELS])
def test_models_are_reached_where_the_document_says(
    workspace: dict[str, Any], env: list[dict[str, Any]], allowed: set[tuple[str, int]]
) -> None:
    # An address that no place here has, so that the database adds nothing.
    sources = at("docs-database", "dsn", Endpoint("192.0.2.1", 1))
    sources |= at("models", "url", Endpoint("198.51.100.7", 8443))
    sources |= at("models", "url", Endpoint("203.0.113.7", 6432), kind="ConfigMap")
    made = policies(sources, workspace=workspace, runtime={"replicas": 2, "env": env})
    assert reachable(made, RUNTIME) == DNS | allowed


@pytest.mark.parametrize("source", [Source("Secret", "replica"), Source("ConfigMap", "replica")], ids=str)
def test_replicas_of_the_users_are_reached_where_their_source_points(source: Source) -> None:
    document = {"providers": {"vector_store": {"main": {"kind": "pgvector", "replicas": [{"dsn": "${REPLICA}"}]}}}}
    env = [{"name": "REPLICA", REFERENCE_FIELDS[source.kind]: {"name": source.name, "key": "dsn"}}]
    secrets = at("docs-database", "dsn", Endpoint("198.51.100.7", 5432))
    told = secrets | at(source.name, "dsn", Endpoint("203.0.113.7", 6432), kind=source.kind)
    spec = {"workspace": document, "runtime": {"replicas": 2, "env": env}}
    given = ("given address", POSTGRES)
    assert reachable(policies(told, **spec), RUNTIME) == DNS | {given, ("world", 6432)}
    assert reachable(policies(secrets, **spec), RUNTIME) == DNS | {given} | everywhere(POSTGRES)


def test_databases_that_documents_are_loaded_from_are_reached_where_their_source_points() -> None:
    config = {"dsn": "${ARTICLES}", "query": "SELECT id, text FROM articles", "source": "articles"}
    uses = ["rag.chunking", "rag.embedding", "data.store_vectors"]
    steps = [{"use": "data.load_documents", "config": config}, *({"use": use} for use in uses)]
    env = [{"name": "ARTICLES", "secretKeyRef": {"name": "articles", "key": "dsn"}}]
    secrets = at("docs-database", "dsn", Endpoint("198.51.100.7", 5432))
    told = secrets | at("articles", "dsn", Endpoint("203.0.113.7", 6432))
    spec = {"workspace": {"pipelines": {"rows": {"steps": steps}}}, "runtime": {"replicas": 2, "env": env}}
    given = ("given address", POSTGRES)
    assert reachable(policies(told, **spec), RUNTIME) == DNS | {given, ("world", 6432)}
    assert reachable(policies(secrets, **spec), RUNTIME) == DNS | {given} | everywhere(POSTGRES)


@pytest.mark.parametrize(
    ("document", "port"), [({"mcp": {"port": 8443}}, 8443), ({"observability": {"metrics": {"port": 8443}}}, 8443)]
)
def test_the_ports_of_the_document_are_those_that_are_open(document: dict[str, Any], port: int) -> None:
    made = policies(workspace=document)
    assert may_reach(made, PLACES["stranger"], PLACES[RUNTIME], port)
    assert sum(may_reach(made, PLACES["stranger"], PLACES[RUNTIME], number) for number in PORTS) == 2


def test_a_workspace_may_have_none() -> None:
    assert policies(networkPolicy={"enabled": False}, cache=BUILTIN_CACHE, database=REPLICATED) == []


def test_a_policy_beside_ours_adds_to_it() -> None:
    """What the documentation advises where something is missing."""
    text = (ROOT / "docs" / "security.md").read_text()
    (example,) = [block.partition("```")[0] for block in text.split("```yaml\n")[1:] if "kind: NetworkPolicy" in block]
    theirs = yaml.safe_load(example)
    theirs["metadata"]["namespace"] = "team"
    made = policies(cache=BUILTIN_CACHE)
    backup = Place({"app": "exporter"}, "team")
    assert not may_reach(made, backup, PLACES[CACHE], REDIS)
    assert may_reach([*made, theirs], backup, PLACES[CACHE], REDIS)


SAMPLES = sorted((ROOT / "manifests" / "samples").glob("*.yaml"))
EXPECTED = {
    "external-database": everywhere(POSTGRES),
    "production": everywhere(POSTGRES, REDIS, 443),
    "quickstart": {(DATABASE, POSTGRES)},
    "read-replicas": {(DATABASE, POSTGRES), (DATABASE_REPLICA, POSTGRES), (CACHE, REDIS)},
}


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.stem)
def test_every_sample_is_closed_but_for_what_it_declares(path: Any) -> None:
    body = yaml.safe_load(path.read_text())
    body["metadata"] |= {"name": "docs", "namespace": "team", "uid": "u", "generation": 1}
    found = valid(body)
    made = list(network_policies(found, names_of(found), {}))
    assert reachable(made, RUNTIME) - DNS == EXPECTED[path.stem]
    assert not may_reach(made, PLACES["stranger"], PLACES[RUNTIME], 22)
