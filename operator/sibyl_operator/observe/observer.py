"""The thin shell around the indicators: it owns the HTTP session, the clock and the windows of all workspaces."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import Any, Self

import aiohttp

from sibyl_operator.database.probe import probe_database
from sibyl_operator.database.slots import tend_slots
from sibyl_operator.kpi.targets import PodTotals, Targets
from sibyl_operator.kpi.window import KpiWindow, Scrape
from sibyl_operator.observe.pods import Answers, ask_pod, pod_facts
from sibyl_operator.observed import DatabaseFacts, KpiFacts, PodFacts, ReplicationFacts
from sibyl_runtime.workspace import Kpi

Manifest = Mapping[str, Any]
Key = tuple[str, str]


@dataclass(frozen=True)
class _Scraped:
    """What the pods that answered had counted at `at`, by uid, of the `existing` ones."""

    at: float
    totals: Mapping[str, PodTotals]
    existing: frozenset[str]


@dataclass
class _Memory:
    """What is remembered of one workspace between reconciles."""

    window: KpiWindow
    expected: int = 0
    scraped: int = 0
    targets: Targets = field(default_factory=Targets)
    latest: _Scraped | None = None
    database: tuple[float, bytes, DatabaseFacts] | None = None


@dataclass
class Observer:
    """Asks pods and databases. All durations in seconds.

    A database in good order is asked again after `database_interval`; one that is not, at the next reconcile.
    """

    window: float = 300.0
    pod_timeout: float = 2.0
    database_timeout: float = 5.0
    database_interval: float = 15.0
    wall_clock: Callable[[], float] = time.time
    _memory: dict[Key, _Memory] = field(default_factory=dict)
    _session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=self.pod_timeout))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()

    async def database(self, namespace: str, name: str, dsn: str) -> DatabaseFacts:
        """What the workspace's PostgreSQL is; recent good news is not asked for again."""
        memory = self._of(namespace, name)
        now = self.wall_clock()
        digest = hashlib.sha256(dsn.encode()).digest()
        if memory.database is not None:
            asked_at, asked_digest, facts = memory.database
            if facts.vector_version is not None and asked_digest == digest and now - asked_at < self.database_interval:
                return facts
        facts = await probe_database(dsn, timeout=self.database_timeout)
        memory.database = (now, digest, facts)
        return facts

    async def replication(self, dsn: str, wanted: int, *, drop: bool) -> ReplicationFacts:
        """What the primary keeps for its read replicas; `drop` lets it keep nothing for those that are not wanted."""
        return await tend_slots(dsn, wanted, drop=drop, timeout=self.database_timeout)

    async def pods(self, namespace: str, name: str, pods: Sequence[Manifest]) -> tuple[PodFacts, ...]:
        """Ask every pod of the workspace at once, and remember what it counted."""
        memory = self._of(namespace, name)
        answers = await asyncio.gather(*(self._ask(pod) for pod in pods))
        at = self.wall_clock()
        for pod, answer in zip(pods, answers, strict=True):
            if answer.counters is not None:
                memory.window.add(pod["metadata"]["uid"], Scrape(at, answer.counters))
        uids = [pod["metadata"]["uid"] for pod in pods]
        totals = {uid: answer.totals for uid, answer in zip(uids, answers, strict=True) if answer.totals is not None}
        memory.latest = _Scraped(at, totals, frozenset(uids))
        facts = tuple(pod_facts(pod, answer) for pod, answer in zip(pods, answers, strict=True))
        memory.expected = sum(1 for fact in facts if not fact.terminating)
        memory.scraped = sum(
            1 for fact, answer in zip(facts, answers, strict=True) if answer.counters and not fact.terminating
        )
        return facts

    def kpis(self, namespace: str, name: str, kpis: Sequence[Kpi]) -> KpiFacts | None:
        """The indicators as of the last `pods`, and `kpis` of the document over windows of their own.

        To be asked after each `pods`. None before anything could be measured.
        """
        memory = self._of(namespace, name)
        found = memory.window.indicators(pods_scraped=memory.scraped, pods_expected=memory.expected)
        if memory.latest is None:
            return found
        latest = memory.latest
        targets = memory.targets.measure(kpis, latest.at, latest.totals, latest.existing)
        return None if found is None else replace(found, targets=targets)

    def forget(self, namespace: str, name: str) -> None:
        """The workspace is gone."""
        self._memory.pop((namespace, name), None)

    def _of(self, namespace: str, name: str) -> _Memory:
        return self._memory.setdefault((namespace, name), _Memory(KpiWindow(self.window)))

    async def _ask(self, pod: Manifest) -> Answers:
        if self._session is None:
            raise RuntimeError("Observer is used outside its context")
        return await ask_pod(self._session, pod)
