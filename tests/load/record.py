"""What the clients of a load saw, and how a server that is left alone again looks from outside."""

from __future__ import annotations

import math
import urllib.request
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

import psutil
from prometheus_client.parser import text_string_to_metric_families

from tests.support.sibyl import Serving

MEGABYTE = 1_000_000


@dataclass
class Record:
    """Filled by all clients of one load. `seconds` are those of whole answers, `faults` what no client may see."""

    statuses: Counter[int] = field(default_factory=Counter)
    answered: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    """What has the status 200 and says inside that there is no place: results of MCP, last events of streams."""
    left: Counter[str] = field(default_factory=Counter)
    cut: int = 0
    """Streams of slow readers that the deadline ended."""
    seconds: list[float] = field(default_factory=list)
    faults: Counter[str] = field(default_factory=Counter)

    def quantile(self, share: float) -> float:
        """Of the whole answers, by nearest rank, in seconds; infinite when there was none."""
        ordered = sorted(self.seconds) or [math.inf]
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))]

    def lines(self) -> list[str]:
        """For people."""
        return [
            f"requests   {sum(self.statuses.values()):,} answered: {_listed(self.statuses)}",
            f"answers    {_listed(self.answered)}; p50 {self.quantile(0.5):.3f} s, p95 {self.quantile(0.95):.3f} s",
            f"refused    with status 200: {_listed(self.refused) or 'none'}",
            f"left       {_listed(self.left)}; {self.cut} slow streams cut by the deadline",
            f"faults     {_listed(self.faults) or 'none'}",
        ]


@dataclass(frozen=True)
class Held:
    """What a server holds at one moment."""

    resident: int
    """Bytes."""
    descriptors: int
    threads: int
    tasks: int
    requests: int
    connections: int
    """Of clients."""
    database_active: int
    database_idle: int
    database_waiting: int

    @property
    def at_rest(self) -> bool:
        """Nothing is being answered, and nobody is connected."""
        return not (self.requests or self.connections or self.database_active or self.database_waiting)

    def __str__(self) -> str:
        return (
            f"{self.resident / MEGABYTE:.0f} MB resident, {self.descriptors} file descriptors, {self.threads} threads, "
            f"{self.tasks} tasks, database connections {self.database_active} active, {self.database_idle} idle, "
            f"{self.database_waiting} waited for"
        )


def held(server: Serving) -> Held:
    """Asks the server's metrics and the kernel."""
    seen = metrics(server)
    process = psutil.Process(server.process.pid)
    return Held(
        resident=process.memory_info().rss,
        descriptors=process.num_fds(),
        threads=process.num_threads(),
        tasks=int(seen["sibyl_event_loop_tasks"]),
        requests=int(seen["sibyl_active_requests"]),
        connections=int(seen["sibyl_mcp_active_connections"]),
        database_active=int(seen["sibyl_database_connections_active"]),
        database_idle=int(seen["sibyl_database_connections_idle"]),
        database_waiting=int(seen["sibyl_database_connections_waiting"]),
    )


def metrics(server: Serving) -> Mapping[str, float]:
    """The series without labels, by name. The connection is closed each time: it must not count."""
    with urllib.request.urlopen(f"{server.watch}/metrics", timeout=10) as response:
        families = text_string_to_metric_families(response.read().decode())
    return {sample.name: sample.value for family in families for sample in family.samples if not sample.labels}


def _listed(counts: Mapping[int, int] | Mapping[str, int]) -> str:
    return ", ".join(f"{number:,} {name}" for name, number in sorted(counts.items(), key=lambda item: str(item[0])))
