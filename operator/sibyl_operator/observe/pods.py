"""Facts of runtime pods: what Kubernetes says of them, and what they say themselves on the metrics port."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import aiohttp

from sibyl_operator.kpi.counters import ExpositionError, PodCounters, counters_of, read_families
from sibyl_operator.kpi.targets import PodTotals, totals_of
from sibyl_operator.observed import OUT_OF_MEMORY, PodFacts

Manifest = Mapping[str, Any]
CONFIG_HASH = "sibyl.dev/config-hash"
METRICS_PORT_NAME = "metrics"
LARGEST_ANSWER = 4 * 1024 * 1024
LONGEST_WORDS = 500
LONGEST_HASH = 64
FATAL_LINE = re.compile(r"\b(FATAL|PANIC):  .*")


@dataclass(frozen=True)
class Answers:
    """What a pod said of itself; `error` names the first question that it did not answer."""

    config: Mapping[str, Any] | None = None
    health: Mapping[str, Any] | None = None
    counters: PodCounters | None = None
    totals: PodTotals | None = None
    error: str | None = None


async def ask_pod(session: aiohttp.ClientSession, pod: Manifest) -> Answers:
    """GET /config, /health and /metrics of one pod. Never raises for a pod that fails."""
    address = pod.get("status", {}).get("podIP")
    if not address:
        return Answers(error="it has no address yet")
    base = f"http://{_bracketed(address)}:{_metrics_port(pod)}"
    found: dict[str, Any] = {}
    try:
        for question in ("config", "health"):
            found[question] = _object(await _text(session, f"{base}/{question}"))
        families = read_families(await _text(session, f"{base}/metrics"))
        found |= {"counters": counters_of(families), "totals": totals_of(families)}
    except (TimeoutError, aiohttp.ClientError, ExpositionError, ValueError) as error:
        return Answers(**found, error=f"{base} does not answer: {_reason(error)}")
    return Answers(**found)


async def _text(session: aiohttp.ClientSession, url: str) -> str:
    """A body of a bounded size. A pod is what its image makes of it: it leads us nowhere else, and fills no memory."""
    body = bytearray()
    async with session.get(url, allow_redirects=False) as response:
        async for part in response.content.iter_any():
            body += part
            if len(body) > LARGEST_ANSWER:
                raise ValueError(f"its answer is larger than {LARGEST_ANSWER} bytes")
    return body.decode(errors="replace")


def _object(text: str) -> dict[str, Any]:
    found = json.loads(text)
    if not isinstance(found, dict):
        raise ValueError("its answer is no JSON object")
    return found


def _hash(config: Mapping[str, Any] | None) -> str | None:
    """What a pod gives as its hash, unless it is none: it is shown in the status."""
    found = (config or {}).get("hash")
    return found if isinstance(found, str) and len(found) <= LONGEST_HASH else None


def _reason(error: Exception) -> str:
    """The cause in few words: the library's own text repeats the address and its options."""
    cause = error.os_error if isinstance(error, aiohttp.ClientConnectorError) else error
    return getattr(cause, "strerror", None) or str(cause) or type(cause).__name__


def pod_facts(pod: Manifest, answers: Answers) -> PodFacts:
    """Join both views of one pod."""
    status = pod.get("status", {})
    container = _first_unfinished(status)
    waiting = container.get("state", {}).get("waiting") or {}
    scheduled = _condition(status, "PodScheduled")
    unscheduled = scheduled if scheduled.get("status") == "False" else {}
    return PodFacts(
        name=pod["metadata"]["name"],
        ip=status.get("podIP"),
        ready=_condition(status, "Ready").get("status") == "True",
        terminating="deletionTimestamp" in pod["metadata"],
        template_hash=pod["metadata"].get("annotations", {}).get(CONFIG_HASH),
        loaded_hash=_hash(answers.config),
        health=answers.health,
        waiting_reason=waiting.get("reason") or unscheduled.get("reason"),
        waiting_message=waiting.get("message") or unscheduled.get("message"),
        restarts=container.get("restartCount", 0),
        last_words=_last_words(container),
        error=answers.error,
    )


def _first_unfinished(status: Mapping[str, Any]) -> Mapping[str, Any]:
    """The container that the pod is at: an init container until it has done its work, then the first of the others."""
    for container in status.get("initContainerStatuses", []):
        ended: Mapping[str, Any] | None = container.get("state", {}).get("terminated")
        if (ended is None or ended.get("exitCode") != 0) and not container.get("started"):
            return dict(container)
    return next(iter(status.get("containerStatuses", [])), {})


def _last_words(container: Mapping[str, Any]) -> str | None:
    """Why a container ended, in its own words: a program that cannot start says it in its last line.

    PostgreSQL says it in a line of severity FATAL or PANIC, and then tells how it shuts down.
    """
    terminated = container.get("lastState", {}).get("terminated") or container.get("state", {}).get("terminated") or {}
    if terminated.get("reason") == "OOMKilled":
        # Its own last line knows nothing of it.
        return OUT_OF_MEMORY
    lines = [line.strip() for line in str(terminated.get("message") or "").splitlines() if line.strip()]
    fatal = [found.group() for line in lines if (found := FATAL_LINE.search(line))]
    return next((words[-1][:LONGEST_WORDS] for words in (fatal, lines) if words), None)


def _condition(status: Mapping[str, Any], kind: str) -> Mapping[str, Any]:
    return next((c for c in status.get("conditions", []) if c["type"] == kind), {})


def _metrics_port(pod: Manifest) -> int:
    ports = (port for container in pod["spec"]["containers"] for port in container.get("ports", []))
    return next((port["containerPort"] for port in ports if port.get("name") == METRICS_PORT_NAME), 9090)


def _bracketed(address: str) -> str:
    return f"[{address}]" if ":" in address else address
