"""A Deployment that really runs, on a node whose pods are processes."""

from __future__ import annotations

import json
import os
import signal
from typing import Any

import httpx
import psutil
import pytest

from e2e.cluster.control_plane import ControlPlane
from e2e.cluster.process_node import ProcessNode
from e2e.cluster.waiting import wait_until

# A small web server: answers with what it was given, says goodbye on SIGTERM, and can be made unhealthy.
SERVER = """
import http.server, json, os, signal, sys

healthy = {"/live": True, "/ready": True}

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path.startswith("/break"):
            healthy[self.path.removeprefix("/break")] = False
        body = {"args": sys.argv[1:], "env": dict(os.environ), "config": open(sys.argv[1]).read()}
        self.send_response(200 if healthy.get(self.path, True) else 503)
        self.end_headers()
        self.wfile.write(json.dumps(body).encode())

    def log_message(self, *args):
        pass

def end(number, frame):
    print("goodbye", flush=True)
    sys.exit(0)

signal.signal(signal.SIGTERM, end)
server = http.server.ThreadingHTTPServer((os.environ["SIBYL_HOST"], 8080), Handler)
print("listening", os.environ["SIBYL_HOST"], flush=True)
server.serve_forever()
"""


def probe(path: str, **more: int) -> dict[str, Any]:
    return {"httpGet": {"path": path, "port": "http"}, "periodSeconds": 1, **more}


def container(**more: Any) -> dict[str, Any]:
    return {
        "name": "web",
        "image": "example.org/web:1",
        "command": ["python", "-u", "-c", SERVER],
        "args": ["/etc/web/greeting.txt", "--name=$(POD_NAME)", "$$(POD_NAME)", "$(NOT_THERE)"],
        "ports": [{"name": "http", "containerPort": 8080}],
        "env": [
            {"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
            {"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
            {"name": "GREETING_FILE", "value": "/etc/web/greeting.txt"},
            {"name": "VERSION", "value": "1"},
        ],
        "readinessProbe": probe("/ready", failureThreshold=1),
        "volumeMounts": [{"name": "config", "mountPath": "/etc/web"}, {"name": "scratch", "mountPath": "/scratch"}],
        **more,
    }


def deployment(*, replicas: int = 1, **more: Any) -> dict[str, Any]:
    labels = {"app": "web"}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web"},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {
                    "terminationGracePeriodSeconds": 5,
                    "containers": [container(**more)],
                    "volumes": [
                        {"name": "config", "configMap": {"name": "web"}},
                        {"name": "scratch", "emptyDir": {}},
                    ],
                },
            },
        },
    }


class Workload:
    """The Deployment `web` of one namespace, and what a test asks about it."""

    def __init__(self, cluster: ControlPlane, namespace: str) -> None:
        self.cluster = cluster
        self.namespace = namespace

    def apply(self, document: dict[str, Any]) -> None:
        self.cluster.apply(json.dumps(document), namespace=self.namespace)

    def available(self) -> None:
        self.cluster.wait("deployment/web", for_="condition=Available", namespace=self.namespace, timeout=30)

    def pods(self) -> list[dict[str, Any]]:
        answer = self.cluster.kubectl("get", "pods", "-n", self.namespace, "-o", "json")
        pods: list[dict[str, Any]] = json.loads(answer.stdout)["items"]
        return pods

    def pod_where(self, what: str, path: list[str], value: object) -> dict[str, Any]:
        """The first pod whose container status has `value` at `path`."""

        def found() -> dict[str, Any] | None:
            return next((pod for pod in self.pods() if _at(_container_status(pod), path) == value), None)

        return wait_until(found, what=what)

    def ask(self, pod: dict[str, Any], path: str = "/") -> httpx.Response:
        return httpx.get(f"http://{pod['status']['podIP']}:8080{path}")


def _container_status(pod: dict[str, Any]) -> dict[str, Any]:
    return next(iter(pod["status"].get("containerStatuses", [])), {})


def _at(section: Any, path: list[str]) -> Any:
    for key in path:
        section = (section or {}).get(key)
    return section


def _ended(process: psutil.Process) -> bool:
    return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE


@pytest.fixture
def workload(own_control_plane: ControlPlane, namespace: str, process_node: ProcessNode) -> Workload:
    """A namespace with the ConfigMap `web`, on a process node."""
    web = Workload(own_control_plane, namespace)
    config_map = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "web"}}
    web.apply({**config_map, "data": {"greeting.txt": "hello"}})
    return web


