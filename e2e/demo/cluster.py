"""Act two: the same file in a real Kubernetes control plane, its database filled by act one."""

from __future__ import annotations

import time
from pathlib import Path

import yaml

from e2e.cluster.control_plane import cluster_from_environment
from e2e.cluster.waiting import wait_until
from e2e.demo import screen
from e2e.demo.laptop import QUESTIONS, ask
from e2e.programs import ROOT
from e2e.stack import Stack, database_secret, running_stack, with_external_database, workspace_name
from sibyl_runtime.store.embedded import EmbeddedPostgres

NAMESPACE = "sibyl-demo"
DATABASE_SECRET = "docs-database"


def play(workspace: Path, postgres: EmbeddedPostgres) -> None:
    """Start a cluster, install the operator, apply the file, ask a pod, break something and see it mended."""
    screen.act(2, f"In a cluster: kubectl apply -f {workspace.relative_to(ROOT)}")
    name = workspace_name(workspace)
    cluster = cluster_from_environment()
    begin = time.monotonic()
    with cluster:
        version = cluster.kubectl("version", "-o", "yaml").stdout
        server = yaml.safe_load(version)["serverVersion"]["gitVersion"]
        screen.fact("control plane", f"Kubernetes {server} · {time.monotonic() - begin:.1f} s")
        begin = time.monotonic()
        with running_stack(cluster, NAMESPACE, scrape_interval="3") as stack:
            screen.fact("operator", f"installed with its own rights · leading · {time.monotonic() - begin:.1f} s")
            _apply(stack, workspace, name, postgres.start())
            _ask(stack, name)
            _break(stack, name)
            stack.kubectl("delete", "swk", name)
            _until_gone(stack, name)
            screen.fact("deleted", "the workspace and all its children are gone; the database stays")


def _apply(stack: Stack, workspace: Path, name: str, dsn: str) -> None:
    stack.kubectl("apply", "-f", "-", input=database_secret(DATABASE_SECRET, dsn))
    begin = time.monotonic()
    applied = stack.kubectl("apply", "-f", "-", input=with_external_database(workspace, DATABASE_SECRET))
    screen.shell(f"kubectl apply -f {workspace.relative_to(ROOT)}", applied.stdout)
    screen.fact("database", "External, that of act one: pods are processes here, and a Builtin one needs containers")
    stack.cluster.wait(f"swk/{name}", for_="condition=Ready", namespace=stack.namespace, timeout=90)
    screen.fact("Ready", f"{time.monotonic() - begin:.1f} s after the apply")
    kinds = "serviceaccount,configmap,deployment,service,hpa,pdb,pod"
    children = stack.kubectl("get", kinds, "-l", f"sibyl.dev/workspace={name}", "-o", "name")
    screen.shell(f"kubectl get {kinds} -l sibyl.dev/workspace={name} -o name", children.stdout)


def _ask(stack: Stack, name: str) -> None:
    screen.console.print()
    body, elapsed = ask(stack.runtime_address(name), QUESTIONS[0])
    screen.answer(QUESTIONS[0], body, elapsed)
    measured = wait_until(
        lambda: stack.get("swk", name)["status"].get("kpis", {}).get("p95"),
        what="the operator to measure p95",
        timeout=60,
    )
    screen.shell("kubectl get swk", stack.kubectl("get", "swk", name).stdout)
    screen.fact("measured", f"p95 {measured}, read from the pods by the operator")
    applied = stack.condition(name, "ConfigApplied")
    screen.fact("proved", applied["message"])


def _break(stack: Stack, name: str) -> None:
    service = f"{name}-runtime"
    before = stack.get("service", service)["metadata"]["uid"]
    screen.shell(f"kubectl delete service {service}", stack.kubectl("delete", "service", service).stdout)
    begin = time.monotonic()

    def restored() -> bool:
        found = stack.kubectl("get", "service", service, "-o", "jsonpath={.metadata.uid}", check=False)
        return found.returncode == 0 and found.stdout != before

    wait_until(restored, what="the Service to come back", timeout=30)
    screen.fact("restored", f"service/{service} · {time.monotonic() - begin:.1f} s")


def _until_gone(stack: Stack, name: str) -> None:
    kinds = "serviceaccount,configmap,deployment,service,hpa,pdb,pod"
    wait_until(
        lambda: not stack.get(kinds, "-l", f"sibyl.dev/workspace={name}")["items"],
        what="the children to be garbage-collected",
        timeout=90,
    )
