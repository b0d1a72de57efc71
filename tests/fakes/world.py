"""A cluster with a database Secret, an operator that may crash and come back, and watch events between them."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, TypeVar

from sibyl_operator.api.group import API_VERSION, KIND
from sibyl_operator.database.slots import slot_of
from sibyl_operator.desired.names import CONFIG_HASH, MANAGED_BY
from sibyl_operator.kube import Manifest
from sibyl_operator.observed import DatabaseFacts, KpiFacts, PodFacts, ReplicationFacts, SlotFacts
from sibyl_operator.process.metrics import OperatorMetrics
from sibyl_operator.reconcile.cache import ChildCache
from sibyl_operator.reconcile.children import CHILD_KINDS
from sibyl_operator.reconcile.engine import Reconciler
from sibyl_operator.reconcile.key import Key
from sibyl_operator.reconcile.outcome import Outcome
from sibyl_operator.reconcile.queue import Backoff, QueueClosed, WorkQueue
from sibyl_operator.reconcile.triggers import Triggers
from sibyl_runtime.workspace import Kpi
from tests.fakes.cluster import FakeCluster
from tests.fakes.controllers import run_controllers

T = TypeVar("T")

NAMESPACE, NAME = "team", "demo"
KEY = Key(NAMESPACE, NAME)
RUNTIME, CONFIG = "demo-runtime", "demo-config"
HEALTHY_DATABASE = DatabaseFacts(True, None, "18.4", "0.8.5", 1000, 3)
DSN = "postgresql://sibyl:correct-horse@db:5432/sibyl"
DOCUMENT: Mapping[str, Any] = {
    "name": "demo",
    "pipelines": {"search": {"steps": [{"use": "rag.retrieval", "config": {"top_k": 5}}]}},
}


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run to the end on a loop of its own: property tests are not coroutines."""
    with asyncio.Runner() as runner:
        return runner.run(work)


def workspace(spec: Mapping[str, Any] | None = None, **metadata: Any) -> Manifest:
    """A SibylWorkspace that needs a database Secret and nothing else."""
    return {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "metadata": {"name": NAME, "namespace": NAMESPACE, **metadata},
        "spec": {
            "workspace": dict(DOCUMENT),
            "database": {"provider": "External", "external": {"secretRef": {"name": "db"}}},
            **(spec or {}),
        },
    }


def secret(name: str = "db", **data: str) -> Manifest:
    """A Secret as the API server returns it."""
    encoded = {key: base64.b64encode(value.encode()).decode() for key, value in (data or {"dsn": DSN}).items()}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "data": encoded,
    }


