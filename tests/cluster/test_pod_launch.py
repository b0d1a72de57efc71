"""From a Pod to a command line."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from e2e.cluster.container_process import Launch
from e2e.cluster.kubeconfig import read_kubeconfig
from e2e.cluster.pod_launch import HostPrograms, PodLauncher
from e2e.cluster.pod_spec import NotStartableError


class Settings:
    """One ConfigMap, whose content the test may change."""

    def __init__(self) -> None:
        self.data: dict[str, bytes] = {"app.yaml": b"first"}

    def config_map(self, name: str) -> Mapping[str, bytes] | None:
        return self.data if name == "settings" else None

    def secret(self, name: str) -> Mapping[str, bytes] | None:
        return None

    def token(self, service_account: str, source: Mapping[str, Any]) -> str:
        raise AssertionError("no token is asked for")


HOSTS = HostPrograms({"sibyl": Path("/venv/bin/sibyl")}, ("sibyl", "serve"))


def pod(**container: Any) -> dict[str, Any]:
    mounts = [{"name": "config", "mountPath": "/etc/sibyl"}, {"name": "work", "mountPath": "/scratch"}]
    return {
        "metadata": {"name": "web-1", "namespace": "demo", "uid": "u"},
        "spec": {
            "containers": [{"name": "web", "volumeMounts": mounts, **container}],
            "volumes": [{"name": "config", "configMap": {"name": "settings"}}, {"name": "work", "emptyDir": {}}],
        },
    }


def launch(tmp_path: Path, hosts: HostPrograms = HOSTS, **container: Any) -> Launch:
    return PodLauncher(Settings(), hosts, tmp_path, "127.0.0.7").launch(pod(**container))


@pytest.mark.parametrize(
    ("container", "command"),
    [
        ({"command": ["sibyl", "version"]}, ["/venv/bin/sibyl", "version"]),
        ({"command": ["sibyl"], "args": ["serve", "-f", "x"]}, ["/venv/bin/sibyl", "serve", "-f", "x"]),
        ({"args": ["--quiet"]}, ["/venv/bin/sibyl", "serve", "--quiet"]),
        ({}, ["/venv/bin/sibyl", "serve"]),
        ({"command": [sys.executable, "-V"]}, [sys.executable, "-V"]),
    ],
)
def test_the_command_is_resolved_to_a_program_of_the_host(
    tmp_path: Path, container: dict[str, Any], command: list[str]
) -> None:
    assert launch(tmp_path, **container).command == command


def test_mount_paths_become_directories_of_the_host(tmp_path: Path) -> None:
    started = launch(tmp_path, args=["-f", "/etc/sibyl/app.yaml"], workingDir="/scratch")
    assert Path(started.command[-1]).read_text() == "first"
    assert started.cwd == tmp_path / "volumes" / "work"


def test_a_working_directory_of_the_image_becomes_the_pods_own(tmp_path: Path) -> None:
    assert launch(tmp_path, workingDir="/not/on/this/host").cwd == tmp_path / "home"


def test_the_environment_is_a_containers_and_says_where_to_listen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", "of the developer")
    env = launch(tmp_path, env=[{"name": "SIBYL_HOST", "value": "0.0.0.0"}, {"name": "MODE", "value": "x"}]).env
    assert env["SIBYL_HOST"] == "127.0.0.7"
    assert (env["MODE"], env["HOSTNAME"], env["HOME"]) == ("x", "web-1", str(tmp_path / "home"))
    assert "DATABASE_URL" not in env


def test_volumes_are_read_when_the_pod_starts_and_not_again(tmp_path: Path) -> None:
    settings = Settings()
    launcher = PodLauncher(settings, HOSTS, tmp_path, "127.0.0.7")
    path = Path(launcher.launch(pod(args=["/etc/sibyl/app.yaml"])).command[-1])
    settings.data = {"app.yaml": b"second"}
    launcher.launch(pod())
    assert path.read_text() == "first"


@pytest.mark.parametrize(
    ("hosts", "container", "reason", "message"),
    [
        (
            HostPrograms({"sibyl": Path("/s")}),
            {},
            "CreateContainerConfigError",
            "no command specified, and this node has no image to take one from; known programs: sibyl",
        ),
        (
            HOSTS,
            {"command": ["sybil"]},
            "RunContainerError",
            'exec: "sybil": executable file not found in $PATH; known programs: sibyl',
        ),
        (
            HOSTS,
            {"stdin": True},
            "CreateContainerConfigError",
            "a process node cannot honour spec.containers[web].stdin; remove it or use a node with a kubelet",
        ),
    ],
)
def test_what_cannot_start_says_why(
    tmp_path: Path, hosts: HostPrograms, container: dict[str, Any], reason: str, message: str
) -> None:
    with pytest.raises(NotStartableError) as caught:
        launch(tmp_path, hosts, **container)
    assert (caught.value.reason, str(caught.value)) == (reason, message)


def test_a_pod_with_a_token_gets_a_kubeconfig_for_its_service_account(tmp_path: Path) -> None:
    class Account(Settings):
        def config_map(self, name: str) -> Mapping[str, bytes] | None:
            return {"ca.crt": b"authority"}

        def token(self, service_account: str, source: Mapping[str, Any]) -> str:
            return f"token of {service_account}"

    body = pod(command=["sibyl"])
    sources = [{"serviceAccountToken": {"path": "token"}}, {"configMap": {"name": "kube-root-ca.crt"}}]
    body["spec"]["volumes"].append({"name": "access", "projected": {"sources": sources}})
    mount = {"name": "access", "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount"}
    body["spec"]["containers"][0]["volumeMounts"].append(mount)
    hosts = HostPrograms({"sibyl": Path("/venv/bin/sibyl")}, api_server="https://127.0.0.1:6443")

    started = PodLauncher(Account(), hosts, tmp_path, "127.0.0.7").launch(body)

    credentials = read_kubeconfig(Path(started.env["KUBECONFIG"]))
    assert (credentials.server, credentials.authority) == ("https://127.0.0.1:6443", b"authority")
    assert (credentials.token, credentials.namespace) == ("token of default", "demo")
    assert started.env["SIBYL_OPERATOR_HTTP_HOST"] == "127.0.0.7"
