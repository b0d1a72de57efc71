"""The life of a workspace: read, gather, decide, apply, observe, report. Level-triggered and idempotent.

Nothing is carried from one pass to the next but caches that may be lost at any moment, so a crash between any two calls
is mended by the next pass.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol

from sibyl_operator.api.conditions import conditions, invalid_conditions
from sibyl_operator.api.group import KIND
from sibyl_operator.api.images import DefaultImages
from sibyl_operator.api.resource import InvalidResource, WorkspaceResource, read_resource
from sibyl_operator.api.status import invalid_status, status
from sibyl_operator.desired import config_hash, desired, names_of
from sibyl_operator.desired.names import COMPONENT_LABEL, RUNTIME
from sibyl_operator.kube import KubeApi, Manifest
from sibyl_operator.observe.pods import Answers, pod_facts
from sibyl_operator.observed import DatabaseFacts, KpiFacts, Observed, PodFacts, ReplicationFacts
from sibyl_operator.reconcile.cache import ChildCache
from sibyl_operator.reconcile.children import Children, Written
from sibyl_operator.reconcile.clock import Clock, SystemClock
from sibyl_operator.reconcile.gather import Sources, read_sources
from sibyl_operator.reconcile.intervals import Intervals
from sibyl_operator.reconcile.key import Key
from sibyl_operator.reconcile.outcome import Outcome, Result
from sibyl_operator.reconcile.ownership import owned_by
from sibyl_operator.reconcile.report import Reporter
from sibyl_operator.reconcile.telemetry import Telemetry
from sibyl_runtime.workspace import Kpi


class Observer(Protocol):
    """Asks what really runs; see `sibyl_operator.observe`."""

    async def database(self, namespace: str, name: str, dsn: str) -> DatabaseFacts:
        """What the database is; never raises for one that fails."""
        ...

    async def replication(self, dsn: str, wanted: int, *, drop: bool) -> ReplicationFacts:
        """What a primary keeps for its read replicas, less what it need not; never raises for one that fails."""
        ...

    async def pods(self, namespace: str, name: str, pods: Sequence[Mapping[str, Any]]) -> tuple[PodFacts, ...]:
        """What the pods say of themselves; never raises for one that fails."""
        ...

    def kpis(self, namespace: str, name: str, kpis: Sequence[Kpi]) -> KpiFacts | None:
        """The indicators as of the last `pods`, and the document's own `kpis` against their targets."""
        ...

    def forget(self, namespace: str, name: str) -> None:
        """The workspace is gone."""
        ...


