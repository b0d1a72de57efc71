"""What a document must keep inside a cluster: secrets by reference, one source of each fact, pods within reach."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.operator.api.facts import body, full_body, problems, resource, valid

ADVICE = (
    ", which everyone who may read this object can read; put it into a Secret, name that in spec.runtime.env, "
    "and write ${NAME} here"
)
CACHE = {"provider": "External", "external": {"secretRef": {"name": "redis"}}}


def document(path: str, value: Any) -> dict[str, Any]:
    """A document with `value` at a dotted path."""
    for name in reversed(path.split(".")):
        value = {name: value}
    found: dict[str, Any] = value
    return found


ENV = {"runtime": {"env": [{"name": "KEY", "secretKeyRef": {"name": "keys", "key": "one"}}]}}


def llm(**fields: Any) -> dict[str, Any]:
    return document("providers.llm.primary", {"kind": "openai", "model": "m", **fields})


def store(**fields: Any) -> dict[str, Any]:
    return document("providers.vector_store.main", {"kind": "pgvector", **fields})


def caching(**fields: Any) -> dict[str, Any]:
    return document("shops.infrastructure.config.caching", fields)


REFUSED: list[tuple[str, dict[str, Any], dict[str, Any], str]] = [
    (
        "read replicas beside those of the operator",
        store(replicas=[{"dsn": "${REPLICA_URL:-host=replica}"}]),
        {"database": {"provider": "Builtin", "readReplicas": 1}},
        "spec.workspace.providers.vector_store.main.replicas: names read replicas beside a database that the operator "
        "runs; remove them, and set spec.database.readReplicas",
    ),
    (
        "a choice among no read replicas",
        store(read_strategy="random"),
        {"database": {"provider": "Builtin"}},
        "spec.workspace.providers.vector_store.main.read_strategy: has no effect without read replicas; set "
        "spec.database.readReplicas, or remove it",
    ),
    (
        "a setting of the store beside the stores",
        document("providers.vector_store", {"main": {}, "read_strategy": "random"}),
        {"database": {"provider": "Builtin", "readReplicas": 1}},
        "spec.workspace.providers.vector_store.read_strategy: stands beside the stores; in a custom resource, write it "
        "into the store: main.read_strategy",
    ),
    (
        "a variable without a source",
        llm(api_key="${OPENAI_API_KEY}"),
        {},
        "spec.workspace.providers.llm.primary.api_key: ${OPENAI_API_KEY} has no source in this cluster; add it to "
        "spec.runtime.env from a Secret",
    ),
    (
        "Redis without a cache",
        llm(base_url="http://${REDIS_URL}"),
        {},
        "spec.workspace.providers.llm.primary.base_url: ${REDIS_URL} has no source in this cluster; set "
        "spec.cache.provider Builtin, or External with spec.cache.external.secretRef",
    ),
    (
        "a literal key",
        llm(api_key="sk-very-secret"),
        {},
        f"spec.workspace.providers.llm.primary.api_key: holds a literal secret{ADVICE}",
    ),
    (
        "a literal key as a default",
        llm(api_key="${OPENAI_API_KEY:-sk-very-secret}"),
        {},
        f"spec.workspace.providers.llm.primary.api_key: holds a literal secret{ADVICE}",
    ),
    (
        "a literal key of a client",
        document("mcp.authentication.keys", ["very-secret"]),
        {},
        f"spec.workspace.mcp.authentication.keys[0]: holds a literal secret{ADVICE}",
    ),
    (
        "keys in a file that no pod has",
        document("mcp.authentication.keys_file", "/etc/keys"),
        {},
        "spec.workspace.mcp.authentication.keys_file: names a file, and pods mount none of yours; put the keys into a "
        "Secret, name that in spec.runtime.env, and list ${NAME} in mcp.authentication.keys: when the Secret changes, "
        "the pods are replaced",
    ),
    (
        "a Redis of the rate limits alone",
        document("mcp.rate_limiting", {"storage": "redis", "redis_url": "redis://other:6379/0"}),
        {"cache": CACHE},
        "spec.workspace.mcp.rate_limiting.redis_url: names a Redis beside spec.cache; write ${REDIS_URL}, which is "
        "that of it",
    ),
    (
        "a literal password in the address of a collector",
        document("observability.tracing.endpoint", "http://user:s3cr3t@otel:4318"),
        {},
        f"spec.workspace.observability.tracing.endpoint: holds a literal password{ADVICE}",
    ),
    (
        "a literal password in an address",
        llm(base_url="https://user:very-secret@models.example.com/v1"),
        {},
        f"spec.workspace.providers.llm.primary.base_url: holds a literal password{ADVICE}",
    ),
    (
        "a model without a key",
        llm(),
        {},
        "spec.workspace.providers.llm.primary.api_key: is required for OpenAI's own server: a reference such as "
        "${OPENAI_API_KEY}; for a server that needs no key, give its base_url",
    ),
    (
        "a user in the address of a model",
        llm(base_url="https://user:${KEY}@models.example.com"),
        ENV,
        "spec.workspace.providers.llm.primary.base_url: must not hold a user or password; give the key as api_key",
    ),
    (
        "a literal password in the default of an address",
        store(dsn="${DATABASE_URL:-postgresql://u:very-secret@h/db}"),
        {},
        f"spec.workspace.providers.vector_store.main.dsn: holds a literal password{ADVICE}",
    ),
    (
        "a second database",
        store(dsn="postgresql://u:very-secret@h/db"),
        {},
        "spec.workspace.providers.vector_store.main.dsn: names a database beside spec.database; remove it (the "
        "operator sets it), or write ${DATABASE_URL}",
    ),
    (
        "a second database under its alias",
        store(url="${OTHER}"),
        {"runtime": {"env": [{"name": "OTHER", "value": "x"}]}},
        "spec.workspace.providers.vector_store.main.url: names a database beside spec.database; remove it (the "
        "operator sets it), or write ${DATABASE_URL}",
    ),
    (
        "Redis in the document alone",
        caching(redis={"url": "${MY_REDIS}"}),
        {"runtime": {"env": [{"name": "MY_REDIS", "value": "redis://r"}]}},
        "spec.workspace.shops.infrastructure.config.caching: caches in Redis, but spec.cache.provider is None; set it "
        "to Builtin or External, or cache in memory",
    ),
    (
        "a cache that is switched off",
        caching(enabled=False),
        {"cache": CACHE},
        "spec.workspace.shops.infrastructure.config.caching: switches off the cache that spec.cache provides; set "
        "spec.cache.provider None",
    ),
    (
        "a second Redis",
        caching(redis={"url": "redis://other"}),
        {"cache": CACHE},
        "spec.workspace.shops.infrastructure.config.caching.redis.url: names a Redis beside spec.cache; remove it (the "
        "operator sets it), or write ${REDIS_URL}",
    ),
    (
        "a cache on disk where the pod has its programs",
        caching(disk={"path": "/usr/local/cache"}),
        {},
        "spec.workspace.shops.infrastructure.config.caching.disk.path: is /usr/local/cache, where a volume would hide "
        "files that the pod needs; write /var/cache/sibyl, or remove it",
    ),
    (
        "a cache on disk above the pod's own",
        caching(disk={"path": "/var"}),
        {},
        "spec.workspace.shops.infrastructure.config.caching.disk.path: is /var, where a volume would hide files that "
        "the pod needs; write /var/cache/sibyl, or remove it",
    ),
    (
        "a cache on disk somewhere",
        caching(disk={"path": "cache"}),
        {},
        "spec.workspace.shops.infrastructure.config.caching.disk.path: is cache; a volume needs an absolute path, such "
        "as /var/cache/sibyl",
    ),
    (
        "a cache on disk where Kubernetes mounts nothing",
        caching(disk={"path": "/data:1"}),
        {},
        "spec.workspace.shops.infrastructure.config.caching.disk.path: is /data:1; Kubernetes mounts no volume where "
        "there is a colon: write /var/cache/sibyl",
    ),
    (
        "a cache on disk wherever a variable says",
        caching(disk={"path": "${PLACE:-/data}"}),
        {},
        "spec.workspace.shops.infrastructure.config.caching.disk.path: is a reference, and the pod needs a volume "
        "there: write the path out",
    ),
    (
        "a reference for a number",
        document("mcp.port", "${PORT:-8000}"),
        {},
        "spec.workspace.mcp.port: ${PORT:-8000} is a reference; in a custom resource the number is written out here",
    ),
    (
        "a reference for a truth value",
        document("mcp.enabled", "${OFFER:-true}"),
        {},
        "spec.workspace.mcp.enabled: ${OFFER:-true} is a reference; in a custom resource true or false is written out "
        "here",
    ),
    (
        "a reference for a choice",
        document("providers.embedding.default.backend", "${BACKEND:-onnx}"),
        {},
        "spec.workspace.providers.embedding.default.backend: ${BACKEND:-onnx} is a reference; in a custom resource the "
        "chosen word is written out here",
    ),
    (
        "pods that only talk to themselves",
        document("mcp.host", "127.0.0.1"),
        {},
        "spec.workspace.mcp.host: 127.0.0.1 keeps probes and clients out of the pod; remove it, or write 0.0.0.0",
    ),
    (
        "pods without a port",
        document("mcp.transport", "stdio"),
        {},
        "spec.workspace.mcp.transport: stdio has no port, so nobody reaches the pod; remove it, or write http",
    ),
    (
        "pods that hide how they are",
        document("observability.metrics.enabled", False),
        {},
        "spec.workspace.observability.metrics.enabled: false hides from the operator what the pods loaded and how they "
        "fare; remove it",
    ),
]


@pytest.mark.parametrize(
    ("written", "spec", "expected"), [case[1:] for case in REFUSED], ids=[case[0] for case in REFUSED]
)
def test_a_document_that_cannot_work_in_a_cluster_is_refused(
    written: dict[str, Any], spec: dict[str, Any], expected: str
) -> None:
    assert problems(body(workspace=written, **spec)) == [expected]


TAKEN: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("a key by reference", llm(api_key="${KEY}"), ENV),
    (
        "the digest of a key",
        document(
            "mcp.authentication.keys", ["sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"]
        ),
        {},
    ),
    (
        "rates in the Redis of the spec",
        document("mcp.rate_limiting", {"storage": "redis", "redis_url": "${REDIS_URL}"}),
        {"cache": CACHE},
    ),
    ("a password by reference", document("mcp.authentication", {"type": "jwt", "secret": "${KEY}"}), ENV),
    ("an address without a password", llm(base_url="https://models.example.com:8443/v1"), {}),
    ("a variable with a default", llm(base_url="${MODELS:-https://models.example.com}"), {}),
    ("the database of the spec", store(dsn="${DATABASE_URL}"), {}),
    ("the database of the spec, with one for a laptop", store(dsn="${DATABASE_URL:-postgresql://localhost/db}"), {}),
    ("the database of the spec, unsaid", store(), {}),
    ("a cache in memory", caching(enabled=True), {}),
    ("a cache in memory before Redis", caching(memory={}), {"cache": CACHE}),
    ("the Redis of the spec", caching(redis={"url": "${REDIS_URL}"}), {"cache": CACHE}),
    ("the Redis of the spec, unsaid", {}, {"cache": CACHE}),
    ("a limit on tokens", llm(api_key="${KEY}", max_tokens=10), ENV),
]


@pytest.mark.parametrize(("written", "spec"), [case[1:] for case in TAKEN], ids=[case[0] for case in TAKEN])
def test_a_document_that_can_work_is_taken(written: dict[str, Any], spec: dict[str, Any]) -> None:
    assert problems(body(workspace=written, **spec)) == []


def test_a_variable_from_a_config_map_is_a_source() -> None:
    env = [{"name": "BASE", "configMapKeyRef": {"name": "models", "key": "base"}}]
    assert resource(workspace=llm(base_url="${BASE}"), runtime={"env": env}).spec.runtime.env[0].name == "BASE"


@pytest.mark.parametrize("name", ["API_KEY_1", "OPENAI_API_KEY"])
def test_every_variable_of_the_full_resource_is_needed(name: str) -> None:
    manifest = full_body()
    valid(manifest)
    manifest["spec"]["runtime"]["env"] = [v for v in manifest["spec"]["runtime"]["env"] if v["name"] != name]
    assert [line for line in problems(manifest) if f"${{{name}}} has no source" in line]


SECRET = st.text("abcdefghijklmnopqrstuvwxyz0123456789-._~!*", min_size=9, max_size=40).map("Zq9".__add__)


@given(secret=SECRET)
def test_no_problem_ever_shows_a_secret(secret: str) -> None:
    written = {
        "providers": {
            "llm": {"primary": {"kind": "openai", "model": "m", "api_key": secret}},
            "vector_store": {"main": {"dsn": f"postgresql://user:{secret}@host/db"}},
        },
        "mcp": {"authentication": {"keys": [secret]}},
    }
    found = problems(body(workspace=written))
    assert len(found) == 3
    assert not any(secret in line for line in found)
