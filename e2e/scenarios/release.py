"""The operator as a Helm release."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from e2e.images.recipe import OPERATOR, POSTGRES, REDIS, RUNTIME
from e2e.node.node import Node
from e2e.programs import ROOT

CHART = ROOT / "charts" / "sibyl-operator"
NAMESPACE = "sibyl-system"
DEPLOYMENT = "sibyl-operator"
LEASE = "sibyl-operator"
ACCOUNT = "system:serviceaccount:sibyl-system:sibyl-operator"
# Looks more often than a release does by default, so that a scenario need not wait for what no watch tells of.
SETTINGS = {"scrapeInterval": 4, "waitingInterval": 1, "kpiWindow": 60}


@dataclass
class Release:
    """The release `sibyl` in sibyl-system."""

    node: Node
    chart: Path = CHART
    values: Mapping[str, Any] = field(default_factory=dict)

    def install(self) -> None:
        """`helm install`, and wait for the pods."""
        self.helm("install", "sibyl", str(self.chart), "--create-namespace", *self._values(), "--wait", "--timeout=3m")

    def upgrade(self, chart: Path | None = None) -> None:
        """`helm upgrade` to another chart, or to the same one."""
        self.helm("upgrade", "sibyl", str(chart or self.chart), *self._values(), "--wait", "--timeout=3m")

    def uninstall(self) -> None:
        """`helm uninstall`."""
        self.helm("uninstall", "sibyl", "--wait", "--ignore-not-found")

    def helm(self, *arguments: str) -> str:
        """Run helm in the operator's namespace; its output. An AssertionError shows what it said instead."""
        command = [str(self.node.tool("helm")), "--namespace", NAMESPACE, *arguments]
        environment = {**os.environ, "KUBECONFIG": str(self.node.kubeconfig), "HELM_CACHE_HOME": str(self.node.work)}
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=400, env=environment)
        if done.returncode != 0:
            pods = self.kubectl("get", "pods,events", "-o", "wide")
            raise AssertionError(f"{' '.join(command)}\n{done.stdout}{done.stderr}\n{pods}")
        return done.stdout

    def kubectl(self, *arguments: str) -> str:
        """kubectl in the operator's namespace."""
        return self.node.kubectl("--namespace", NAMESPACE, *arguments).stdout

    def pods(self) -> set[str]:
        """The operator's pods that are not ending."""
        found = json.loads(self.kubectl("get", "pods", "-l", "app.kubernetes.io/name=sibyl-operator", "-o", "json"))
        return {pod["metadata"]["name"] for pod in found["items"] if "deletionTimestamp" not in pod["metadata"]}

    def scale(self, replicas: int) -> None:
        """The number of operator pods; waits until it is reached."""
        self.kubectl("scale", f"deployment/{DEPLOYMENT}", f"--replicas={replicas}")
        self.kubectl("rollout", "status", f"deployment/{DEPLOYMENT}", "--timeout=90s")
        if replicas == 0:
            self.kubectl("wait", "pods", "-l", "app.kubernetes.io/name=sibyl-operator", "--for=delete", "--timeout=90s")

    def leader(self) -> str:
        """The pod that holds the Lease; empty when nobody does."""
        lease = json.loads(self.kubectl("get", "lease", LEASE, "-o", "json"))
        return str(lease["spec"].get("holderIdentity") or "")

    def _values(self) -> list[str]:
        repository, _, tag = OPERATOR.reference.rpartition(":")
        values = {
            "image": {"repository": repository, "tag": tag},
            "settings": {
                **SETTINGS,
                "runtimeImage": RUNTIME.reference,
                "databaseImage": POSTGRES.reference,
                "cacheImage": REDIS.reference,
            },
            **self.values,
        }
        written = self.node.work / "values.json"
        written.write_text(json.dumps(values))
        return ["--values", str(written)]
