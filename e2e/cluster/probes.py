"""HTTP probes as a kubelet runs them: a pure record of answers, and a thin shell that asks."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field
from typing import Any

import httpx

from e2e.cluster.pod_spec import NotStartableError


@dataclass(frozen=True)
class ProbeSpec:
    """One `httpGet` probe. Times are in seconds."""

    url: str
    headers: Mapping[str, str] = field(default_factory=dict)
    initial_delay: float = 0.0
    period: float = 10.0
    timeout: float = 1.0
    failure_threshold: int = 3
    success_threshold: int = 1

    @classmethod
    def of(cls, probe: Mapping[str, Any], address: str, ports: Mapping[str, int]) -> ProbeSpec:
        """Read a probe of a container that listens on `address`. Raises NotStartableError for an unknown port name."""
        action = probe["httpGet"]
        path = "/" + action.get("path", "/").removeprefix("/")
        return cls(
            url=f"{action.get('scheme', 'HTTP').lower()}://{address}:{_port(action['port'], ports)}{path}",
            headers={header["name"]: header["value"] for header in action.get("httpHeaders") or ()},
            initial_delay=probe.get("initialDelaySeconds", 0),
            period=probe.get("periodSeconds", 10),
            timeout=probe.get("timeoutSeconds", 1),
            failure_threshold=probe.get("failureThreshold", 3),
            success_threshold=probe.get("successThreshold", 1),
        )


class ProbeRecord:
    """What the answers so far mean. `passing` changes only when a threshold is reached."""

    def __init__(self, spec: ProbeSpec, *, begins: float, passing: bool) -> None:
        """`begins` is the time from which on the probe's initial delay counts; `passing` is the initial verdict."""
        self.spec = spec
        self.passing = passing
        self.failed = False
        self.message = ""
        self._next = begins + spec.initial_delay
        self._same_answers = 0
        self._last_answer: bool | None = None

    def due(self, now: float) -> bool:
        """Whether it is time to ask; a `True` counts as having asked."""
        if now < self._next:
            return False
        self._next = now + self.spec.period
        return True

    def record(self, answer: str | None) -> None:
        """Count an answer: None is a success, a text is the reason of a failure. `failed` says a threshold was met."""
        success = answer is None
        self._same_answers = self._same_answers + 1 if success == self._last_answer else 1
        self._last_answer = success
        self.message = answer or ""
        if success and self._same_answers >= self.spec.success_threshold:
            self.passing, self.failed = True, False
        if not success and self._same_answers >= self.spec.failure_threshold:
            self.passing, self.failed = False, True


class Prober:
    """Asks on other threads, so that a server that hangs holds up nothing but its own probe."""

    def __init__(self, record: ProbeRecord, executor: Executor) -> None:
        self.record = record
        self._executor = executor
        self._asked: Future[str | None] | None = None

    def tick(self, now: float) -> None:
        """Take the answer that has come, and ask again when it is time."""
        if self._asked is not None:
            if not self._asked.done():
                return
            self.record.record(self._asked.result())
            self._asked = None
        if self.record.due(now):
            self._asked = self._executor.submit(ask, self.record.spec)


def ask(spec: ProbeSpec) -> str | None:
    """GET the probe's URL: None for a status from 200 to 399, otherwise what went wrong."""
    headers = {"User-Agent": "kube-probe/1.36", **spec.headers}
    try:
        with httpx.Client(verify=False, trust_env=False, timeout=spec.timeout) as client:
            answer = client.get(spec.url, headers=headers)
    except httpx.HTTPError as error:
        return f"Get {spec.url}: {error or type(error).__name__}"
    if 200 <= answer.status_code < 400:
        return None
    return f"HTTP probe failed with statuscode: {answer.status_code}"


def _port(port: int | str, ports: Mapping[str, int]) -> int:
    if isinstance(port, int):
        return port
    if port in ports:
        return ports[port]
    if port.isdigit():
        return int(port)
    known = ", ".join(ports) or "none"
    raise NotStartableError("CreateContainerConfigError", f"probe port {port!r} has no container port; known: {known}")
