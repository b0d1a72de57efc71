"""The environment of a container, by the kubelet's rules."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from e2e.cluster.pod_env import container_env, expand, field_value
from e2e.cluster.pod_spec import NotStartableError

POD = {
    "metadata": {"name": "web-1", "namespace": "demo", "uid": "u", "labels": {"app.kubernetes.io/name": "web"}},
    "spec": {"nodeName": "node", "serviceAccountName": "runner"},
    "status": {"podIP": "127.0.0.9", "hostIP": "127.0.0.1"},
}


class Stored:
    """A ConfigMap `settings` and a Secret `login`, and nothing else."""

    def config_map(self, name: str) -> Mapping[str, bytes] | None:
        return {"LEVEL": b"debug", "PLACE": b"/etc/web"} if name == "settings" else None

    def secret(self, name: str) -> Mapping[str, bytes] | None:
        return {"user": b"ada"} if name == "login" else None

    def token(self, service_account: str, source: Mapping[str, Any]) -> str:
        raise AssertionError("an environment needs no token")


@pytest.mark.parametrize(
    ("text", "expanded"),
    [
        ("$(A)", "1"),
        ("x$(A)$(B)y", "x12y"),
        ("$$(A)", "$(A)"),
        ("$$$(A)", "$1"),
        ("$(UNKNOWN)", "$(UNKNOWN)"),
        ("$A ${A} $", "$A ${A} $"),
        ("$(A", "$(A"),
        ("a$$b", "a$b"),
    ],
)
def test_references_are_expanded_as_kubernetes_does_it(text: str, expanded: str) -> None:
    assert expand(text, {"A": "1", "B": "2"}) == expanded


def env_of(*entries: dict[str, Any], env_from: list[dict[str, Any]] | None = None) -> dict[str, str]:
    container = {"name": "web", "env": list(entries), "envFrom": env_from or []}
    return container_env(container, POD, Stored(), lambda text: text.replace("/etc/web", "/host"))


def key(kind: str, name: str, entry: str, **more: Any) -> dict[str, Any]:
    return {"name": "X", "valueFrom": {f"{kind}KeyRef": {"name": name, "key": entry, **more}}}


def test_values_may_use_the_variables_before_them() -> None:
    env = env_of(
        {"name": "A", "value": "1"},
        {"name": "B", "value": "$(A)$(LATER)"},
        {"name": "LATER", "value": "2"},
        env_from=[{"prefix": "S_", "configMapRef": {"name": "settings"}}],
    )
    assert env == {"S_LEVEL": "debug", "S_PLACE": "/etc/web", "A": "1", "B": "1$(LATER)", "LATER": "2"}


def test_mount_paths_are_rewritten_in_the_pods_own_text_alone() -> None:
    env = env_of({"name": "OWN", "value": "/etc/web/a"}, key("configMap", "settings", "PLACE"))
    assert env == {"OWN": "/host/a", "X": "/etc/web"}


def test_env_wins_over_env_from() -> None:
    env = env_of({"name": "LEVEL", "value": "info"}, env_from=[{"configMapRef": {"name": "settings"}}])
    assert env["LEVEL"] == "info"


def test_a_secret_key_is_read() -> None:
    assert env_of(key("secret", "login", "user")) == {"X": "ada"}


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (key("secret", "none", "user"), 'secret "none" not found'),
        (key("configMap", "none", "LEVEL"), 'configmap "none" not found'),
        (key("secret", "login", "password"), "couldn't find key password in Secret demo/login"),
        (key("configMap", "settings", "x"), "couldn't find key x in ConfigMap demo/settings"),
    ],
)
def test_a_missing_reference_is_named(entry: dict[str, Any], message: str) -> None:
    with pytest.raises(NotStartableError) as caught:
        env_of(entry)
    assert (caught.value.reason, str(caught.value)) == ("CreateContainerConfigError", message)


def test_an_optional_reference_may_be_missing() -> None:
    optional = key("secret", "none", "user", optional=True), key("secret", "login", "password", optional=True)
    assert env_of(*optional, env_from=[{"secretRef": {"name": "none", "optional": True}}]) == {}


def test_a_missing_env_from_source_is_named() -> None:
    with pytest.raises(NotStartableError, match='secret "none" not found'):
        env_of(env_from=[{"secretRef": {"name": "none"}}])


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("metadata.name", "web-1"),
        ("metadata.namespace", "demo"),
        ("metadata.labels['app.kubernetes.io/name']", "web"),
        ("metadata.annotations['none']", ""),
        ("spec.serviceAccountName", "runner"),
        ("status.podIP", "127.0.0.9"),
    ],
)
def test_fields_of_the_pod_can_be_values(path: str, value: str) -> None:
    assert field_value(path, POD) == value


def test_an_unknown_field_is_refused_with_those_that_are_known() -> None:
    with pytest.raises(NotStartableError, match=r"unsupported fieldPath spec\.priority; supported: metadata\.name, "):
        field_value("spec.priority", POD)