def config_map(name: str, **data: str) -> Manifest:
    """A ConfigMap of the user's."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "data": data,
    }


@dataclass
class FakeObserver:
    """Pods that serve what they were started for, and a database that answers."""

    database_facts: DatabaseFacts = HEALTHY_DATABASE
    kpi_facts: KpiFacts | None = None
    replication_facts: ReplicationFacts | None = None
    dsns: list[str] = field(default_factory=list)
    kpis_asked: Sequence[Kpi] = ()
    asked_of_slots: list[tuple[int, bool]] = field(default_factory=list)
    forgotten: list[Key] = field(default_factory=list)

    async def database(self, namespace: str, name: str, dsn: str) -> DatabaseFacts:
        self.dsns.append(dsn)
        return self.database_facts

    async def replication(self, dsn: str, wanted: int, *, drop: bool) -> ReplicationFacts:
        self.dsns.append(dsn)
        self.asked_of_slots.append((wanted, drop))
        return self.replication_facts or ReplicationFacts(
            tuple(SlotFacts(slot_of(number), streaming=True, lost=False, waiting_bytes=0) for number in range(wanted))
        )

    async def pods(self, namespace: str, name: str, pods: Sequence[Mapping[str, Any]]) -> tuple[PodFacts, ...]:
        return tuple(_facts(pod) for pod in pods)

    def kpis(self, namespace: str, name: str, kpis: Sequence[Kpi]) -> KpiFacts | None:
        self.kpis_asked = kpis
        return self.kpi_facts

    def forget(self, namespace: str, name: str) -> None:
        self.forgotten.append(Key(namespace, name))


def _facts(pod: Mapping[str, Any]) -> PodFacts:
    served = pod["metadata"]["annotations"][CONFIG_HASH]
    health = {"checks": {"cache": {"status": "healthy"}}}
    name = pod["metadata"]["name"]
    return PodFacts(name, "10.0.0.1", True, False, template_hash=served, loaded_hash=served, health=health)


class FixedClock:
    """It is always noon."""

    def now(self) -> datetime:
        return datetime(2030, 1, 1, 12, tzinfo=UTC)


@dataclass
class World:
    """One workspace in one cluster. `restart` is what a crash leaves: the cluster, and nothing of the operator."""

    cluster: FakeCluster = field(default_factory=FakeCluster)
    observer: FakeObserver = field(default_factory=FakeObserver)
    metrics: OperatorMetrics = field(default_factory=OperatorMetrics)

    def __post_init__(self) -> None:
        self.restart()

    @classmethod
    def with_workspace(cls, spec: Mapping[str, Any] | None = None) -> World:
        """A world with a workspace that nobody has looked at yet."""
        world = cls()
        world.cluster.put(secret())
        world.cluster.put(workspace(spec))
        return world

    def restart(self) -> None:
        """A new operator process: it knows nothing, and lists before it watches."""
        self.cache = ChildCache()
        self.queue: WorkQueue[Key] = WorkQueue(backoff=Backoff(first=0.0, longest=0.0))
        self.triggers = Triggers(self.queue, self.cache, self.metrics)
        self.engine = Reconciler(self.cluster, self.observer, self.metrics, cache=self.cache, clock=FixedClock())
        self._watched = len(self.cluster.watch_log)

    def change_spec(self, **spec: Any) -> None:
        """What `kubectl apply` of a changed file does; None removes a field."""

        def change(live: Manifest) -> None:
            for name, value in spec.items():
                live["spec"].pop(name, None)
                if value is not None:
                    live["spec"][name] = value

        self.cluster.edit(KIND, NAMESPACE, NAME, change)

    def deliver(self) -> None:
        """Hand the watch events since the last time to the operator."""
        self.hear(self.cluster.watch_log[self._watched :])
        self._watched = len(self.cluster.watch_log)

    def miss(self) -> None:
        """Lose the watch events since the last time."""
        self._watched = len(self.cluster.watch_log)

    def hear(self, events: Sequence[tuple[str, Manifest]]) -> None:
        """Hand over some events, as the label selector of the watch lets them through."""
        for event, manifest in events:
            labels = manifest["metadata"].get("labels") or {}
            watched = manifest["kind"] in CHILD_KINDS
            if watched and labels.get("app.kubernetes.io/managed-by") != MANAGED_BY:
                # An object that leaves the selector looks deleted.
                self.triggers.event("DELETED", manifest)
            elif watched or manifest["kind"] == KIND:
                self.triggers.event(event, manifest)

    async def reconcile(self) -> Outcome:
        """One pass, after hearing the news."""
        self.deliver()
        return await self.engine.reconcile(KEY)

    async def converge(self, most: int = 12) -> Outcome:
        """Passes and the cluster's own controllers in turn, until nothing is written any more."""
        for _ in range(most):
            before = len(self.cluster.writes), len(self.cluster.watch_log)
            outcome = await self.reconcile()
            run_controllers(self.cluster)
            self.deliver()
            if (len(self.cluster.writes), len(self.cluster.watch_log)) == before and not outcome.retry:
                return outcome
        raise AssertionError(f"still writing after {most} passes: {self.cluster.writes[-6:]}")

    async def drain(self) -> None:
        """What the workers do, one key after the other, until the queue is empty."""
        while len(self.queue):
            key = await self.queue.get()
            outcome = await self.engine.reconcile(key)
            self.queue.done(key)
            if outcome.retry:
                self.queue.add(key)
            self.deliver()

    def child(self, kind: str, name: str = RUNTIME) -> Manifest:
        """A child that must exist."""
        live = self.cluster.peek(kind, NAMESPACE, name)
        assert live is not None, f"{kind} {name} does not exist"
        return live

    def condition(self, kind: str) -> dict[str, Any]:
        """A condition of the workspace; empty when it is absent."""
        live = self.cluster.peek(KIND, NAMESPACE, NAME)
        held = ((live or {}).get("status") or {}).get("conditions") or ()
        return next((dict(condition) for condition in held if condition["type"] == kind), {})


__all__ = ["CONFIG", "DSN", "KEY", "NAME", "NAMESPACE", "RUNTIME", "FakeObserver", "QueueClosed", "World", "run"]
