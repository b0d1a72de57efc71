"""What a Builtin database becomes in Kubernetes."""

from __future__ import annotations

from typing import Any

import pytest

from sibyl_operator.api.sources import Source
from sibyl_operator.database.slots import slot_of
from sibyl_operator.desired import config_hash, desired, effective_document
from sibyl_operator.desired.database.config_map import SCRIPTS
from sibyl_operator.desired.names import SOURCES_HASH
from sibyl_operator.observed import SourceFacts
from tests.operator.api.facts import resource

Manifest = dict[str, Any]
ALONE: Manifest = {"provider": "Builtin"}
REPLICATED: Manifest = {"provider": "Builtin", "readReplicas": 2}


def made(database: Manifest, sources: dict[Source, SourceFacts] | None = None, **spec: Any) -> dict[Any, Manifest]:
    found = desired(resource(database=database, **spec), sources or {})
    return {(manifest["kind"], manifest["metadata"]["name"]): manifest for manifest in found}


def pod(of: dict[Any, Manifest], name: str = "docs-db") -> Manifest:
    spec: Manifest = of["StatefulSet", name]["spec"]["template"]["spec"]
    return spec


def facts(digest: str) -> SourceFacts:
    return SourceFacts(True, frozenset({"username", "password"}), digest)


@pytest.mark.parametrize(
    ("database", "there"),
    [
        (ALONE, {"db"}),
        ({**ALONE, "readReplicas": 0}, {"db"}),
        ({**ALONE, "readReplicas": 1}, {"db", "db-replica"}),
        (REPLICATED, {"db", "db-replica", "budget"}),
    ],
)
def test_replicas_and_their_budget_are_there_when_they_are_wanted(database: Manifest, there: set[str]) -> None:
    found = made(database)
    assert {name.removeprefix("docs-") for kind, name in found if kind == "StatefulSet"} == there - {"budget"}
    assert (("Service", "docs-db-replica") in found) == ("db-replica" in there)
    assert (("PodDisruptionBudget", "docs-db-replica") in found) == ("budget" in there)
    assert ("PodDisruptionBudget", "docs-db") not in found


def test_a_database_of_somebody_else_has_none_of_it() -> None:
    found = made({"provider": "External", "external": {"secretRef": {"name": "db"}}})
    assert [key for key in found if "-db" in key[1]] == []


@pytest.mark.parametrize(("policy", "deleted"), [("Retain", "Retain"), ("Delete", "Delete")])
def test_the_primarys_volume_follows_the_deletion_policy_and_those_of_replicas_always_go(
    policy: str, deleted: str
) -> None:
    found = made(REPLICATED, deletionPolicy=policy)

    def retention(name: str) -> Manifest:
        held: Manifest = found["StatefulSet", name]["spec"]["persistentVolumeClaimRetentionPolicy"]
        return held

    assert retention("docs-db") == {"whenDeleted": deleted, "whenScaled": "Retain"}
    assert retention("docs-db-replica") == {"whenDeleted": "Delete", "whenScaled": "Delete"}


def test_the_read_only_service_falls_back_to_the_primary() -> None:
    def component(database: Manifest, name: str) -> str:
        selector: Manifest = made(database)["Service", name]["spec"]["selector"]
        return str(selector["app.kubernetes.io/component"])

    assert component(ALONE, "docs-db-ro") == "database"
    assert component(REPLICATED, "docs-db-ro") == "database-replica"
    assert component(REPLICATED, "docs-db-rw") == "database"


def test_services_find_the_pods_that_they_are_for() -> None:
    found = made(REPLICATED)
    for name, workload in (("docs-db-rw", "docs-db"), ("docs-db-ro", "docs-db-replica")):
        labels = found["StatefulSet", workload]["spec"]["template"]["metadata"]["labels"]
        assert found["Service", name]["spec"]["selector"].items() <= labels.items()
    headless = found["Service", "docs-db-replica"]["spec"]
    assert (headless["clusterIP"], headless["publishNotReadyAddresses"]) == ("None", False)
    assert found["StatefulSet", "docs-db-replica"]["spec"]["serviceName"] == "docs-db-replica"


@pytest.mark.parametrize("name", ["docs-db", "docs-db-replica"])
def test_every_container_is_restricted(name: str) -> None:
    spec = pod(made(REPLICATED), name)
    assert spec["automountServiceAccountToken"] is False
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["runAsUser"] == spec["securityContext"]["fsGroup"] == 999
    for container in (*spec["containers"], *spec["initContainers"]):
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
        }


def test_only_the_preparation_sees_passwords_and_only_as_files() -> None:
    found = made(REPLICATED)
    for name, credentials in (("docs-db", {"app", "replication"}), ("docs-db-replica", {"replication"})):
        spec = pod(found, name)
        held = {volume["name"] for volume in spec["volumes"] if "secret" in volume}
        (server,), (preparation,) = spec["containers"], spec["initContainers"]
        assert not held & {mount["name"] for mount in server["volumeMounts"]}
        mounted = {mount["mountPath"] for mount in preparation["volumeMounts"] if mount["name"] in held}
        assert {path.rpartition("/")[2] for path in mounted} == credentials
        variables = [*server["env"], *preparation["env"]]
        assert [variable for variable in variables if "secretKeyRef" in variable.get("valueFrom", {})] == []