def test_a_deployment_of_two_replicas_becomes_available_and_answers(workload: Workload) -> None:
    workload.apply(deployment(replicas=2))
    workload.available()
    pods = workload.pods()
    answers = [workload.ask(pod).json() for pod in pods]
    assert len({pod["status"]["podIP"] for pod in pods}) == 2
    for pod, answer in zip(pods, answers, strict=True):
        name = pod["metadata"]["name"]
        assert answer["config"] == "hello"
        assert answer["args"][1:] == [f"--name={name}", "$(POD_NAME)", "$(NOT_THERE)"]
        assert answer["args"][0] == answer["env"]["GREETING_FILE"] != "/etc/web/greeting.txt"
        assert answer["env"]["POD_IP"] == answer["env"]["SIBYL_HOST"] == pod["status"]["podIP"]
        assert "USER" not in answer["env"], "a container does not inherit the environment of the host"


def test_a_rolling_update_replaces_the_pods(workload: Workload, process_node: ProcessNode) -> None:
    workload.apply(deployment(replicas=2))
    workload.available()
    before = {pod["metadata"]["name"] for pod in workload.pods()}
    changed = deployment(replicas=2)
    changed["spec"]["template"]["spec"]["containers"][0]["env"][3]["value"] = "2"
    workload.apply(changed)
    workload.cluster.kubectl("rollout", "status", "deployment/web", "-n", workload.namespace, "--timeout=30s")
    pods = wait_until(lambda: p if len(p := workload.pods()) == 2 else None, what="the old pods to be gone")
    assert not before & {pod["metadata"]["name"] for pod in pods}
    assert [workload.ask(pod).json()["env"]["VERSION"] for pod in pods] == ["2", "2"]
    assert [process_node.logs(workload.namespace, name).splitlines()[-1] for name in before] == ["goodbye", "goodbye"]


def test_a_missing_secret_is_named_and_the_pod_starts_once_it_is_there(workload: Workload) -> None:
    key = {"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "web-token", "key": "token"}}}
    workload.apply(deployment(env=[key]))
    waiting = workload.pod_where("a config error", ["state", "waiting", "reason"], "CreateContainerConfigError")
    assert _container_status(waiting)["state"]["waiting"]["message"] == 'secret "web-token" not found'
    assert waiting["status"]["phase"] == "Pending"
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "web-token"}}
    workload.apply({**secret, "stringData": {"token": "s3cret"}})
    workload.available()
    assert workload.ask(workload.pods()[0]).json()["env"]["TOKEN"] == "s3cret"


def test_a_killed_process_is_restarted_with_its_last_words_kept(workload: Workload, process_node: ProcessNode) -> None:
    workload.apply(deployment())
    workload.available()
    name = workload.pods()[0]["metadata"]["name"]
    first = process_node.pid(workload.namespace, name)
    assert first is not None
    os.kill(first, signal.SIGKILL)
    pod = workload.pod_where("a restart", ["restartCount"], 1)
    terminated = _container_status(pod)["lastState"]["terminated"]
    assert (terminated["exitCode"], terminated["reason"]) == (137, "Error")
    assert terminated["message"] == f"listening {pod['status']['podIP']}"
    workload.pod_where("readiness after the restart", ["ready"], True)
    assert process_node.pid(workload.namespace, name) != first


def test_a_program_that_keeps_failing_backs_off(workload: Workload) -> None:
    failing = ["python", "-c", "import sys; sys.exit('no database')"]
    workload.apply(deployment(command=failing, args=[]))
    pod = workload.pod_where("a back-off", ["state", "waiting", "reason"], "CrashLoopBackOff")
    terminated = _container_status(pod)["lastState"]["terminated"]
    assert (terminated["exitCode"], terminated["message"]) == (1, "no database")


def test_a_failing_liveness_probe_restarts_the_container(workload: Workload, process_node: ProcessNode) -> None:
    workload.apply(
        deployment(startupProbe=probe("/ready", failureThreshold=30), livenessProbe=probe("/live", failureThreshold=1))
    )
    workload.available()
    pod = workload.pods()[0]
    workload.ask(pod, "/break/live")
    restarted = workload.pod_where("a restart", ["restartCount"], 1)
    assert _container_status(restarted)["lastState"]["terminated"]["exitCode"] == 0
    written = process_node.logs(workload.namespace, pod["metadata"]["name"])
    assert "Liveness probe failed: HTTP probe failed with statuscode: 503" in written


