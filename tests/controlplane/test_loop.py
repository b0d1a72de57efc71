"""The loop closed on real parts: API server, controllers, the operator under its own rights, runtime processes started
from what the operator wrote, PostgreSQL with pgvector, and a corpus with known answers."""

from __future__ import annotations

import base64
import json
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from e2e.cluster.audit import describe, user_of, writes
from e2e.cluster.control_plane import ControlPlane
from e2e.cluster.waiting import wait_until
from e2e.programs import PROGRAMS, ROOT
from e2e.stack import (
    OPERATOR,
    OPERATOR_NAMESPACE,
    Stack,
    database_secret,
    running_stack,
    with_external_database,
    workspace_name,
)
from tests.support.cranfield import judgements, missing, questions, write_json_lines
from tests.support.postgres import PostgresServer

QUICKSTART = ROOT / "manifests" / "samples" / "quickstart.yaml"
NAME = workspace_name(QUICKSTART)
SECRET = "docs-database"
USER = f"system:serviceaccount:{OPERATOR_NAMESPACE}:{OPERATOR}"
SETTINGS = {"scrape_interval": "1", "waiting_interval": "0.5", "kpi_window": "15"}


@pytest.fixture(scope="module")
def postgres() -> Iterator[PostgresServer]:
    server = PostgresServer()
    yield server
    server.close()


@pytest.fixture(scope="module")
def stack(control_plane: ControlPlane, postgres: PostgresServer) -> Iterator[Stack]:
    """The operator installed, quickstart.yaml applied by kubectl, and Ready."""
    if not isinstance(control_plane, ControlPlane):
        pytest.skip("NOT RUN: needs a control plane of our own, and USE_EXISTING_CLUSTER is set")
    with running_stack(control_plane, "loop", **SETTINGS) as running:
        running.kubectl("apply", "-f", "-", input=database_secret(SECRET, postgres.create_database()))
        running.kubectl("apply", "-f", "-", input=with_external_database(QUICKSTART, SECRET))
        try:
            control_plane.wait(f"swk/{NAME}", for_="condition=Ready", namespace="loop", timeout=60)
        except Exception:
            print(running.operator_log(), running.kubectl("describe", "swk", NAME).stdout)
            raise
        yield running
        running.kubectl("delete", "swk", NAME)