def test_volumes_are_as_specified_and_their_labels_never_change() -> None:
    storage = {"size": "5Gi", "storageClassName": "fast"}
    (claim,) = made({**ALONE, "storage": storage})["StatefulSet", "docs-db"]["spec"]["volumeClaimTemplates"]
    assert claim["spec"]["resources"] == {"requests": {"storage": "5Gi"}}
    assert claim["spec"]["storageClassName"] == "fast"
    assert "app.kubernetes.io/version" not in claim["metadata"]["labels"]
    (claim,) = made(ALONE)["StatefulSet", "docs-db"]["spec"]["volumeClaimTemplates"]
    assert claim["spec"]["resources"] == {"requests": {"storage": "10Gi"}}
    assert "storageClassName" not in claim["spec"]


def test_memory_decides_buffers_and_shared_memory() -> None:
    found = made({**ALONE, "resources": {"limits": {"memory": "4Gi"}}})
    assert "shared_buffers = 1024MB\n" in found["ConfigMap", "docs-db"]["data"]["postgresql.conf"]
    shm = next(volume for volume in pod(found)["volumes"] if volume["name"] == "shm")
    assert shm["emptyDir"] == {"medium": "Memory", "sizeLimit": "576Mi"}


def test_more_pods_of_the_runtime_raise_the_connections_in_steps() -> None:
    def connections(replicas: int) -> str:
        conf: str = made(ALONE, runtime={"replicas": replicas})["ConfigMap", "docs-db"]["data"]["postgresql.conf"]
        return next(line for line in conf.splitlines() if line.startswith("max_connections"))

    assert [connections(pods) for pods in (1, 20, 21, 40)] == [
        "max_connections = 100", "max_connections = 100", "max_connections = 200", "max_connections = 200",
    ]  # fmt: skip


def test_the_config_map_holds_every_script_that_a_container_runs() -> None:
    found = made(REPLICATED)
    data = found["ConfigMap", "docs-db"]["data"]
    assert data.keys() == {"postgresql.conf", "pg_hba.conf", *SCRIPTS}
    for name in ("docs-db", "docs-db-replica"):
        spec = pod(found, name)
        (server,), (preparation,) = spec["containers"], spec["initContainers"]
        commands = [server["command"], preparation["command"], server["lifecycle"]["preStop"]["exec"]["command"]]
        commands += [server[probe]["exec"]["command"] for probe in ("startupProbe", "readinessProbe")]
        assert {command[1].rpartition("/")[2] for command in commands} <= data.keys()
    assert slot_of(3) == "sibyl_replica_3"
    assert "SLOT=sibyl_replica_${POD_NAME##*-}" in data["primary.sh"]


def test_only_who_reads_a_secret_is_restarted_by_a_new_one() -> None:
    def hashes(**digests: str) -> list[str]:
        secrets = {Source("Secret", name): facts(digests.get(key, "same")) for key, name in
                   (("app", "docs-db-app"), ("replication", "docs-db-replication"))}  # fmt: skip
        found = made(REPLICATED, secrets)
        workloads = (("StatefulSet", "docs-db"), ("StatefulSet", "docs-db-replica"), ("Deployment", "docs-runtime"))
        return [found[key]["spec"]["template"]["metadata"]["annotations"][SOURCES_HASH] for key in workloads]

    before = hashes()
    assert [old != new for old, new in zip(before, hashes(app="new"), strict=True)] == [True, False, True]
    assert [old != new for old, new in zip(before, hashes(replication="new"), strict=True)] == [True, True, False]


def test_the_runtime_gets_each_server_by_name_and_the_password_by_reference() -> None:
    container = made(REPLICATED)["Deployment", "docs-runtime"]["spec"]["template"]["spec"]["containers"][0]
    variables = {variable["name"]: variable for variable in container["env"]}
    names = list(variables)
    assert names.index("SIBYL_DATABASE_PASSWORD") < names.index("DATABASE_URL")
    assert variables["SIBYL_DATABASE_WAIT"]["value"] == "90"
    assert variables["SIBYL_DATABASE_PASSWORD"]["valueFrom"] == {
        "secretKeyRef": {"name": "docs-db-app", "key": "password"}
    }
    address = "postgresql://sibyl:$(SIBYL_DATABASE_PASSWORD)@{}:5432/sibyl"
    assert variables["DATABASE_URL"]["value"] == address.format("docs-db-rw.team.svc")
    for number in range(2):
        assert variables[f"SIBYL_DATABASE_REPLICA_{number}_URL"]["value"] == address.format(
            f"docs-db-replica-{number}.docs-db-replica.team.svc"
        )


def test_the_document_names_the_replicas_and_keeps_the_users_strategy() -> None:
    written = {"providers": {"vector_store": {"main": {"kind": "pgvector", "read_strategy": "random"}}}}
    found = effective_document(resource(database=REPLICATED, workspace=written))
    assert found["providers"]["vector_store"] == {
        "main": {
            "kind": "pgvector",
            "read_strategy": "random",
            "dsn": "${DATABASE_URL}",
            "replicas": [{"dsn": "${SIBYL_DATABASE_REPLICA_0_URL}"}, {"dsn": "${SIBYL_DATABASE_REPLICA_1_URL}"}],
        }
    }
    assert config_hash(resource(database=REPLICATED)) != config_hash(resource(database=ALONE))
    assert "replicas" not in effective_document(resource(database=ALONE))["providers"]["vector_store"]["default"]