def test_a_pod_that_is_not_ready_says_which_probe_failed(workload: Workload) -> None:
    workload.apply(deployment())
    workload.available()
    workload.ask(workload.pods()[0], "/break/ready")
    pod = workload.pod_where("an unready container", ["ready"], False)
    condition = next(entry for entry in pod["status"]["conditions"] if entry["type"] == "Ready")
    assert (condition["status"], condition["reason"]) == ("False", "ContainersNotReady")
    assert "readinessProbe: HTTP probe failed with statuscode: 503" in condition["message"]


def test_deleting_the_deployment_ends_the_processes(workload: Workload, process_node: ProcessNode) -> None:
    workload.apply(deployment(replicas=2))
    workload.available()
    processes = [psutil.Process(pid) for pid in process_node.pids()]
    assert len(processes) == 2
    workload.cluster.kubectl("delete", "deployment", "web", "-n", workload.namespace)
    wait_until(lambda: not workload.pods(), what="the pods to be gone")
    assert all(_ended(process) for process in processes)


def test_a_process_that_ignores_the_stop_is_killed_after_its_grace(
    workload: Workload, process_node: ProcessNode
) -> None:
    stubborn = """
import signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("deaf", flush=True)
time.sleep(600)
"""
    document = deployment(command=["python", "-c", stubborn], args=[], readinessProbe=None)
    document["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] = 1
    workload.apply(document)
    workload.available()
    name = workload.pods()[0]["metadata"]["name"]
    wait_until(lambda: "deaf" in process_node.logs(workload.namespace, name), what="the process to ignore SIGTERM")
    (process,) = [psutil.Process(pid) for pid in process_node.pids()]
    workload.cluster.kubectl("delete", "deployment", "web", "-n", workload.namespace)
    wait_until(lambda: not workload.pods(), what="the pod to be gone")
    assert _ended(process)


def test_a_job_pod_ends_with_its_process(workload: Workload) -> None:
    job = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "once"},
        "spec": {
            "template": {
                "spec": {
                    "restartPolicy": "Never",
                    "containers": [{"name": "once", "image": "example.org/once", "command": ["python", "-c", "pass"]}],
                }
            }
        },
    }
    workload.apply(job)
    workload.cluster.wait("job/once", for_="condition=Complete", namespace=workload.namespace, timeout=30)
    assert [pod["status"]["phase"] for pod in workload.pods()] == ["Succeeded"]


def test_what_cannot_be_honoured_is_refused_by_name(workload: Workload) -> None:
    document = deployment()
    document["spec"]["template"]["spec"]["initContainers"] = [{"name": "first", "image": "example.org/first"}]
    document["spec"]["template"]["spec"]["volumes"][1] = {"name": "scratch", "hostPath": {"path": "/tmp"}}
    workload.apply(document)
    pod = workload.pod_where("a refusal", ["state", "waiting", "reason"], "CreateContainerConfigError")
    message = _container_status(pod)["state"]["waiting"]["message"]
    assert "spec.initContainers" in message
    assert "spec.volumes[scratch].hostPath" in message


def test_stopping_the_node_ends_its_processes_and_removes_it(own_control_plane: ControlPlane, namespace: str) -> None:
    web = Workload(own_control_plane, namespace)
    sleeping = deployment(command=["python", "-c", "import time; time.sleep(600)"], args=[], readinessProbe=None)
    sleeping["spec"]["template"]["spec"]["volumes"][0] = {"name": "config", "emptyDir": {}}
    web.apply(sleeping)
    with ProcessNode(own_control_plane.kubeconfig, namespaces=[namespace], name=f"brief-{namespace}") as node:
        assert f"node/{node.name}" in own_control_plane.kubectl("get", "nodes", "-o", "name").stdout
        web.available()
        (process,) = [psutil.Process(pid) for pid in node.pids()]
    assert _ended(process)
    assert node.name not in own_control_plane.kubectl("get", "nodes", "-o", "name").stdout


def test_the_service_account_files_are_written_as_a_kubelet_does(workload: Workload, process_node: ProcessNode) -> None:
    program = """
import json, os, sys, time
print(json.dumps({name: open(os.path.join(sys.argv[1], name)).read() for name in os.listdir(sys.argv[1])}), flush=True)
time.sleep(600)
"""
    place = "/var/run/secrets/kubernetes.io/serviceaccount"
    workload.apply(deployment(command=["python", "-c", program], args=[place], readinessProbe=None))
    workload.available()
    name = workload.pods()[0]["metadata"]["name"]
    written = json.loads(wait_until(lambda: process_node.logs(workload.namespace, name), what="the program's report"))
    assert written["namespace"] == workload.namespace
    assert written["ca.crt"].startswith("-----BEGIN CERTIFICATE-----")
    assert len(written["token"].split(".")) == 3
