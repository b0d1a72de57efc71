"""What a test or a demonstration may do with a cluster, whoever runs it."""

from __future__ import annotations

import json
import os
import subprocess
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Self

from e2e.cluster.audit import AuditEvent
from e2e.cluster.errors import ClusterError, KubectlError
from e2e.cluster.kube_rest import KubeRest
from e2e.cluster.kubeconfig import read_kubeconfig, write_kubeconfig
from e2e.cluster.work_directory import WorkDirectory

Completed = subprocess.CompletedProcess[str]


class Cluster(ABC):
    """A running cluster: a context manager that starts it and always ends it, also on Ctrl-C half-way."""

    def __init__(self) -> None:
        self._work: WorkDirectory | None = None

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:  # Ctrl-C included: what is already running must not stay
            self.stop()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.stop()

    @abstractmethod
    def start(self) -> None:
        """Make the cluster usable. Whoever calls this instead of `with` calls `stop` in every case."""

    @abstractmethod
    def stop(self) -> None:
        """Give back all that `start` took. Safe to call again, and after a failed start."""

    @property
    @abstractmethod
    def kubectl_program(self) -> Path:
        """The kubectl to use with this cluster."""

    @abstractmethod
    def audit_events(self, start: int = 0) -> Iterator[AuditEvent]:
        """Finished API requests, oldest first, from the position `start` (bytes, from `audit_position`).

        The API server writes an event just after it has answered: wait for it, do not read once.
        Raises ClusterError where this cluster's audit log cannot be read.
        """

    @abstractmethod
    def audit_position(self) -> int:
        """The present end of the audit log."""

    @property
    def directory(self) -> Path:
        """A private directory that lives as long as the cluster."""
        if self._work is None:
            raise ClusterError("the cluster is not running: use it inside `with`")
        return self._work.path

    @property
    def kubeconfig(self) -> Path:
        """A self-contained kubeconfig with all rights on the cluster."""
        return self.directory / "kubeconfig"

    @property
    def server(self) -> str:
        """The API server's URL."""
        return read_kubeconfig(self.kubeconfig).server

    def rest(self, *, user_agent: str = "testcluster") -> KubeRest:
        """A plain HTTP client with all rights; the caller closes it."""
        return KubeRest.from_kubeconfig(self.kubeconfig, user_agent=user_agent)

    def kubectl(
        self,
        *arguments: str,
        input: str | None = None,  # the name that subprocess.run has for it
        check: bool = True,
        kubeconfig: Path | None = None,
        timeout: float = 120.0,
    ) -> Completed:
        """Run kubectl; output is text. Raises KubectlError where `check` and the exit code is not 0."""
        options = [f"--kubeconfig={kubeconfig or self.kubeconfig}", f"--cache-dir={self.directory / 'kubectl-cache'}"]
        command = [str(self.kubectl_program), *options, *arguments]
        try:
            done = subprocess.run(
                command,
                input=input,
                capture_output=True,
                text=True,
                check=False,
                timeout=timeout,
                env={**os.environ, "KUBERC": "off"},  # a person's own kubectl preferences must not change a test
            )
        except subprocess.TimeoutExpired as error:
            raise KubectlError(f"kubectl {' '.join(arguments)} was still running after {timeout:g} s") from error
        if check and done.returncode != 0:
            raise KubectlError(
                f"kubectl {' '.join(arguments)} exited with {done.returncode}:\n{done.stderr.strip()}\n{done.stdout}"
            )
        return done

    def apply(self, manifests: str, *, namespace: str | None = None) -> Completed:
        """`kubectl apply` of YAML or JSON text; objects without a namespace go to `namespace`."""
        return self.kubectl("apply", "-f", "-", *_namespace_option(namespace), input=manifests)

    def wait(self, target: str, *, for_: str, namespace: str | None = None, timeout: float = 60.0) -> Completed:
        """`kubectl wait TARGET --for=...`, for example `wait("deployment/web", for_="condition=Available")`.

        Also waits for the object to appear. Raises KubectlError when `timeout` seconds have passed.
        """
        scope = _namespace_option(namespace)
        limit = f"--timeout={timeout:g}s"
        if for_ not in ("create", "delete"):
            self.kubectl("wait", target, "--for=create", limit, *scope, timeout=timeout + 10)
        return self.kubectl("wait", target, f"--for={for_}", limit, *scope, timeout=timeout + 10)

    def kubeconfig_for_service_account(self, namespace: str, name: str) -> Path:
        """A kubeconfig that signs in as an existing ServiceAccount, with a token of the TokenRequest API (12 hours)."""
        request = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "spec": {"expirationSeconds": 43200},
        }
        path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{name}/token"
        answer = json.loads(self.kubectl("create", "--raw", path, "-f", "-", input=json.dumps(request)).stdout)
        admin = read_kubeconfig(self.kubeconfig)
        credentials = replace(admin, certificate=b"", key=b"", token=answer["status"]["token"], namespace=namespace)
        return write_kubeconfig(self.directory / f"kubeconfig-{namespace}-{name}", credentials)


def _namespace_option(namespace: str | None) -> list[str]:
    return [] if namespace is None else [f"--namespace={namespace}"]
