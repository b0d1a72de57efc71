"""A cluster that somebody else runs: USE_EXISTING_CLUSTER=1 and $KUBECONFIG. Starts no process, ends none."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NoReturn

from e2e.cluster.audit import AuditEvent
from e2e.cluster.binaries import built_binaries, ensure_binaries
from e2e.cluster.build import Progress
from e2e.cluster.cluster import Cluster
from e2e.cluster.errors import ClusterError
from e2e.cluster.work_directory import WorkDirectory

_MINIMUM_KUBECTL_MINOR = 31  # the first with `kubectl wait --for=create`


class ExistingCluster(Cluster):
    """The current context of $KUBECONFIG, with the surface of a control plane of our own."""

    def __init__(self, *, environment: Mapping[str, str] = os.environ, progress: Progress | None = None) -> None:
        super().__init__()
        self._environment = environment
        self._progress = progress
        self._kubectl: Path | None = None

    def start(self) -> None:
        """Copy the current context into a kubeconfig of our own, so that nobody can switch it under a test."""
        value = self._environment.get("KUBECONFIG")
        if not value:
            raise ClusterError(
                "USE_EXISTING_CLUSTER is set but KUBECONFIG is not: set it to the kubeconfig of the cluster to use, "
                "or unset USE_EXISTING_CLUSTER to have a control plane started here"
            )
        self._work = WorkDirectory("existing")
        self.kubeconfig.touch(mode=0o600)
        self.kubeconfig.write_text(self._flattened(value))
        self.kubectl("get", "--raw", "/readyz")

    def stop(self) -> None:
        """Remove our own copy of the kubeconfig; the cluster goes on."""
        if self._work is not None:
            self._work.remove()
            self._work = None

    @property
    def kubectl_program(self) -> Path:
        """The kubectl already built with the test cluster, else the one on PATH if new enough, else one to build."""
        if self._kubectl is None:
            built = built_binaries(self._environment)
            on_path = shutil.which("kubectl", path=self._environment.get("PATH"))
            if built is not None:
                self._kubectl = built / "kubectl"
            elif on_path and _minor_version(Path(on_path)) >= _MINIMUM_KUBECTL_MINOR:
                self._kubectl = Path(on_path)
            else:
                self._kubectl = ensure_binaries(self._progress, self._environment) / "kubectl"
        return self._kubectl

    def audit_events(self, start: int = 0) -> Iterator[AuditEvent]:
        """Not available: the audit log of a cluster that runs elsewhere cannot be read. Raises ClusterError."""
        _no_audit_log()

    def audit_position(self) -> int:
        """Not available, as audit_events. Raises ClusterError."""
        _no_audit_log()

    def _flattened(self, kubeconfig: str) -> str:
        command = [str(self.kubectl_program), "config", "view", "--raw", "--flatten", "--minify"]
        env = {**self._environment, "KUBECONFIG": kubeconfig}
        done = subprocess.run(command, env=env, capture_output=True, text=True, check=False, timeout=60)
        if done.returncode != 0:
            raise ClusterError(f"KUBECONFIG={kubeconfig}: {done.stderr.strip()}")
        return done.stdout


def _minor_version(kubectl: Path) -> int:
    """31 for a kubectl 1.31; 0 where it does not say."""
    command = [str(kubectl), "version", "--client", "--output=json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    found = re.search(r'"minor": *"(\d+)', done.stdout)
    return int(found.group(1)) if found else 0


def _no_audit_log() -> NoReturn:
    raise ClusterError(
        "the audit log of an existing cluster cannot be read from here; unset USE_EXISTING_CLUSTER to count requests"
    )