class Reconciler:
    """One pass over one workspace at a time; never two over the same one at once."""

    def __init__(
        self,
        api: KubeApi,
        observer: Observer,
        telemetry: Telemetry,
        *,
        cache: ChildCache | None = None,
        clock: Clock | None = None,
        intervals: Intervals | None = None,
        images: DefaultImages | None = None,
    ) -> None:
        self._api = api
        self._observer = observer
        self._telemetry = telemetry
        self._cache = ChildCache() if cache is None else cache
        self._clock = clock or SystemClock()
        self._intervals = intervals or Intervals()
        self._images = images or DefaultImages()
        self._children = Children(api, self._cache, telemetry)
        self._reporter = Reporter(api, telemetry)

    async def reconcile(self, key: Key) -> Outcome:
        """Bring one workspace and what is said of it up to date. Raises KubeError when that could not be done."""
        body = await self._api.get(KIND, *key)
        if body is None or "deletionTimestamp" in body["metadata"]:
            return self._forget(key)
        resource = read_resource(body, self._images)
        if isinstance(resource, InvalidResource):
            return await self._refuse(key, body, resource)
        return await self._converge(key, body, resource)

    async def _converge(self, key: Key, body: Manifest, resource: WorkspaceResource) -> Outcome:
        sources = await read_sources(self._api, resource)
        await self._children.read(key)
        written = Written(sources.conflicts, sources.errors)
        unapplied: tuple[str, ...] = ()
        if resource.spec.suspend:
            unapplied = self._children.unapplied(key, resource.uid, desired(resource, sources.facts))
        elif not written:
            manifests = desired(resource, sources.facts)
            written += await self._children.apply(key, resource.uid, manifests)
            written += await self._children.prune(key, resource.uid, manifests)
        observed = await self._observe(key, resource, sources, written, unapplied)
        found = conditions(observed)
        now = self._clock.now()
        told = status(observed, found, now)
        await self._reporter.report(key, body, told)
        return self._outcome(written, told["conditions"], now)

    async def _refuse(self, key: Key, body: Manifest, invalid: InvalidResource) -> Outcome:
        """Leave the children as they are; only a new generation can help."""
        found = invalid_conditions(invalid)
        await self._reporter.report(key, body, invalid_status(invalid, found, self._clock.now()))
        return Outcome("stalled")

    def _forget(self, key: Key) -> Outcome:
        """Garbage collection follows the ownerReferences; there is nothing to do but to forget."""
        self._cache.forget(key)
        self._observer.forget(*key)
        self._reporter.forget(key)
        return Outcome("gone")

    async def _observe(
        self, key: Key, resource: WorkspaceResource, sources: Sources, written: Written, unapplied: tuple[str, ...]
    ) -> Observed:
        pods = await self._pods(key, resource)
        database, answers = await asyncio.gather(
            self._database(key, sources.dsn), self._observer.pods(*key, pods.get(RUNTIME, ()))
        )
        children = self._cache.children(key)
        replication = await self._replication(resource, sources.replication_dsn, database)
        return Observed(
            resource=resource,
            sources=sources.facts,
            children={identity: live for identity, live in children.items() if owned_by(live, resource.uid)},
            conflicts=written.conflicts,
            apply_errors=written.errors,
            unapplied=unapplied,
            database=database,
            pods=answers,
            service_pods={
                component: tuple(pod_facts(pod, Answers()) for pod in found)
                for component, found in pods.items()
                if component != RUNTIME
            },
            kpis=self._observer.kpis(*key, resource.document.kpis),
            replication=replication,
            config_hash=config_hash(resource),
        )

    async def _pods(self, key: Key, resource: WorkspaceResource) -> dict[str, list[Manifest]]:
        """The pods of the workspace by component."""
        found: dict[str, list[Manifest]] = {}
        for pod in await self._api.list("Pod", key.namespace, labels=names_of(resource).members()):
            found.setdefault(pod["metadata"]["labels"].get(COMPONENT_LABEL, RUNTIME), []).append(pod)
        return found

    async def _database(self, key: Key, dsn: str | None) -> DatabaseFacts | None:
        return None if dsn is None else await self._observer.database(*key, dsn)

    async def _replication(
        self, resource: WorkspaceResource, dsn: str | None, database: DatabaseFacts | None
    ) -> ReplicationFacts | None:
        if dsn is None or database is None or not database.reachable:
            return None
        wanted, suspended = resource.spec.database.read_replicas or 0, resource.spec.suspend
        return await self._observer.replication(dsn, wanted, drop=not suspended)

    def _outcome(self, written: Written, found: Sequence[Mapping[str, Any]], now: datetime) -> Outcome:
        held = {condition["type"]: condition for condition in found}
        if any(error.transient for error in written.errors):
            return Outcome("error", retry=True)
        if written.errors:
            return Outcome("stalled", self._intervals.blocked)
        results: tuple[tuple[bool, Result, float], ...] = (
            ("Paused" in held, "paused", self._intervals.scrape),
            ("Stalled" in held, "stalled", self._intervals.scrape),
            (held["Ready"]["status"] == "True", "ready", self._intervals.scrape),
        )
        for holds, result, seconds in results:
            if holds:
                return Outcome(result, seconds)
        waited = now - datetime.fromisoformat(held["Ready"]["lastTransitionTime"])
        patient = waited.total_seconds() < self._intervals.patience
        return Outcome("waiting", self._intervals.waiting if patient else self._intervals.scrape)
