"""The documented names and labels, as Prometheus reads them."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

import pytest
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from sibyl_runtime.kpi import EmbeddingCollector, FaissCollector, KnownLabels, PoolCollector, RuntimeMetrics

BUCKETS = (0.005, 0.1, 1.0, 3.0)
Labels = Mapping[str, str]


def labels(*, caches: tuple[str, ...] = ("answer",)) -> KnownLabels:
    return KnownLabels(
        tools=("search_documents",),
        pipelines={"search": ("retrieval", "generation")},
        models={"primary": "gpt-4o-mini"},
        vector_store="main",
        caches=caches,
    )


class Scrape:
    """One scrape, by sample name and labels."""

    def __init__(self, metrics: RuntimeMetrics) -> None:
        text = generate_latest(metrics.registry).decode()
        self.samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]

    def value(self, name: str, **wanted: str) -> float | None:
        found = [s.value for s in self.samples if s.name == name and dict(s.labels) == wanted]
        return found[0] if found else None

    def names(self) -> set[str]:
        return {sample.name for sample in self.samples}


@pytest.fixture
def metrics() -> RuntimeMetrics:
    return RuntimeMetrics(labels(), latency_buckets=BUCKETS)


ZEROS: list[tuple[str, Labels]] = [
    ("sibyl_mcp_tool_calls_total", {"tool": "search_documents", "status": "success"}),
    ("sibyl_mcp_tool_calls_total", {"tool": "search_documents", "status": "error"}),
    ("sibyl_mcp_tool_calls_total", {"tool": "search_documents", "status": "client_error"}),
    ("sibyl_mcp_tool_duration_seconds_count", {"tool": "search_documents"}),
    ("sibyl_mcp_tool_errors_total", {"tool": "search_documents", "error_type": "deadline_exceeded"}),
    ("sibyl_mcp_requests_total", {"method": "POST", "status": "200"}),
    ("sibyl_mcp_request_duration_seconds_count", {"method": "POST"}),
    ("sibyl_mcp_cache_hit_rate", {}),
    ("sibyl_mcp_pipeline_duration_seconds_count", {}),
    ("sibyl_pipeline_executions_total", {"pipeline": "search", "status": "error"}),
    ("sibyl_pipeline_duration_seconds_count", {"pipeline": "search"}),
    ("sibyl_pipeline_step_duration_seconds_count", {"pipeline": "search", "step": "generation"}),
    ("sibyl_llm_calls_total", {"provider": "primary", "model": "gpt-4o-mini", "status": "success"}),
    ("sibyl_llm_tokens_total", {"provider": "primary", "model": "gpt-4o-mini", "type": "prompt"}),
    ("sibyl_llm_cost_usd_total", {"provider": "primary", "model": "gpt-4o-mini"}),
    ("sibyl_vector_store_operations_total", {"operation": "search", "provider": "main"}),
    ("sibyl_cache_hits_total", {"cache": "answer"}),
    ("sibyl_cache_misses_total", {"cache": "answer"}),
    ("sibyl_cache_hit_rate", {"cache": "answer"}),
    ("sibyl_active_requests", {}),
    ("sibyl_requests_per_second", {}),
    ("sibyl_error_rate", {}),
    ("sibyl_tokens_used_total", {}),
]


@pytest.mark.parametrize(("name", "wanted"), ZEROS, ids=lambda value: value if isinstance(value, str) else "")
def test_before_the_first_request_every_known_series_is_zero(
    metrics: RuntimeMetrics, name: str, wanted: Labels
) -> None:
    assert Scrape(metrics).value(name, **wanted) == 0.0


def test_without_a_cache_its_metrics_are_not_exported() -> None:
    names = Scrape(RuntimeMetrics(labels(caches=()), latency_buckets=BUCKETS)).names()
    assert not {name for name in names if "cache" in name}


def test_each_bucket_is_an_exact_edge(metrics: RuntimeMetrics) -> None:
    edges = [
        sample.labels["le"]
        for sample in Scrape(metrics).samples
        if sample.name == "sibyl_mcp_tool_duration_seconds_bucket"
    ]
    assert edges == ["0.005", "0.1", "1.0", "3.0", "+Inf"]


def test_an_answer_counts_its_call_its_time_and_its_tokens(metrics: RuntimeMetrics) -> None:
    metrics.tools.answered("search_documents", 0.05, tokens=120)
    scrape = Scrape(metrics)
    assert scrape.value("sibyl_mcp_tool_calls_total", tool="search_documents", status="success") == 1
    assert scrape.value("sibyl_mcp_tool_duration_seconds_bucket", tool="search_documents", le="0.1") == 1
    assert scrape.value("sibyl_tokens_used_total") == 120


@pytest.mark.parametrize(
    ("status", "outcome", "timed"), [(503, "error", 1.0), (504, "error", 1.0), (400, "client_error", 0.0)]
)
def test_a_refused_request_is_no_error_of_the_service_and_its_time_says_nothing(
    metrics: RuntimeMetrics, status: int, outcome: str, timed: float
) -> None:
    metrics.tools.failed("search_documents", "some_code", status, 0.05)
    scrape = Scrape(metrics)
    assert scrape.value("sibyl_mcp_tool_calls_total", tool="search_documents", status=outcome) == 1
    assert scrape.value("sibyl_mcp_tool_errors_total", tool="search_documents", error_type="some_code") == 1
    assert scrape.value("sibyl_mcp_tool_duration_seconds_count", tool="search_documents") == timed


def test_a_client_that_gave_up_leaves_the_time_it_waited(metrics: RuntimeMetrics) -> None:
    metrics.tools.abandoned("search_documents", 2.0)
    scrape = Scrape(metrics)
    assert scrape.value("sibyl_mcp_tool_duration_seconds_bucket", tool="search_documents", le="1.0") == 0
    assert scrape.value("sibyl_mcp_tool_duration_seconds_bucket", tool="search_documents", le="3.0") == 1
    error_type = "client_disconnected"
    assert scrape.value("sibyl_mcp_tool_errors_total", tool="search_documents", error_type=error_type) == 1


def test_a_cost_that_is_not_known_is_counted_as_unknown(metrics: RuntimeMetrics) -> None:
    known = {"provider": "primary", "model": "gpt-4o-mini"}
    metrics.models.used("primary", "gpt-4o-mini", prompt=10, completion=2, cost_usd=Decimal("0.0003"))
    metrics.models.used("primary", "gpt-4o-mini", prompt=10, completion=2, cost_usd=None)
    scrape = Scrape(metrics)
    assert scrape.value("sibyl_llm_cost_usd_total", **known) == pytest.approx(0.0003)
    assert scrape.value("sibyl_llm_unpriced_calls_total", **known) == 1
    assert scrape.value("sibyl_llm_tokens_total", **known, type="prompt") == 20


def test_the_hit_rate_is_hits_among_lookups(metrics: RuntimeMetrics) -> None:
    assert metrics.caches is not None
    for hit in (True, True, True, False):
        metrics.caches.hit("answer") if hit else metrics.caches.missed()
    scrape = Scrape(metrics)
    assert scrape.value("sibyl_cache_hit_rate", cache="answer") == 0.75
    assert scrape.value("sibyl_mcp_cache_hit_rate") == 0.75


def test_a_strange_method_does_not_make_a_series_of_its_own(metrics: RuntimeMetrics) -> None:
    metrics.requests.started()
    metrics.requests.finished("BREW", 405, 0.001)
    assert Scrape(metrics).value("sibyl_mcp_requests_total", method="other", status="405") == 1


def test_active_requests_go_up_and_down(metrics: RuntimeMetrics) -> None:
    metrics.requests.started()
    metrics.requests.started()
    metrics.requests.finished("POST", 200, 0.001)
    assert Scrape(metrics).value("sibyl_active_requests") == 1


def test_a_pipeline_and_its_steps_are_timed(metrics: RuntimeMetrics) -> None:
    metrics.pipelines.finished("search", "success", 0.5)
    metrics.pipelines.step("search", "retrieval", 0.002)
    scrape = Scrape(metrics)
    assert scrape.value("sibyl_pipeline_executions_total", pipeline="search", status="success") == 1
    assert scrape.value("sibyl_mcp_pipeline_duration_seconds_sum") == 0.5
    retrieval = {"pipeline": "search", "step": "retrieval", "le": "0.005"}
    assert scrape.value("sibyl_pipeline_step_duration_seconds_bucket", **retrieval) == 1


def test_the_pool_and_the_embedding_queue_are_read_when_asked(metrics: RuntimeMetrics) -> None:
    pool = {"pool_size": 4, "pool_available": 1, "requests_waiting": 2, "requests_queued": 9, "requests_wait_ms": 1500}
    queue = {"query_queue_depth": 3, "document_queue_depth": 1, "queries": 7, "query_wait_seconds": 0.25}
    metrics.registry.register(PoolCollector(lambda: pool))
    metrics.registry.register(EmbeddingCollector(lambda: queue))
    scrape = Scrape(metrics)
    assert scrape.value("sibyl_database_connections_active") == 3
    assert scrape.value("sibyl_database_connections_idle") == 1
    assert scrape.value("sibyl_database_connection_wait_seconds_total") == 1.5
    assert scrape.value("sibyl_embed_queue_depth", lane="query") == 3
    assert scrape.value("sibyl_embed_queue_wait_seconds_total") == 0.25


def test_a_faiss_index_is_told_and_nothing_of_one_where_there_is_none(metrics: RuntimeMetrics) -> None:
    figures = {"pool_size": 4}
    metrics.registry.register(FaissCollector(lambda: figures))
    assert "sibyl_faiss" not in generate_latest(metrics.registry).decode()
    figures |= {"faiss_rows": 7, "faiss_bytes": 900, "faiss_standing_in": 1, "faiss_updates": 2}
    scrape = Scrape(metrics)
    assert scrape.value("sibyl_faiss_index_bytes") == 900
    assert scrape.value("sibyl_faiss_index_chunks") == 7
    assert scrape.value("sibyl_faiss_index_standing_in") == 1
    assert scrape.value("sibyl_faiss_index_updates_total") == 2


def test_two_runtimes_in_one_process_do_not_share_counts() -> None:
    first, second = (RuntimeMetrics(labels(), latency_buckets=BUCKETS) for _ in range(2))
    first.store_used("search")
    wanted = {"operation": "search", "provider": "main"}
    assert Scrape(first).value("sibyl_vector_store_operations_total", **wanted) == 1
    assert Scrape(second).value("sibyl_vector_store_operations_total", **wanted) == 0


def test_the_process_itself_is_measured(metrics: RuntimeMetrics) -> None:
    names = Scrape(metrics).names()
    assert {"process_resident_memory_bytes", "process_cpu_seconds_total", "process_start_time_seconds"} <= names
