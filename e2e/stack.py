"""The product in a cluster on one machine: the operator installed by its own manifest, a node of processes, a database.

The operator runs as the pod that `manifests/install.yaml` asks for, under its own ServiceAccount and rights.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from e2e.chart import INSTALL_FILE
from e2e.cluster.cluster import Cluster, Completed
from e2e.cluster.process_node import ProcessNode
from e2e.programs import PROGRAMS, ROOT

OPERATOR_NAMESPACE = "sibyl-system"
OPERATOR = "sibyl-operator"


@dataclass(frozen=True)
class Stack:
    """A cluster with the operator in it. `namespace` is where workspaces go."""

    cluster: Cluster
    node: ProcessNode
    namespace: str

    def kubectl(self, *arguments: str, input: str | None = None, check: bool = True) -> Completed:
        """kubectl in the namespace of the workspaces."""
        return self.cluster.kubectl("--namespace", self.namespace, *arguments, input=input, check=check)

    def get(self, *arguments: str) -> Any:
        """`kubectl get ... -o json`, read."""
        return json.loads(self.kubectl("get", *arguments, "-o", "json").stdout)

    def condition(self, workspace: str, kind: str) -> dict[str, Any]:
        """One condition of a workspace, empty while it is not there."""
        status = self.get("sibylworkspace", workspace).get("status", {})
        return next((c for c in status.get("conditions", []) if c["type"] == kind), {})

    def runtime_pods(self, workspace: str) -> list[dict[str, Any]]:
        """The runtime pods that are not ending."""
        pods = self.get("pods", "-l", f"sibyl.dev/workspace={workspace}")["items"]
        return [pod for pod in pods if "deletionTimestamp" not in pod["metadata"]]

    def runtime_address(self, workspace: str) -> str:
        """The HTTP address of one ready runtime pod. Raises LookupError when none is."""
        for pod in self.runtime_pods(workspace):
            conditions = pod.get("status", {}).get("conditions", [])
            if any(c["type"] == "Ready" and c["status"] == "True" for c in conditions):
                return f"http://{pod['status']['podIP']}:8000"
        raise LookupError(f"no runtime pod of {workspace} is ready")

    def operator_log(self) -> str:
        """What the operator's pods have written."""
        names = self.cluster.kubectl("--namespace", OPERATOR_NAMESPACE, "get", "pods", "-o", "name").stdout.split()
        return "\n".join(self.node.logs(OPERATOR_NAMESPACE, name.partition("/")[2]) for name in names)


@contextmanager
def running_stack(cluster: Cluster, namespace: str, **operator_settings: str) -> Iterator[Stack]:
    """Install the operator into a running cluster and run its pods and those of `namespace`.

    `operator_settings` are settings of the operator, like `scrape_interval="1"`.
    """
    with ExitStack() as stack:
        namespaces = [OPERATOR_NAMESPACE, namespace]
        node = stack.enter_context(ProcessNode(cluster.kubeconfig, programs=PROGRAMS, namespaces=namespaces))
        cluster.apply(install_manifest(operator_settings))
        cluster.wait(f"deployment/{OPERATOR}", for_="condition=Available", namespace=OPERATOR_NAMESPACE)
        if cluster.kubectl("get", "namespace", namespace, check=False).returncode != 0:
            cluster.kubectl("create", "namespace", namespace)
        yield Stack(cluster, node, namespace)


def install_manifest(operator_settings: Mapping[str, str]) -> str:
    """`manifests/install.yaml`, with some settings in the operator's environment set otherwise."""
    settings = {f"SIBYL_OPERATOR_{name.upper()}": value for name, value in operator_settings.items()}
    manifests = [manifest for manifest in yaml.safe_load_all((ROOT / INSTALL_FILE).read_text()) if manifest]
    for manifest in manifests:
        if manifest["kind"] == "Deployment":
            container = manifest["spec"]["template"]["spec"]["containers"][0]
            kept = [entry for entry in container["env"] if entry["name"] not in settings]
            container["env"] = kept + [{"name": name, "value": value} for name, value in settings.items()]
    return yaml.safe_dump_all(manifests, sort_keys=False)


def database_secret(name: str, dsn: str) -> str:
    """A Secret that holds a DSN under the key `dsn`."""
    body = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": {"dsn": dsn}}
    return yaml.safe_dump(body)


def with_external_database(path: Path, secret: str) -> str:
    """The SibylWorkspace in a file, with a database behind a Secret: where pods are processes, none can be Builtin."""
    documents = yaml.safe_load_all(path.read_text())
    resource = next(d for d in documents if d and d["kind"] == "SibylWorkspace")
    resource["spec"]["database"] = {"provider": "External", "external": {"secretRef": {"name": secret}}}
    return yaml.safe_dump(resource, sort_keys=False)


def workspace_name(path: Path) -> str:
    """The name of the SibylWorkspace in a file."""
    documents = yaml.safe_load_all(path.read_text())
    return next(str(d["metadata"]["name"]) for d in documents if d and d["kind"] == "SibylWorkspace")
