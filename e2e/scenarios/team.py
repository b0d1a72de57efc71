"""What a platform team does with a workspace, by the commands that it would type: apply, wait, ingest, ask, break."""

from __future__ import annotations

import base64
import json
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psycopg
import yaml

from e2e.cluster.cluster import Completed
from e2e.cluster.waiting import wait_until
from e2e.node.node import Node
from e2e.programs import PROGRAMS, ROOT

SAMPLES = ROOT / "manifests" / "samples"
DOCUMENTS = ROOT / "docs"
Object = dict[str, Any]


@dataclass(frozen=True)
class Team:
    """A team with a namespace of its own on the node; `kubectl` works in it."""

    node: Node
    namespace: str

    def kubectl(self, *arguments: str, input: str | None = None, check: bool = True) -> Completed:
        """kubectl in the team's namespace."""
        return self.node.kubectl("--namespace", self.namespace, *arguments, input=input, check=check)

    def get(self, *arguments: str) -> Any:
        """`kubectl get ... -o json`, read."""
        return json.loads(self.kubectl("get", *arguments, "-o", "json").stdout)

    def find(self, *arguments: str) -> Object | None:
        """Like `get`, or None when there is no such object."""
        done = self.kubectl("get", *arguments, "-o", "json", "--ignore-not-found")
        return json.loads(done.stdout) if done.stdout.strip() else None

    def apply(self, *manifests: Object) -> None:
        """`kubectl apply` of objects."""
        self.kubectl("apply", "-f", "-", input=yaml.safe_dump_all(manifests, sort_keys=False))

    def patch(self, workspace: str, spec: Mapping[str, Any]) -> None:
        """Change fields of a workspace's spec."""
        self.kubectl("patch", "swk", workspace, "--type=merge", "-p", json.dumps({"spec": spec}))

    def condition(self, workspace: str, kind: str) -> dict[str, Any]:
        """One condition, empty while it is not there."""
        status = self.get("swk", workspace).get("status", {})
        return next((c for c in status.get("conditions", []) if c["type"] == kind), {})

    def wait_ready(self, workspace: str, *, timeout: float = 180.0) -> None:
        """Until the workspace is Ready for its present generation."""
        self.wait_condition(workspace, "Ready", "True", timeout=timeout)

    def wait_condition(
        self, workspace: str, kind: str, status: str, *, reason: str | None = None, timeout: float = 120.0
    ) -> dict[str, Any]:
        """Until a condition of the present generation has that status (and reason); the condition."""

        def held() -> dict[str, Any] | None:
            found = self.get("swk", workspace)
            for condition in found.get("status", {}).get("conditions", []):
                current = condition["observedGeneration"] == found["metadata"]["generation"]
                wanted = condition["status"] == status and reason in (None, condition["reason"])
                if condition["type"] == kind and current and wanted:
                    return dict(condition)
            return None

        what = f"{kind}={status}{f' ({reason})' if reason else ''} of {self.namespace}/{workspace}"
        try:
            return wait_until(held, what=what, timeout=timeout, interval=0.5)
        except Exception:
            print(self.story(workspace))
            raise

    def story(self, workspace: str) -> str:
        """All that tells why a workspace is not as it should be."""
        parts = [
            self.kubectl("get", "swk", workspace, "-o", "yaml", check=False).stdout,
            self.kubectl("get", "all,pvc,events", "-o", "wide", check=False).stdout,
            self.kubectl("describe", "pods", check=False).stdout[-6000:],
        ]
        for pod in self.kubectl("get", "pods", "-o", "name", check=False).stdout.split():
            done = self.kubectl("logs", pod, "--all-containers", "--prefix", "--tail=30", check=False)
            parts.append(f"{done.stdout}{done.stderr}")
        return "\n".join(parts)

    def pods(self, workspace: str, component: str = "runtime") -> list[Object]:
        """The pods of one component that are not ending."""
        selector = f"sibyl.dev/workspace={workspace},app.kubernetes.io/component={component}"
        found: list[Object] = self.get("pods", "-l", selector)["items"]
        return [pod for pod in found if "deletionTimestamp" not in pod["metadata"]]

    def children(self, workspace: str, kinds: str) -> list[Object]:
        """The objects of these kinds that carry the workspace's label."""
        found: list[Object] = self.get(kinds, "-l", f"sibyl.dev/workspace={workspace}")["items"]
        return found

    def address(self, workspace: str) -> str:
        """The Service's cluster address: reached from this machine as from a pod."""
        service = self.get("service", f"{workspace}-runtime")
        return f"http://{service['spec']['clusterIP']}:{service['spec']['ports'][0]['port']}"

    def ask(self, workspace: str, question: str, **parameters: Any) -> dict[str, Any]:
        """One question over HTTP; the whole answer."""
        url = f"{self.address(workspace)}/mcp/tools/search_documents"
        response = httpx.post(url, json={"query": question, **parameters}, timeout=30)
        response.raise_for_status()
        body: dict[str, Any] = response.json()
        return body

    def ingest(self, workspace: str, documents: Path = DOCUMENTS) -> dict[str, Any]:
        """`sibyl ingest --server`: a folder of this machine, through the Service."""
        command = [str(PROGRAMS["sibyl"]), "ingest", "--server", self.address(workspace), "--json", str(documents)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
        assert done.returncode in (0, 4), done.stderr
        report: dict[str, Any] = json.loads(done.stdout)
        return report

    def rows(self, workspace: str, pod: str, query: str) -> list[tuple[Any, ...]]:
        """What one server of a Builtin database answers to the runtime's role; raises psycopg.Error while it cannot."""
        address = self.get("pod", pod)["status"].get("podIP")
        password = base64.b64decode(self.get("secret", f"{workspace}-db-app")["data"]["password"]).decode()
        with psycopg.connect(
            host=address, user="sibyl", password=password, dbname="sibyl", connect_timeout=3, autocommit=True
        ) as connection:
            return connection.execute(query.encode()).fetchall()

    @contextmanager
    def forwarded(self, target: str, port: int) -> Iterator[str]:
        """`kubectl port-forward`, as from outside the cluster; the local address."""
        command = [str(self.node.kubectl_program), f"--kubeconfig={self.node.kubeconfig}", "-n", self.namespace]
        with subprocess.Popen(
            [*command, "port-forward", target, f":{port}"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as forwarding:
            try:
                assert forwarding.stdout is not None
                line = forwarding.stdout.readline()
                assert line.startswith("Forwarding from "), line
                yield f"http://{line.split()[2]}"
            finally:
                forwarding.terminate()


def sample(name: str, *, rename: str | None = None, **spec: Any) -> Object:
    """The workspace of a sample, with fields of its spec replaced where a machine of two cores asks for it."""
    documents = yaml.safe_load_all((SAMPLES / f"{name}.yaml").read_text())
    found: Object = next(d for d in documents if d and d["kind"] == "SibylWorkspace")
    if rename:
        found["metadata"]["name"] = rename
    found["spec"].update(spec)
    return found


def wait_for(probe: Callable[[], Any], what: str, *, timeout: float = 60.0) -> float:
    """Until `probe` is truthy; how long it took, in seconds."""
    begin = time.monotonic()
    wait_until(probe, what=what, timeout=timeout, interval=0.2)
    return time.monotonic() - begin


def names(objects: Sequence[Object]) -> set[str]:
    """`Kind/name` of each object."""
    return {f"{found['kind']}/{found['metadata']['name']}" for found in objects}
