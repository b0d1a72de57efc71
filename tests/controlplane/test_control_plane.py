"""The control plane itself: it is real, it is ours, and it goes when its owner goes, however that happens."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from e2e.cluster.audit import describe, user_of, writes
from e2e.cluster.cluster import Cluster, Completed
from e2e.cluster.control_plane import ControlPlane, cluster_from_environment
from e2e.cluster.errors import ClusterError, KubectlError, StartError
from e2e.cluster.existing_cluster import ExistingCluster
from e2e.cluster.recipe import KUBERNETES_VERSION
from e2e.cluster.waiting import wait_until

ROOT = Path(__file__).parents[2]

WIDGETS = """
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: widgets.test.sibyl.dev}
spec:
  group: test.sibyl.dev
  scope: Namespaced
  names: {kind: Widget, plural: widgets, singular: widget}
  versions:
    - name: v1
      served: true
      storage: true
      schema:
        openAPIV3Schema:
          type: object
          properties:
            spec:
              type: object
              properties: {low: {type: integer}, high: {type: integer}}
              x-kubernetes-validations: [{rule: self.low <= self.high, message: low must not be above high}]
"""


def widget(low: int, high: int) -> str:
    spec = {"low": low, "high": high}
    return json.dumps({"apiVersion": "test.sibyl.dev/v1", "kind": "Widget", "metadata": {"name": "w"}, "spec": spec})


def test_the_control_plane_is_ready_and_of_the_stamped_version(kubectl: Callable[..., Completed]) -> None:
    version = json.loads(kubectl("version", "-o", "json").stdout)
    assert kubectl("get", "--raw", "/readyz").stdout == "ok"
    assert version["clientVersion"]["gitVersion"] == version["serverVersion"]["gitVersion"] == KUBERNETES_VERSION


def test_a_custom_resource_is_served_and_its_rules_are_enforced(control_plane: Cluster, namespace: str) -> None:
    control_plane.apply(WIDGETS)
    control_plane.wait("crd/widgets.test.sibyl.dev", for_="condition=Established")
    control_plane.apply(widget(1, 2), namespace=namespace)
    with pytest.raises(KubectlError, match="low must not be above high"):
        control_plane.apply(widget(3, 2), namespace=namespace)


def test_a_fresh_service_account_may_do_nothing_until_a_role_says_so(control_plane: Cluster, namespace: str) -> None:
    control_plane.kubectl("create", "serviceaccount", "reader", "-n", namespace)
    account = control_plane.kubeconfig_for_service_account(namespace, "reader")
    refused = control_plane.kubectl("get", "configmaps", kubeconfig=account, check=False)
    assert f'User "system:serviceaccount:{namespace}:reader" cannot list resource "configmaps"' in refused.stderr
    control_plane.kubectl("create", "role", "reader", "--verb=list", "--resource=configmaps", "-n", namespace)
    subject = f"--serviceaccount={namespace}:reader"
    control_plane.kubectl("create", "rolebinding", "reader", "--role=reader", subject, "-n", namespace)
    allowed = wait_until(
        lambda: control_plane.kubectl("get", "configmaps", "-o", "name", kubeconfig=account, check=False).stdout,
        what="the role to take effect",
    )
    assert "configmap/kube-root-ca.crt" in allowed


def test_the_audit_log_counts_the_writes_of_one_user(own_control_plane: ControlPlane, namespace: str) -> None:
    cluster = own_control_plane
    cluster.kubectl("create", "serviceaccount", "writer", "-n", namespace)
    subject = f"--serviceaccount={namespace}:writer"
    cluster.kubectl("create", "rolebinding", "writer", "--clusterrole=edit", subject, "-n", namespace)
    account = cluster.kubeconfig_for_service_account(namespace, "writer")
    start, user = cluster.audit_position(), f"system:serviceaccount:{namespace}:writer"
    for name in ("one", "two"):
        cluster.kubectl("create", "configmap", name, kubeconfig=account)
    cluster.kubectl("delete", "configmap", "two", kubeconfig=account)
    cluster.kubectl("get", "configmaps", kubeconfig=account)
    # The last request is a read: once it is in the log, so are all the writes before it.
    wait_until(
        lambda: any(user_of(event) == user and event["verb"] == "list" for event in cluster.audit_events(start)),
        what="the last request in the audit log",
    )
    assert [describe(event) for event in writes(cluster.audit_events(start), user=user)] == [
        f"create configmaps {namespace}/one -> 201",
        f"create configmaps {namespace}/two -> 201",
        f"delete configmaps {namespace}/two -> 200",
    ]


def test_children_go_with_their_owner(control_plane: Cluster, namespace: str) -> None:
    """The controller-manager is real: garbage collection works."""
    owner = control_plane.kubectl("create", "configmap", "owner", "-n", namespace, "-o", "jsonpath={.metadata.uid}")
    reference = {"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": owner.stdout}
    child = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "child", "ownerReferences": [reference]}}
    control_plane.apply(json.dumps(child), namespace=namespace)
    control_plane.kubectl("delete", "configmap", "owner", "-n", namespace)
    control_plane.wait("secret/child", for_="delete", namespace=namespace)


def test_a_failing_kubectl_command_says_why(control_plane: Cluster) -> None:
    with pytest.raises(KubectlError, match=r'kubectl get nothings exited with 1:\n.*"nothings"'):
        control_plane.kubectl("get", "nothings")


def test_an_existing_cluster_is_used_as_it_is(own_control_plane: ControlPlane, namespace: str) -> None:
    environment = {**os.environ, "USE_EXISTING_CLUSTER": "1", "KUBECONFIG": str(own_control_plane.kubeconfig)}
    with cluster_from_environment(environment=environment) as cluster:
        assert isinstance(cluster, ExistingCluster)
        assert cluster.server == own_control_plane.server
        account = cluster.kubeconfig_for_service_account(namespace, "default")
        who = cluster.kubectl("auth", "whoami", "-o", "jsonpath={.status.userInfo.username}", kubeconfig=account)
        assert who.stdout == f"system:serviceaccount:{namespace}:default"
        with pytest.raises(ClusterError, match="audit log of an existing cluster cannot be read"):
            cluster.audit_events()
    assert own_control_plane.kubectl("get", "--raw", "/readyz").stdout == "ok"


def test_an_existing_cluster_without_a_kubeconfig_is_refused() -> None:
    with (
        pytest.raises(ClusterError, match="USE_EXISTING_CLUSTER is set but KUBECONFIG is not"),
        cluster_from_environment(environment={"USE_EXISTING_CLUSTER": "true"}),
    ):
        pass


def test_a_program_that_fails_at_the_start_is_named_and_nothing_stays(
    own_control_plane: ControlPlane, tmp_path: Path
) -> None:
    binaries = tmp_path / "binaries"
    binaries.mkdir()
    for program in own_control_plane.kubectl_program.parent.iterdir():
        (binaries / program.name).symlink_to(program)
    (binaries / "kube-apiserver").unlink()
    (binaries / "kube-apiserver").write_text("#!/bin/sh\necho no such flag\nexit 3\n")
    (binaries / "kube-apiserver").chmod(0o755)
    before = set(psutil.Process().children(recursive=True))
    with (
        pytest.raises(StartError, match=r"kube-apiserver exited with code 3; its log ends:\nno such flag"),
        ControlPlane(binaries=binaries),
    ):
        pass
    assert set(psutil.Process().children(recursive=True)) <= before


@contextmanager
def command(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """`python -m e2e.cluster` with its own temporary directory."""
    with subprocess.Popen(
        [sys.executable, "-m", "e2e.cluster"],
        cwd=ROOT,
        env={key: value for key, value in os.environ.items() if key != "USE_EXISTING_CLUSTER"}
        | {"TMPDIR": str(tmp_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def descendants(process: subprocess.Popen[str]) -> list[psutil.Process]:
    return psutil.Process(process.pid).children(recursive=True)


def runs(processes: list[psutil.Process], program: str) -> bool:
    """Whether `program` itself, not just the launcher that starts it, is among the processes."""
    found = False
    for process in processes:
        try:
            found = found or Path(process.exe()).name == program
        except psutil.Error:  # ended, or between fork and exec
            continue
    return found


def all_ended(processes: list[psutil.Process]) -> bool:
    return all(not process.is_running() or process.status() == psutil.STATUS_ZOMBIE for process in processes)


@pytest.mark.parametrize("reached", ["etcd", "kube-apiserver", "kube-controller-manager"])
def test_an_interrupt_half_way_through_the_start_leaves_nothing(
    own_control_plane: ControlPlane, tmp_path: Path, reached: str
) -> None:
    with command(tmp_path) as process:
        wait_until(lambda: runs(descendants(process), reached), what=f"{reached} to run", interval=0.01)
        started = descendants(process)
        process.send_signal(signal.SIGINT)
        _output, errors = process.communicate(timeout=30)
    # 0 where the control plane became ready in the same moment: then it was stopped, not interrupted.
    # And Python ends by the signal itself, whatever it was told to return, where it struck inside an `exec`.
    assert process.returncode in (0, 130, -signal.SIGINT), errors
    assert all_ended(started)
    assert list(tmp_path.iterdir()) == []


def test_the_command_prints_a_kubeconfig_that_works_until_it_is_interrupted(
    own_control_plane: ControlPlane, tmp_path: Path
) -> None:
    with command(tmp_path) as process:
        assert process.stdout is not None
        kubeconfig = Path(process.stdout.readline().strip())
        assert own_control_plane.kubectl("get", "--raw", "/readyz", kubeconfig=kubeconfig).stdout == "ok"
        started = descendants(process)
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=30)
    assert process.returncode == 0
    assert all_ended(started)
    assert list(tmp_path.iterdir()) == []


def test_killing_the_owner_ends_the_control_plane(own_control_plane: ControlPlane, tmp_path: Path) -> None:
    with command(tmp_path) as process:
        assert process.stdout is not None
        assert process.stdout.readline().strip()
        started = descendants(process)
        assert runs(started, "kube-controller-manager")
        process.kill()
        process.wait()
        wait_until(lambda: all_ended(started), what="every program to end")
