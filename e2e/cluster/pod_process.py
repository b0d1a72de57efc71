"""One pod as a local process: started, probed, restarted and ended as a kubelet would do it.

Nothing here blocks: the node calls `tick` several times a second and sends `status` when it has changed.
"""

from __future__ import annotations

from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from e2e.cluster.container_process import ContainerProcess, Exit
from e2e.cluster.errors import ClusterError, StartError
from e2e.cluster.loopback import LoopbackAddress
from e2e.cluster.pod_launch import PodLauncher
from e2e.cluster.pod_spec import PROBES, NotStartableError, Pod, container_of, container_ports
from e2e.cluster.pod_status import (
    NODE_ADDRESS,
    ContainerFacts,
    Running,
    State,
    Transitions,
    Waiting,
    ends_for_good,
    pod_status,
)
from e2e.cluster.probes import Prober, ProbeRecord, ProbeSpec

# A kubelet waits 10 s, doubling to 300 s; a test should see several restarts in seconds.
_BACKOFF_FIRST, _BACKOFF_MOST = 0.5, 5.0
_BACKOFF_FORGOTTEN_AFTER = 30.0
_RETRY_SECONDS = 0.5


@dataclass(frozen=True)
class PodPlace:
    """What the node gives a pod: an address, a log file and threads for its probes."""

    address: LoopbackAddress
    log: Path
    executor: Executor


class PodProcess:
    """The life of one pod on this node. All times are seconds since the epoch."""

    def __init__(self, pod: Pod, launcher: PodLauncher, place: PodPlace, now: float) -> None:
        self.pod: Pod = pod
        self._launcher = launcher
        self._place = place
        self._began = now
        self._state: State = Waiting("ContainerCreating")
        self._process: ContainerProcess | None = None
        self._last_exit: Exit | None = None
        self._restarts = 0
        self._backoff = _BACKOFF_FIRST
        self._next_start = now
        self._probers: dict[str, Prober] = {}
        self._terminating = False
        self._transitions = Transitions()

    @property
    def pid(self) -> int | None:
        """The process id while the container runs."""
        return self._process.pid if self._process else None

    @property
    def ended(self) -> bool:
        """Whether a pod that is being deleted has no process any more."""
        return self._terminating and self._process is None

    def begin_deletion(self, now: float, grace: float) -> None:
        """The pod is being deleted: the preStop sleep, SIGTERM, and SIGKILL after `grace` seconds in all.

        Safe to call again; a shorter grace than before takes effect.
        """
        self._terminating = True
        if self._process is not None:
            sleep = container_of(self.pod).get("lifecycle", {}).get("preStop", {}).get("sleep", {})
            self._process.begin_stop(now, grace=grace, delay=sleep.get("seconds", 0))

    def tick(self, now: float) -> None:
        """Do what is due: take note of an exit, start, ask a probe, restart what fails its liveness probe."""
        if self._process is not None:
            exit_ = self._process.poll(now)
            if exit_ is not None:
                self._note_exit(exit_)
            else:
                self._probe(now)
        if self._process is None and not self._terminating and self._may_start(now):
            self._start(now)

    def status(self, now: float) -> dict[str, Any]:
        """The pod's status as a strategic merge patch."""
        return pod_status(self.pod, self._place.address.address, self._began, self._facts(), self._transitions, now)

    def close(self) -> None:
        """End the process if it still runs, and give back the address."""
        if self._process is not None:
            self._process.kill()
            self._process = None
        self._place.address.release()

    def _located_pod(self) -> Pod:
        """The pod with its addresses, which the API server learns only after the start."""
        return {**self.pod, "status": {"podIP": self._place.address.address, "hostIP": NODE_ADDRESS}}

    def _may_start(self, now: float) -> bool:
        if isinstance(self._state, Exit):
            if ends_for_good(self._state, self._restart_policy):
                return False
            self._state = Waiting(
                "CrashLoopBackOff",
                f"back-off {self._next_start - now:.1f}s restarting failed container={container_of(self.pod)['name']} "
                f"pod={self.pod['metadata']['name']}_{self.pod['metadata']['namespace']}",
            )
        return now >= self._next_start

    def _start(self, now: float) -> None:
        self._next_start = now + _RETRY_SECONDS
        try:
            launch = self._launcher.launch(self._located_pod())
            self._probers = self._new_probers(now)
            self._process = ContainerProcess(launch, self._place.log, now)
        except NotStartableError as error:
            self._state = Waiting(error.reason, str(error))
        except StartError as error:
            self._state = Waiting("RunContainerError", str(error))
        except ClusterError as error:  # the API server refused a ConfigMap, a Secret or a token
            self._state = Waiting("CreateContainerConfigError", str(error))
        else:
            self._state = Running(now)
            self._restarts += 1 if self._last_exit else 0

    def _note_exit(self, exit_: Exit) -> None:
        self._process = None
        self._state = self._last_exit = exit_
        if exit_.finished - exit_.started > _BACKOFF_FORGOTTEN_AFTER:
            self._backoff = _BACKOFF_FIRST
        self._next_start = exit_.finished + self._backoff
        self._backoff = min(2 * self._backoff, _BACKOFF_MOST)

    def _new_probers(self, now: float) -> dict[str, Prober]:
        container, address = container_of(self.pod), self._place.address.address
        ports = container_ports(self.pod)
        return {
            kind: Prober(
                ProbeRecord(ProbeSpec.of(container[kind], address, ports), begins=now, passing=kind == "livenessProbe"),
                self._place.executor,
            )
            for kind in PROBES
            if container.get(kind)
        }

    def _probe(self, now: float) -> None:
        """The startup probe alone until it has passed; then readiness always, liveness unless the pod is ending."""
        startup = self._probers.get("startupProbe")
        if startup is not None and not startup.record.passing:
            startup.tick(now)
            self._restart_if_failed("Startup", startup, now)
            return
        for kind in ("readinessProbe", "livenessProbe"):
            prober = self._probers.get(kind)
            if prober is not None and not (kind == "livenessProbe" and self._terminating):
                prober.tick(now)
        liveness = self._probers.get("livenessProbe")
        if liveness is not None:
            self._restart_if_failed("Liveness", liveness, now)

    def _restart_if_failed(self, kind: str, prober: Prober, now: float) -> None:
        if prober.record.failed and self._process is not None and not self._process.stopping:
            with self._place.log.open("a") as log:
                log.write(f"[process node] {kind} probe failed: {prober.record.message}; restarting the container\n")
            self._process.begin_stop(now, grace=self.pod["spec"].get("terminationGracePeriodSeconds", 30))

    def _facts(self) -> ContainerFacts:
        running = isinstance(self._state, Running)
        started = running and self._passing("startupProbe")
        ready = started and self._passing("readinessProbe")
        return ContainerFacts(
            state=self._state,
            last_exit=self._last_exit,
            restarts=self._restarts,
            started=started,
            ready=ready,
            probe_message=self._probe_message(),
            uid=self.pod["metadata"]["uid"],
        )

    def _passing(self, kind: str) -> bool:
        prober = self._probers.get(kind)
        return prober is None or prober.record.passing

    def _probe_message(self) -> str:
        """The last failure of the probe that keeps the pod from being ready."""
        for kind in ("startupProbe", "readinessProbe"):
            prober = self._probers.get(kind)
            if prober is not None and not prober.record.passing and prober.record.message:
                return f"{kind}: {prober.record.message}"
        return ""

    @property
    def _restart_policy(self) -> str:
        return str(self.pod["spec"].get("restartPolicy", "Always"))
