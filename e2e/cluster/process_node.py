"""A node whose pods are processes of this host: a Deployment really runs, without a kubelet, a container or root.

The node takes every pod that nobody has placed, gives it a loopback address, and runs its one container as a process
with the environment, files, probes and restarts of a kubelet. What it cannot honour it refuses, in the pod's status.
What only a real node can show stays out of reach: images, resource limits, security contexts, Services and DNS.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType

from e2e.cluster.errors import ClusterError
from e2e.cluster.kube_rest import ApiError, ApiUnreachableError, KubeRest, Object
from e2e.cluster.loopback import LoopbackRange
from e2e.cluster.node_object import NodeObject
from e2e.cluster.pod_config import ApiConfigReader
from e2e.cluster.pod_launch import HostPrograms, PodLauncher
from e2e.cluster.pod_process import PodPlace, PodProcess
from e2e.cluster.pod_spec import Pod, container_ports, key_of
from e2e.cluster.work_directory import WorkDirectory

_log = logging.getLogger(__name__)

_PERIOD_SECONDS = 0.25
_PROBE_THREADS = 8
_STOP_GRACE_SECONDS = 5.0

PodKey = tuple[str, str, str]


class ProcessNode:
    """`with ProcessNode(cluster.kubeconfig, programs={"sibyl": path}) as node: ...`"""

    def __init__(
        self,
        kubeconfig: Path,
        *,
        programs: Mapping[str, Path] | None = None,
        entrypoint: Sequence[str] = (),
        namespaces: Collection[str] | None = None,
        name: str = "process-node",
    ) -> None:
        """`kubeconfig` has all rights. `namespaces` limits the node to some; None means all.

        `programs` maps the first word of a container's command to a program of the host; other words are looked up
        on PATH. `entrypoint` is the command of containers that give none.
        """
        self.name = name
        self._api = KubeRest.from_kubeconfig(kubeconfig, user_agent="process-node")
        self._node = NodeObject(self._api, name)
        self._hosts = HostPrograms(dict(programs or {}), tuple(entrypoint), self._api.server)
        self._lists = ["/api/v1/pods"] if namespaces is None else [f"/api/v1/namespaces/{n}/pods" for n in namespaces]
        self._pods: dict[PodKey, PodProcess] = {}
        self._sent: dict[PodKey, Object] = {}
        self._addresses = LoopbackRange()
        self._work: WorkDirectory | None = None
        self._executor = ThreadPoolExecutor(_PROBE_THREADS, thread_name_prefix="probe")
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._stopping = threading.Event()
        self._last_problem = ""

    def __enter__(self) -> ProcessNode:
        try:
            self.start()
        except BaseException:  # Ctrl-C included
            self.stop()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.stop()

    def start(self) -> None:
        """Register the node and begin to take pods. Raises ApiError, ApiUnreachableError."""
        self._work = WorkDirectory("node")
        (self._work.path / "logs").mkdir()
        self._node.register(time.time())
        self._thread.start()

    def stop(self) -> None:
        """End every process (SIGTERM, then SIGKILL), delete the pods and the node. Safe to call again.

        A Ctrl-C meanwhile only makes it quicker.
        """
        self._stopping.set()
        if self._work is None:
            return
        try:
            if self._thread.is_alive():
                self._thread.join()
            self._end_all()
        finally:
            for key in list(self._pods):
                self._forget(key)
            self._executor.shutdown(cancel_futures=True)
            self._api.close()
            self._work.remove()
            self._work = None

    def logs(self, namespace: str, pod: str) -> str:
        """All that a pod has written so far, over all its restarts; also after it was deleted."""
        path = self._log_path(namespace, pod)
        return path.read_text(errors="replace") if path.exists() else ""

    def pid(self, namespace: str, pod: str) -> int | None:
        """The process id of a pod, None while it has no process."""
        return next((run.pid for key, run in list(self._pods.items()) if key[:2] == (namespace, pod)), None)

    def pids(self) -> list[int]:
        """The ids of all processes that run now."""
        return [run.pid for run in list(self._pods.values()) if run.pid is not None]

    def _run(self) -> None:
        while not self._stopping.wait(_PERIOD_SECONDS):
            try:
                self._tick(time.time())
            except (ApiError, ApiUnreachableError) as problem:
                self._warn(str(problem))

    def _tick(self, now: float) -> None:
        self._node.keep_alive(now)
        present: set[PodKey] = set()
        for pod in self._listed():
            if pod["spec"].get("nodeName", self.name) != self.name:
                continue
            present.add(key_of(pod))
            try:
                if "nodeName" in pod["spec"]:
                    self._attend(pod, now)
                else:
                    self._bind(pod)
            except ApiError as problem:  # about this pod alone: the others go on
                self._warn(f"pod {'/'.join(key_of(pod)[:2])}: {problem}")
        for key in set(self._pods) - present:
            self._forget(key)

    def _warn(self, problem: str) -> None:
        if problem != self._last_problem:  # once, not four times a second
            _log.warning("process node %s: %s", self.name, problem)
        self._last_problem = problem

    def _listed(self) -> list[Pod]:
        return [pod for path in self._lists for pod in self._api.get(path)["items"]]

    def _bind(self, pod: Pod) -> None:
        if pod["spec"].get("schedulingGates"):
            return
        namespace, name, uid = key_of(pod)
        target = {"apiVersion": "v1", "kind": "Node", "name": self.name}
        metadata = {"name": name, "namespace": namespace, "uid": uid}
        binding = {"apiVersion": "v1", "kind": "Binding", "metadata": metadata, "target": target}
        try:
            self._api.post(f"{_pod_path(pod)}/binding", binding)
        except ApiError as error:
            if error.code not in (404, 409):  # deleted, or placed by somebody else, since it was listed
                raise

    def _attend(self, pod: Pod, now: float) -> None:
        """Carry one pod a step further and report what changed."""
        key = key_of(pod)
        if key not in self._pods:
            run = self._begin(pod, now)
            if run is None:
                return
            self._pods[key] = run
        run = self._pods[key]
        run.pod = pod
        if "deletionTimestamp" in pod["metadata"]:
            run.begin_deletion(now, pod["metadata"].get("deletionGracePeriodSeconds", 0))
        run.tick(now)
        if run.ended:
            self._delete(pod)
            self._forget(key)
        else:
            self._report(run, key, now)

    def _begin(self, pod: Pod, now: float) -> PodProcess | None:
        if pod.get("status", {}).get("phase") in ("Succeeded", "Failed"):
            return None
        namespace, name, uid = key_of(pod)
        try:
            address = self._addresses.claim(set(container_ports(pod).values()))
        except ClusterError as problem:
            self._warn(f"pod {namespace}/{name} waits: {problem}")
            return None
        reader = ApiConfigReader(self._api, namespace)
        launcher = PodLauncher(reader, self._hosts, self._directory / uid, address.address)
        return PodProcess(pod, launcher, PodPlace(address, self._log_path(namespace, name), self._executor), now)

    def _report(self, run: PodProcess, key: PodKey, now: float) -> None:
        status = run.status(now)
        if status == self._sent.get(key):
            return
        body = {"metadata": {"uid": key[2]}, "status": status}
        try:
            self._api.patch(f"{_pod_path(run.pod)}/status", body)
        except ApiError as error:
            if error.code not in (404, 409):  # gone, or another pod of this name, since it was listed
                raise
            return
        self._sent[key] = status

    def _delete(self, pod: Pod) -> None:
        options = {"gracePeriodSeconds": 0, "preconditions": {"uid": key_of(pod)[2]}}
        try:
            self._api.delete(_pod_path(pod), {"apiVersion": "v1", "kind": "DeleteOptions", **options})
        except ApiError as error:
            if error.code not in (404, 409):
                raise

    def _forget(self, key: PodKey) -> None:
        run = self._pods.pop(key)
        self._sent.pop(key, None)
        run.close()

    def _end_all(self) -> None:
        """SIGTERM to all, a few seconds for all together, then the rest. The pods go with their node."""
        deadline = time.time() + _STOP_GRACE_SECONDS
        for run in self._pods.values():
            run.begin_deletion(time.time(), _STOP_GRACE_SECONDS)
        while any(not run.ended for run in self._pods.values()) and time.time() < deadline:
            for run in self._pods.values():
                run.tick(time.time())
            time.sleep(0.05)
        for key, run in list(self._pods.items()):
            self._forget(key)
            try:
                self._delete(run.pod)
            except (ApiError, ApiUnreachableError):  # the control plane may have ended first
                continue
        self._node.remove()

    @property
    def _directory(self) -> Path:
        if self._work is None:
            raise ClusterError("the process node is not running: use it inside `with`")
        return self._work.path

    def _log_path(self, namespace: str, pod: str) -> Path:
        return self._directory / "logs" / f"{namespace}_{pod}.log"


def _pod_path(pod: Pod) -> str:
    return f"/api/v1/namespaces/{pod['metadata']['namespace']}/pods/{pod['metadata']['name']}"
