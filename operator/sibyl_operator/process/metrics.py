"""The operator's own metrics, in a registry of their own; they implement what the engine and the Lease report to."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.gc_collector import GCCollector
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector

from sibyl_operator import __version__
from sibyl_operator.reconcile.key import Key

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 120.0)
STATUSES = ("True", "False", "Unknown")


class OperatorMetrics:
    """All series of one operator process. Labels are bounded, except by the number of workspaces."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        GCCollector(registry=self.registry)
        self._reconciles = self._counter("sibyl_reconcile", "Passes over a workspace, by result.", ["result"])
        self._duration = self._histogram("sibyl_reconcile_duration_seconds", "How long a pass took.")
        self._depth = self._gauge("sibyl_workqueue_depth", "Workspaces that wait for a worker.")
        self._wait = self._histogram("sibyl_workqueue_wait_seconds", "How long a workspace waited for a worker.")
        self._retries = self._counter("sibyl_workqueue_retries", "Passes that were put off with backoff.")
        self._applies = self._counter("sibyl_apply", "Writes of children, by kind and result.", ["kind", "result"])
        self._events = self._counter("sibyl_watch_events", "Watch events, by kind.", ["kind"])
        self._conditions = self._gauge(
            "sibyl_workspace_condition",
            "1 for the status that a condition has.",
            ["namespace", "name", "type", "status"],
        )
        self._leader = self._gauge("sibyl_leader", "1 while this process leads.")
        self._lag = self._gauge("sibyl_event_loop_lag_seconds", "How late the event loop last woke up.")
        build = self._gauge("sibyl_build_info", "Always 1; the version is in the label.", ["version"])
        build.labels(__version__).set(1)
        self._shown: dict[Key, set[str]] = {}

    def watch_depth(self, depth: Callable[[], float]) -> None:
        """Read the depth of the queue whenever the metrics are."""
        self._depth.set_function(depth)

    def waited(self, seconds: float) -> None:
        """A workspace waited so long for a worker."""
        self._wait.observe(seconds)

    def retried(self) -> None:
        """A pass was put off."""
        self._retries.inc()

    def leads(self, leading: bool) -> None:
        """This process gained or lost the Lease."""
        self._leader.set(leading)

    def lagged(self, seconds: float) -> None:
        """The event loop woke up so late."""
        self._lag.set(seconds)

    def applied(self, kind: str, result: str) -> None:
        """One write of a child."""
        self._applies.labels(kind, result).inc()

    def watched(self, kind: str) -> None:
        """One watch event."""
        self._events.labels(kind).inc()

    def reconciled(self, result: str, seconds: float) -> None:
        """One pass ended."""
        self._reconciles.labels(result).inc()
        self._duration.observe(seconds)

    def conditions(self, key: Key, found: Iterable[tuple[str, str]]) -> None:
        """Show the conditions of a workspace as they are now."""
        now = dict(found)
        self._drop(key, self._shown.get(key, set()) - now.keys())
        for kind, status in now.items():
            for each in STATUSES:
                self._conditions.labels(key.namespace, key.name, kind, each).set(each == status)
        self._shown[key] = set(now)

    def forget(self, key: Key) -> None:
        """The workspace is gone, and its series with it."""
        self._drop(key, self._shown.pop(key, set()))

    def exposition(self) -> bytes:
        """All series in the text format of Prometheus; safe to call from another thread."""
        return generate_latest(self.registry)

    def _drop(self, key: Key, kinds: Iterable[str]) -> None:
        for kind in kinds:
            for status in STATUSES:
                self._conditions.remove(key.namespace, key.name, kind, status)

    def _counter(self, name: str, text: str, labels: Iterable[str] = ()) -> Counter:
        return Counter(name, text, labels, registry=self.registry)

    def _gauge(self, name: str, text: str, labels: Iterable[str] = ()) -> Gauge:
        return Gauge(name, text, labels, registry=self.registry)

    def _histogram(self, name: str, text: str) -> Histogram:
        return Histogram(name, text, buckets=SECONDS, registry=self.registry)
