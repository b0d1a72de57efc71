"""The runtime's pods: restricted, probed, drained, and given what the document refers to."""

from __future__ import annotations

from typing import Any

import pytest

from sibyl_operator.api.images import PUBLIC_RUNTIME, DefaultImages
from sibyl_operator.api.resource import WorkspaceResource, read_resource
from sibyl_operator.desired import config_hash, names_of
from sibyl_operator.desired.deployment import deployment
from sibyl_operator.desired.pod import LAME_DUCK_SECONDS, pod_template
from tests.operator.api.facts import body, full_body, resource, sources, valid


def template(**spec: Any) -> dict[str, Any]:
    found = resource(**spec)
    return pod_template(found, names_of(found), sources(found))


def container(**spec: Any) -> dict[str, Any]:
    (found,) = template(**spec)["spec"]["containers"]
    made: dict[str, Any] = found
    return made


def environment(**spec: Any) -> dict[str, Any]:
    return {entry["name"]: entry.get("value", entry.get("valueFrom")) for entry in container(**spec)["env"]}


@pytest.mark.parametrize("manifest", [body(), full_body()])
def test_the_pod_keeps_the_restricted_pod_security_standard(manifest: dict[str, Any]) -> None:
    found = valid(manifest)
    pod = pod_template(found, names_of(found), {})["spec"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod["securityContext"]["runAsUser"] == 65532
    assert not {"hostNetwork", "hostPID", "hostIPC"} & pod.keys()
    assert {next(iter(volume.keys() - {"name"})) for volume in pod["volumes"]} <= {"configMap", "emptyDir", "secret"}
    for each in pod["containers"]:
        context = each["securityContext"]
        assert context["allowPrivilegeEscalation"] is False
        assert context["capabilities"] == {"drop": ["ALL"]}
        assert context["readOnlyRootFilesystem"] is True
        assert "privileged" not in context
        assert not any("hostPort" in port for port in each["ports"])


def test_the_pod_has_no_token_of_the_api_server() -> None:
    assert template()["spec"]["automountServiceAccountToken"] is False
    assert template()["spec"]["serviceAccountName"] == "docs-runtime"


@pytest.mark.parametrize(
    ("disk", "volumes", "path"),
    [
        ({}, {"cache": "2074Mi"}, None),
        ({"path": "/var/cache/sibyl", "max_size_gb": 10}, {"cache": "11515Mi"}, None),
        ({"path": "/var/cache/sibyl/answers"}, {"cache": "2074Mi"}, None),
        ({"path": "/data/answers/"}, {"cache": "1Gi", "disk-cache": "1050Mi"}, "/data/answers"),
        ({"enabled": False, "path": "/data"}, {"cache": "1Gi"}, None),
    ],
)
def test_a_cache_on_disk_has_a_volume_with_room_for_it(
    disk: dict[str, Any], volumes: dict[str, str], path: str | None
) -> None:
    document = {"shops": {"infrastructure": {"config": {"caching": {"disk": disk}}}}}
    pod = template(workspace=document)["spec"]
    sizes = {volume["name"]: volume["emptyDir"]["sizeLimit"] for volume in pod["volumes"] if "emptyDir" in volume}
    assert sizes == {**volumes, "tmp": "256Mi"}
    mounts = {mount["name"]: mount["mountPath"] for mount in pod["containers"][0]["volumeMounts"]}
    assert mounts.get("disk-cache") == path


def test_a_node_must_have_the_storage_that_a_cache_on_disk_may_take() -> None:
    document = {"shops": {"infrastructure": {"config": {"caching": {"disk": {"max_size_gb": 10}}}}}}
    # 10 GB of 10^9 bytes, and a tenth more, in Mi of 2^20.
    assert container(workspace=document)["resources"]["requests"]["ephemeral-storage"] == "10491Mi"
    assert "ephemeral-storage" not in container()["resources"]["requests"]


def test_everything_that_is_written_to_is_a_volume() -> None:
    mounts = {mount["mountPath"]: mount["name"] for mount in container()["volumeMounts"]}
    assert mounts == {"/etc/sibyl": "config", "/var/cache/sibyl": "cache", "/tmp": "tmp"}
    volumes = {volume["name"]: volume for volume in template()["spec"]["volumes"]}
    assert volumes["config"]["configMap"] == {"name": "docs-config"}
    assert volumes["tmp"]["emptyDir"]["sizeLimit"]
    assert volumes["cache"]["emptyDir"]["sizeLimit"]


def test_the_runtime_serves_the_file_of_the_config_map() -> None:
    assert container()["command"] == ["sibyl", "serve", "--file", "/etc/sibyl/workspace.yaml"]
    assert container()["image"] == PUBLIC_RUNTIME
    assert container(runtime={"image": "example.com/sibyl:2", "imagePullPolicy": "Never"}).items() >= {
        ("image", "example.com/sibyl:2"),
        ("imagePullPolicy", "Never"),
    }


def test_an_image_that_the_workspace_does_not_name_is_that_of_the_operators_settings() -> None:
    found = read_resource(body(), DefaultImages(runtime="mirror.example.com/sibyl:1"))
    assert isinstance(found, WorkspaceResource)
    template = pod_template(found, names_of(found), {})
    assert template["spec"]["containers"][0]["image"] == "mirror.example.com/sibyl:1"


def test_the_address_that_the_runtime_listens_on_is_left_to_the_document() -> None:
    assert not {"SIBYL_HOST", "SIBYL_PORT", "SIBYL_METRICS_PORT"} & environment().keys()


def test_credentials_come_from_secrets_and_the_users_variables_from_where_they_say() -> None:
    found = environment(
        runtime={
            "env": [
                {"name": "PLAIN", "value": "text"},
                {"name": "KEY", "secretKeyRef": {"name": "keys", "key": "one"}},
                {"name": "ZONE", "configMapKeyRef": {"name": "locale", "key": "timezone"}},
            ]
        },
        cache={"provider": "External", "external": {"secretRef": {"name": "redis"}}},
    )
    assert found == {
        "PLAIN": "text",
        "KEY": {"secretKeyRef": {"name": "keys", "key": "one"}},
        "ZONE": {"configMapKeyRef": {"name": "locale", "key": "timezone"}},
        "HOME": "/tmp",
        "SIBYL_DATA_DIR": "/var/cache/sibyl",
        "XDG_CACHE_HOME": "/var/cache/sibyl",
        "DATABASE_URL": {"secretKeyRef": {"name": "docs-database", "key": "dsn"}},
        "REDIS_URL": {"secretKeyRef": {"name": "redis", "key": "url"}},
    }


def test_no_variable_is_given_twice_even_if_the_user_sets_one_of_ours() -> None:
    found = container(runtime={"env": [{"name": "HOME", "value": "/elsewhere"}]})["env"]
    assert [entry["value"] for entry in found if entry["name"] == "HOME"] == ["/elsewhere"]


def test_without_a_cache_there_is_no_redis_variable() -> None:
    assert "REDIS_URL" not in environment()


def test_the_probes_ask_different_questions() -> None:
    found = container()
    paths = {name: found[name]["httpGet"]["path"] for name in ("startupProbe", "livenessProbe", "readinessProbe")}
    assert paths == {
        "startupProbe": "/health/live",
        "livenessProbe": "/health/live",
        "readinessProbe": "/health/ready",
    }
    assert {found[name]["httpGet"]["port"] for name in paths} == {"http"}
    startup, liveness = found["startupProbe"], found["livenessProbe"]
    assert startup["periodSeconds"] * startup["failureThreshold"] >= 120
    assert liveness["periodSeconds"] * liveness["failureThreshold"] >= 30


@pytest.mark.parametrize(("timeout", "grace"), [(30, 45), (2.5, 18), (300, 315)])
def test_the_last_request_is_answered_before_the_pod_is_killed(timeout: float, grace: int) -> None:
    pod = template(workspace={"mcp": {"timeout": timeout}})["spec"]
    assert pod["terminationGracePeriodSeconds"] == grace
    assert pod["terminationGracePeriodSeconds"] >= LAME_DUCK_SECONDS + timeout
    assert pod["containers"][0]["lifecycle"] == {"preStop": {"sleep": {"seconds": LAME_DUCK_SECONDS}}}


def test_the_ports_are_those_of_the_document() -> None:
    document = {"mcp": {"port": 8080}, "observability": {"metrics": {"port": 9191}}}
    ports = {port["name"]: port["containerPort"] for port in container(workspace=document)["ports"]}
    assert ports == {"http": 8080, "metrics": 9191}
    assert template(workspace=document)["metadata"]["annotations"]["prometheus.io/port"] == "9191"


def test_resources_have_requests_and_a_memory_limit_but_no_cpu_limit_unless_asked_for() -> None:
    assert container()["resources"] == {
        "requests": {"cpu": "1", "memory": "384Mi"},
        "limits": {"memory": "640Mi"},
    }
    asked = {"requests": {"cpu": 2, "memory": "1Gi"}, "limits": {"cpu": 4, "memory": "2Gi"}}
    assert container(runtime={"resources": asked})["resources"] == {
        "requests": {"cpu": "2", "memory": "1Gi"},
        "limits": {"cpu": "4", "memory": "2Gi"},
    }


def test_the_hashes_tell_what_the_pod_was_started_for() -> None:
    found = resource()
    annotations = pod_template(found, names_of(found), sources(found))["metadata"]["annotations"]
    assert annotations["sibyl.dev/config-hash"] == config_hash(found)
    assert annotations["sibyl.dev/secrets-hash"].startswith("v1-")
    assert annotations.items() >= {("prometheus.io/scrape", "true"), ("prometheus.io/path", "/metrics")}


def test_the_users_additions_are_there_and_cannot_hide_ours() -> None:
    added = {"labels": {"team": "search"}, "annotations": {"example.com/owner": "me"}, "nodeSelector": {"disk": "ssd"}}
    found = template(runtime={"podTemplate": added})
    assert found["metadata"]["labels"].items() >= {("team", "search"), ("app.kubernetes.io/name", "sibyl-runtime")}
    assert found["metadata"]["annotations"]["example.com/owner"] == "me"
    assert found["spec"]["nodeSelector"] == {"disk": "ssd"}


def test_tolerations_are_those_of_core_v1() -> None:
    tolerations = [{"key": "gpu", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 5}]
    assert template(runtime={"podTemplate": {"tolerations": tolerations}})["spec"]["tolerations"] == tolerations


def test_pods_are_spread_but_never_kept_from_starting() -> None:
    found = template()["spec"]["topologySpreadConstraints"]
    assert [constraint["topologyKey"] for constraint in found] == [
        "kubernetes.io/hostname",
        "topology.kubernetes.io/zone",
    ]
    assert {constraint["whenUnsatisfiable"] for constraint in found} == {"ScheduleAnyway"}


def test_pods_are_replaced_one_by_one_and_never_taken_away_first() -> None:
    found = resource()
    made = deployment(found, names_of(found), {})["spec"]
    assert made["strategy"]["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": 0}
    assert made["revisionHistoryLimit"] == 3
    assert made["selector"]["matchLabels"].items() <= made["template"]["metadata"]["labels"].items()
