"""Figures that other parts keep themselves, read when Prometheus asks: pool, embedding queue, tasks, cache."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from typing import Protocol, runtime_checkable

from prometheus_client import Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from sibyl_runtime.cache import Cache

Stats = Callable[[], Mapping[str, float]]


@runtime_checkable
class KeepsStats(Protocol):
    """A part that counts for itself, in the manner of psycopg_pool's get_stats()."""

    def stats(self) -> Mapping[str, float]:
        """Figures by name."""


class PoolCollector(Collector):
    """The database pool. `stats` gives psycopg_pool's figures."""

    def __init__(self, stats: Stats) -> None:
        self._stats = stats

    def collect(self) -> Iterable[Metric]:
        """Connections in use, idle and waited for; and what waiting has cost so far."""
        stats = self._stats()
        idle, size = stats.get("pool_available", 0), stats.get("pool_size", 0)
        yield GaugeMetricFamily("sibyl_database_connections_active", "Connections in use.", value=size - idle)
        yield GaugeMetricFamily("sibyl_database_connections_idle", "Open connections not in use.", value=idle)
        yield GaugeMetricFamily(
            "sibyl_database_connections_waiting",
            "Requests waiting for a connection.",
            value=stats.get("requests_waiting", 0),
        )
        yield CounterMetricFamily(
            "sibyl_database_connection_waits_total",
            "Requests that had to wait for a connection.",
            value=stats.get("requests_queued", 0),
        )
        yield CounterMetricFamily(
            "sibyl_database_connection_wait_seconds_total",
            "Time that requests waited for a connection.",
            value=stats.get("requests_wait_ms", 0) / 1000,
        )


class FaissCollector(Collector):
    """The FAISS index of this process; nothing for a store that has none."""

    def __init__(self, stats: Stats) -> None:
        self._stats = stats

    def collect(self) -> Iterable[Metric]:
        """What it takes and holds, and whether it is the one that was asked for."""
        stats = self._stats()
        if "faiss_bytes" not in stats:
            return
        for name, text, figure in (
            ("sibyl_faiss_index_bytes", "Memory of the FAISS index, in bytes.", "faiss_bytes"),
            ("sibyl_faiss_index_chunks", "Chunks in the FAISS index.", "faiss_rows"),
            (
                "sibyl_faiss_index_standing_in",
                "1 while every vector is compared because the index that was asked for is not there yet.",
                "faiss_standing_in",
            ),
        ):
            yield GaugeMetricFamily(name, text, value=stats[figure])
        yield CounterMetricFamily(
            "sibyl_faiss_index_updates_total", "Changes of the collection taken over.", value=stats["faiss_updates"]
        )


class EmbeddingCollector(Collector):
    """The embedding thread. Queries go before documents, so that only the wait of queries is the service's latency."""

    def __init__(self, stats: Stats) -> None:
        self._stats = stats

    def collect(self) -> Iterable[Metric]:
        """Depth of both queues; queries, and the time that they waited and took."""
        stats = self._stats()
        depth = GaugeMetricFamily("sibyl_embed_queue_depth", "Texts waiting to be embedded.", labels=["lane"])
        for lane in ("query", "document"):
            depth.add_metric([lane], stats.get(f"{lane}_queue_depth", 0))
        yield depth
        for name, text, figure in (
            ("sibyl_embed_queries_total", "Queries embedded.", "queries"),
            ("sibyl_embed_queries_refused_total", "Queries refused because the queue was full.", "queries_refused"),
            ("sibyl_embed_queue_wait_seconds_total", "Time that queries waited.", "query_wait_seconds"),
            ("sibyl_embed_seconds_total", "Time that embedding queries took.", "query_seconds"),
        ):
            yield CounterMetricFamily(name, text, value=stats.get(figure, 0))
        for name, text, figure in (
            ("sibyl_embed_tokens_total", "Tokens that a remote model counted.", "tokens"),
            ("sibyl_embed_cost_usd_total", "What they cost, where the price is known, in US dollars.", "cost_usd"),
        ):
            if figure in stats:
                yield CounterMetricFamily(name, text, value=stats[figure])


class CacheLevelCollector(Collector):
    """The levels behind each cache: a miss in memory may still be a hit in Redis, and an error is a miss."""

    def __init__(self, caches: Mapping[str, Cache]) -> None:
        """`caches` by the kind of what they keep."""
        self._caches = caches

    def collect(self) -> Iterable[Metric]:
        """Lookups of each level; what it holds and has pushed out, where it can tell."""
        labels = ["cache", "level"]
        lookups = CounterMetricFamily(
            "sibyl_cache_level_lookups_total", "Lookups in each level.", labels=[*labels, "result"]
        )
        entries = GaugeMetricFamily("sibyl_cache_entries", "Entries kept.", labels=labels)
        size = GaugeMetricFamily("sibyl_cache_size_bytes", "Bytes of the entries kept.", labels=labels)
        evictions = CounterMetricFamily(
            "sibyl_cache_evictions_total", "Entries that made room for others before their time.", labels=labels
        )
        for kind, cache in self._caches.items():
            for level, stats in cache.stats().items():
                for result, count in (("hit", stats.hits), ("miss", stats.misses), ("error", stats.errors)):
                    lookups.add_metric([kind, level, result], count)
                for family, figure in (
                    (entries, stats.entries),
                    (size, stats.size_bytes),
                    (evictions, stats.evictions),
                ):
                    if figure is not None:
                        family.add_metric([kind, level], figure)
        yield from (lookups, entries, size, evictions)


class TaskCollector(Collector):
    """The tasks of the event loop. When nothing is asked of the server, their number is always the same."""

    def collect(self) -> Iterable[Metric]:
        """Nothing where no loop runs, as in a thread of its own."""
        try:
            tasks = asyncio.all_tasks()
        except RuntimeError:
            return
        yield GaugeMetricFamily("sibyl_event_loop_tasks", "Tasks that have not ended.", value=len(tasks))