@pytest.fixture(scope="module")
def corpus(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Cranfield, ingested with the effective document and the environment that the operator wrote."""
    if absent := missing():
        pytest.skip(f"NOT RUN: {absent} is missing")
    directory = tmp_path_factory.mktemp("cranfield")
    write_json_lines(directory / "cranfield.jsonl")
    config = stack.get("configmap", f"{NAME}-config")["data"]["workspace.yaml"]
    (directory / "workspace.yaml").write_text(config)
    secret = stack.get("secret", SECRET)["data"]["dsn"]
    report = _ingest(directory, base64.b64decode(secret).decode())
    assert report["documents"] == 1398  # two of the 1,400 have no text
    return report


def _ingest(directory: Path, dsn: str) -> dict[str, Any]:
    done = subprocess.run(
        [PROGRAMS["sibyl"], "ingest", "--file", directory / "workspace.yaml", "--json", directory / "cranfield.jsonl"],
        capture_output=True, text=True, check=False, timeout=600, env={**os.environ, "DATABASE_URL": dsn},
    )  # fmt: skip
    assert done.returncode in (0, 4), done.stderr
    report: dict[str, Any] = json.loads(done.stdout)
    return report


def ask(stack: Stack, question: str) -> dict[str, Any]:
    url = f"{stack.runtime_address(NAME)}/mcp/tools/search_documents"
    response = httpx.post(url, json={"query": question}, timeout=30)
    response.raise_for_status()
    body: dict[str, Any] = response.json()
    return body


def test_every_child_is_there_and_belongs_to_the_workspace(stack: Stack) -> None:
    uid = stack.get("swk", NAME)["metadata"]["uid"]
    kinds = "serviceaccount,configmap,deployment,service,hpa,pdb"
    children = stack.get(kinds, "-l", f"sibyl.dev/workspace={NAME}")["items"]
    assert sorted(child["kind"] for child in children) == [
        "ConfigMap", "Deployment", "HorizontalPodAutoscaler", "PodDisruptionBudget", "Service", "ServiceAccount",
    ]  # fmt: skip
    assert {child["metadata"]["ownerReferences"][0]["uid"] for child in children} == {uid}


def test_the_operator_is_no_cluster_admin(stack: Stack) -> None:
    account = f"--as=system:serviceaccount:{OPERATOR_NAMESPACE}:{OPERATOR}"
    for verb, kind in (("list", "secrets"), ("delete", "nodes"), ("create", "pods"), ("update", "clusterroles")):
        assert stack.kubectl("auth", "can-i", verb, kind, account, check=False).stdout.strip() == "no", (verb, kind)


def test_every_pod_proves_that_it_loaded_the_configuration(stack: Stack) -> None:
    wanted = stack.get("swk", NAME)["status"]["effectiveConfigHash"]
    for pod in stack.runtime_pods(NAME):
        loaded = httpx.get(f"http://{pod['status']['podIP']}:9090/config").json()["hash"]
        assert loaded == wanted
    assert stack.condition(NAME, "ConfigApplied")["status"] == "True"


@pytest.mark.cranfield
@pytest.mark.timeout(600)
@pytest.mark.usefixtures("corpus")
def test_a_question_is_answered_with_the_right_document_first(stack: Stack) -> None:
    number, question = next((n, q) for n, q in questions().items() if q.startswith("solution of the blasius problem"))
    output = ask(stack, question)["output"]
    assert judgements()[number].get(output["sources"][0]["document"]) == 1
    assert "blasius" in output["answer"]


@pytest.mark.cranfield
@pytest.mark.timeout(600)
@pytest.mark.usefixtures("corpus")
def test_the_p95_of_the_pods_is_in_the_columns(stack: Stack) -> None:
    for question in list(questions().values())[:20]:
        ask(stack, question)
    p95 = wait_until(lambda: stack.get("swk", NAME)["status"].get("kpis", {}).get("p95"), what="p95 in the status")
    header, row = stack.kubectl("get", "swk", NAME).stdout.splitlines()
    assert header.split() == ["NAME", "READY", "P95", "RPS", "HIT%", "REPLICAS", "AGE"]
    assert row.split()[:3] == [NAME, "True", p95]


def test_the_kpis_are_judged_over_all_pods_in_the_status(stack: Stack) -> None:
    ask(stack, "what is a boundary layer")

    def targets() -> list[dict[str, Any]] | None:
        found = stack.get("swk", NAME)["status"].get("kpis", {}).get("targets", [])
        return found if found and all("value" in target for target in found) else None

    found = wait_until(targets, what="the KPIs in the status", timeout=30)
    assert [(one["name"], one["target"], one["met"]) for one in found] == [
        ("p50_latency", "1", True),
        ("p95_latency", "3", True),
        ("p99_latency", "5", True),
    ]
    assert all(0 < float(one["value"]) <= 5 for one in found)


@pytest.mark.cranfield
@pytest.mark.timeout(600)
@pytest.mark.usefixtures("corpus")
def test_a_changed_top_k_reaches_the_next_answer_and_the_condition_follows_it(stack: Stack) -> None:
    before = stack.get("swk", NAME)["status"]["effectiveConfigHash"]
    path = "/spec/workspace/pipelines/search/steps/0/config/top_k"
    change = [{"op": "test", "path": path, "value": 5}, {"op": "replace", "path": path, "value": 3}]
    stack.kubectl("patch", "swk", NAME, "--type=json", "-p", json.dumps(change))

    rolling = wait_until(
        lambda: (c := stack.condition(NAME, "ConfigApplied")).get("status") == "False" and c,
        what="ConfigApplied to go False", timeout=30,
    )  # fmt: skip
    assert rolling["message"]
    wait_until(
        lambda: stack.condition(NAME, "ConfigApplied").get("status") == "True",
        what="ConfigApplied to go True",
        timeout=60,
    )
    assert stack.get("swk", NAME)["status"]["effectiveConfigHash"] != before
    assert len(ask(stack, "heat transfer in a boundary layer")["output"]["sources"]) == 3


def test_a_deleted_child_comes_back(stack: Stack) -> None:
    before = stack.get("service", f"{NAME}-runtime")["metadata"]["uid"]
    stack.kubectl("delete", "service", f"{NAME}-runtime")

    def restored() -> bool:
        found = stack.kubectl("get", "service", f"{NAME}-runtime", "-o", "jsonpath={.metadata.uid}", check=False)
        return found.returncode == 0 and found.stdout != before

    wait_until(restored, what="the Service to come back", timeout=20)


def test_a_hand_edited_child_is_put_back_and_the_replicas_of_the_autoscaler_are_left_alone(stack: Stack) -> None:
    deployment = f"{NAME}-runtime"
    image = stack.get("deployment", deployment)["spec"]["template"]["spec"]["containers"][0]["image"]
    patch = {"spec": {"template": {"spec": {"containers": [{"name": "runtime", "image": "example.com/other:1"}]}}}}
    stack.kubectl("patch", "deployment", deployment, "-p", json.dumps(patch))
    wait_until(
        lambda: stack.get("deployment", deployment)["spec"]["template"]["spec"]["containers"][0]["image"] == image,
        what="the image to be put back", timeout=20,
    )  # fmt: skip
    managers = stack.get("deployment", deployment, "--show-managed-fields")["metadata"]["managedFields"]
    owners = {m["manager"] for m in managers if "f:replicas" in m.get("fieldsV1", {}).get("f:spec", {})}
    assert OPERATOR not in owners


def test_steady_state_makes_no_writes(stack: Stack, own_control_plane: ControlPlane) -> None:
    """Judged by the API server's audit log, over several passes of the operator, without traffic."""
    wait_until(lambda: stack.condition(NAME, "Ready").get("status") == "True", what="Ready", timeout=60)
    wait_until(_no_traffic_in_the_window(stack), what="the traffic of earlier tests to leave the window", timeout=60)
    assert _writes_during(own_control_plane, passes=5) == []


def _no_traffic_in_the_window(stack: Stack) -> Callable[[], bool]:
    return lambda: stack.get("swk", NAME)["status"].get("kpis", {}).get("requestsPerSecond", "0") == "0"


def _writes_during(control_plane: ControlPlane, *, passes: int) -> list[str]:
    """What the operator wrote, but for its Lease, while it listed the pods of the workspace so many times."""
    start = control_plane.audit_position()

    def looked() -> int:
        events = control_plane.audit_events(start)
        return sum(
            1 for e in events if user_of(e) == USER and (e["verb"], e["objectRef"]["resource"]) == ("list", "pods")
        )

    wait_until(lambda: looked() >= passes, what=f"{passes} passes of the operator", timeout=60)
    written = writes(control_plane.audit_events(start), user=USER)
    return [describe(event) for event in written if event["objectRef"]["resource"] != "leases"]
