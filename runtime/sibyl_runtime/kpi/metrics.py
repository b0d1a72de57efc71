"""What the runtime counts, under the documented metric names.

One registry per application, and every series of a known tool, pipeline, model or cache created at start: a count of
nothing is then a zero that a rate can be taken of, not a gap. What a part cannot tell truthfully (bytes in a Redis that
others use too) is not exported.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from prometheus_client import CollectorRegistry, Counter, ProcessCollector

from sibyl_runtime import errors
from sibyl_runtime.cache import ANSWERS
from sibyl_runtime.kpi.families import Families
from sibyl_runtime.kpi.indicators import Indicators
from sibyl_runtime.kpi.resources import ProcessUse, read_limits
from sibyl_runtime.kpi.warming import WarmingMetrics
from sibyl_runtime.kpi.window import SlidingWindow
from sibyl_runtime.workspace import Kpi

SUCCESS = "success"
ERROR = "error"
CLIENT_ERROR = "client_error"
METHODS = ("GET", "POST")
OTHER_METHOD = "other"
SEMANTIC_CACHE = "semantic"
PROVIDER_FAULTS = (errors.ProviderError.code, errors.Overloaded.code, errors.DeadlineExceeded.code)
SERVICE_FAULTS = (
    *PROVIDER_FAULTS,
    errors.DatabaseUnavailable.code,
    errors.StepFailed.code,
    errors.SibylError.code,
)


@dataclass(frozen=True)
class KnownLabels:
    """The label values known at start. `pipelines` holds step names, `models` the model, each by name."""

    tools: Sequence[str]
    pipelines: Mapping[str, Sequence[str]]
    models: Mapping[str, str]
    vector_store: str
    caches: Sequence[str]
    search_caches: Sequence[str] = ()
    warms: bool = False


class RequestMetrics:
    """HTTP requests to the tools' API; probes and scrapes are not among them."""

    def __init__(self, families: Families, clock: Callable[[], float]) -> None:
        window = self._window = SlidingWindow(60, clock)
        self._active = families.gauge("sibyl_active_requests", "Requests being answered now.").of()
        families.reading("sibyl_requests_per_second", "Requests a second, last minute.", window.per_second)
        families.reading("sibyl_error_rate", "Share answered 5xx, last minute, 0 to 1.", window.failed_share)
        self._total = families.counter("sibyl_mcp_requests_total", "Requests by outcome.", "method", "status")
        self._seconds = families.latency("sibyl_mcp_request_duration_seconds", "Time to answer a request.", "method")
        self._total.create(METHODS, ("200",))
        self._seconds.create(METHODS)

    def started(self) -> None:
        """A request has arrived."""
        self._active.inc()

    def finished(self, method: str, status: int, seconds: float) -> None:
        """A request was answered with `status`."""
        method = method if method in METHODS else OTHER_METHOD
        self._active.dec()
        self._total.of(method, str(status)).inc()
        self._seconds.of(method).observe(seconds)
        self._window.add(failed=status >= 500)


class ToolMetrics:
    """Calls of known tools. A call that the client got wrong is counted, but is neither an error nor timed."""

    def __init__(self, families: Families, tools: Sequence[str]) -> None:
        self._calls = families.counter("sibyl_mcp_tool_calls_total", "Tool calls by outcome.", "tool", "status")
        self._seconds = families.latency("sibyl_mcp_tool_duration_seconds", "Time a tool call took.", "tool")
        self._errors = families.counter("sibyl_mcp_tool_errors_total", "Failed tool calls.", "tool", "error_type")
        self._tokens = families.counter("sibyl_tokens_used_total", "Tokens used by tool calls.").of()
        self._first = families.latency(
            "sibyl_mcp_tool_first_token_seconds", "Time until a streamed answer began.", "tool"
        )
        self._calls.create(tools, (SUCCESS, ERROR, CLIENT_ERROR))
        self._seconds.create(tools)
        self._first.create(tools)
        self._errors.create(tools, (*SERVICE_FAULTS, errors.InvalidParameters.code))

    def answered(self, tool: str, seconds: float, tokens: int) -> None:
        """A tool answered; `tokens` is what its language models read and wrote."""
        self._calls.of(tool, SUCCESS).inc()
        self._seconds.of(tool).observe(seconds)
        if tokens:
            self._tokens.inc(tokens)

    def began(self, tool: str, seconds: float) -> None:
        """The first text of a streamed answer went out, `seconds` after the request came in."""
        self._first.of(tool).observe(seconds)

    def failed(self, tool: str, code: str, status: int, seconds: float) -> None:
        """A call ended in the error `code`, sent as HTTP `status`."""
        client_fault = status < 500
        self._calls.of(tool, CLIENT_ERROR if client_fault else ERROR).inc()
        self._errors.of(tool, code).inc()
        if not client_fault:
            self._seconds.of(tool).observe(seconds)

    def abandoned(self, tool: str, seconds: float) -> None:
        """The client left after `seconds`. Timed: a service too slow to wait for must not look fast."""
        self._calls.of(tool, CLIENT_ERROR).inc()
        self._errors.of(tool, "client_disconnected").inc()
        self._seconds.of(tool).observe(seconds)


class PipelineMetrics:
    """Runs of pipelines and their steps."""

    def __init__(self, families: Families, pipelines: Mapping[str, Sequence[str]]) -> None:
        total = "sibyl_mcp_pipeline_duration_seconds"
        self._runs = families.counter("sibyl_pipeline_executions_total", "Pipeline runs.", "pipeline", "status")
        self._seconds = families.latency("sibyl_pipeline_duration_seconds", "Time a run took.", "pipeline")
        self._steps = families.latency(
            "sibyl_pipeline_step_duration_seconds", "Time a step of a pipeline took.", "pipeline", "step"
        )
        self._all = families.latency(total, "Time a pipeline run took, all pipelines together.").of()
        self._fallbacks = families.counter(
            "sibyl_pipeline_step_fallbacks_total",
            "Steps that did without something that failed, by the error's code.",
            "pipeline", "step", "reason",
        )  # fmt: skip
        for pipeline, steps in pipelines.items():
            self._runs.create((pipeline,), (SUCCESS, ERROR))
            self._seconds.of(pipeline)
            self._steps.create((pipeline,), steps)
            self._fallbacks.create((pipeline,), steps, PROVIDER_FAULTS)

    def finished(self, pipeline: str, status: str, seconds: float) -> None:
        """A pipeline ran to its end (`success`) or failed (`error`)."""
        self._runs.of(pipeline, status).inc()
        self._seconds.of(pipeline).observe(seconds)
        self._all.observe(seconds)

    def step(self, pipeline: str, step: str, seconds: float) -> None:
        """A step took `seconds`."""
        self._steps.of(pipeline, step).observe(seconds)

    def fell_back(self, pipeline: str, step: str, reason: str) -> None:
        """A step did without something that failed with the code `reason`."""
        self._fallbacks.of(pipeline, step, reason).inc()


class ModelMetrics:
    """Calls of language models: how many, how they ended, what they read, wrote and cost."""

    def __init__(self, families: Families, models: Mapping[str, str]) -> None:
        labels = ("provider", "model")
        self._calls = families.counter("sibyl_llm_calls_total", "Language model calls.", *labels, "status")
        self._tokens = families.counter("sibyl_llm_tokens_total", "Tokens read and written.", *labels, "type")
        self._cost = families.counter("sibyl_llm_cost_usd_total", "Cost of answers with a known price.", *labels)
        self._unpriced = families.counter(
            "sibyl_llm_unpriced_calls_total", "Answers whose price is not known, missing from the cost.", *labels
        )
        self._retries = families.counter(
            "sibyl_llm_retries_total", "Requests that were sent to a language model again.", *labels
        )
        for provider, model in models.items():
            self._retries.of(provider, model)
            self._calls.create((provider,), (model,), (SUCCESS, *PROVIDER_FAULTS))
            self._tokens.create((provider,), (model,), ("prompt", "completion"))
            self._cost.of(provider, model)
            self._unpriced.of(provider, model)

    def called(self, provider: str, model: str, status: str) -> None:
        """A model answered (`success`) or failed (the code of the error)."""
        self._calls.of(provider, model, status).inc()

    def retried(self, provider: str, model: str, times: int) -> None:
        """A call took so many attempts more than one, whether it succeeded or not."""
        self._retries.of(provider, model).inc(times)

    def used(self, provider: str, model: str, *, prompt: int, completion: int, cost_usd: Decimal | None) -> None:
        """What one answer took, in tokens and US dollars; None where the price is not known."""
        self._tokens.of(provider, model, "prompt").inc(prompt)
        self._tokens.of(provider, model, "completion").inc(completion)
        if cost_usd is None:
            self._unpriced.of(provider, model).inc()
        else:
            self._cost.of(provider, model).inc(float(cost_usd))


class CacheMetrics:
    """Calls that looked for an answer in the caches, each counted once: by the cache that had it, or as a miss.

    Exported only where a cache of answers is configured.
    """

    def __init__(self, families: Families, caches: Sequence[str]) -> None:
        hits = families.counter("sibyl_cache_hits_total", "Calls answered from a cache.", "cache")
        misses = families.counter("sibyl_cache_misses_total", "Calls that no cache had the answer to.", "cache")
        self._hits = {cache: hits.of(cache) for cache in caches}
        self._missed = misses.of(ANSWERS)
        rate = families.gauge("sibyl_cache_hit_rate", "Hits of this cache among lookups since start, 0 to 1.", "cache")
        for cache, counter in self._hits.items():
            rate.of(cache).set_function(self._share_of([counter]))
        families.reading(
            "sibyl_mcp_cache_hit_rate",
            "Hits among lookups since start, all caches.",
            self._share_of(self._hits.values()),
        )

    def hit(self, cache: str) -> None:
        """A call was answered from this cache."""
        self._hits[cache].inc()

    def missed(self) -> None:
        """A call was answered anew."""
        self._missed.inc()

    def _share_of(self, hits: Collection[Counter]) -> Callable[[], float]:
        def share() -> float:
            asked = sum(map(_value, self._hits.values())) + _value(self._missed)
            return sum(map(_value, hits)) / asked if asked else 0.0

        return share


class SearchCacheMetrics:
    """Lookups of what searches keep. Apart from the answers': one call may look up several times, or not at all."""

    def __init__(self, families: Families, caches: Sequence[str]) -> None:
        self._hits = families.counter("sibyl_search_cache_hits_total", "Parts of a search found in a cache.", "cache")
        self._misses = families.counter(
            "sibyl_search_cache_misses_total", "Parts of a search not found there.", "cache"
        )
        for cache in caches:
            self._hits.of(cache)
            self._misses.of(cache)

    def asked(self, cache: str, *, hit: bool) -> None:
        """A cache was asked for part of a search."""
        (self._hits if hit else self._misses).of(cache).inc()


class RuntimeMetrics:
    """Everything that one runtime counts, in `registry`."""

    def __init__(
        self,
        labels: KnownLabels,
        *,
        latency_buckets: Sequence[float],
        kpis: Sequence[Kpi] = (),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.registry = CollectorRegistry()
        self.families = Families(self.registry, latency_buckets)
        self.requests = RequestMetrics(self.families, clock)
        self.tools = ToolMetrics(self.families, labels.tools)
        self.pipelines = PipelineMetrics(self.families, labels.pipelines)
        self.models = ModelMetrics(self.families, labels.models)
        self.caches = CacheMetrics(self.families, labels.caches) if labels.caches else None
        self.search_caches = SearchCacheMetrics(self.families, labels.search_caches) if labels.search_caches else None
        self.warming = WarmingMetrics(self.families) if labels.warms else None
        self._store = labels.vector_store
        self._operations = self.families.counter(
            "sibyl_vector_store_operations_total", "Operations on the vector store.", "operation", "provider"
        )
        self._operations.of("search", self._store)
        self._rejections = self.families.counter(
            "sibyl_mcp_rate_limit_rejections_total", "Requests refused because their caller asks too often."
        ).of()
        ProcessCollector(registry=self.registry)
        self.indicators = Indicators(kpis, self.registry, ProcessUse(read_limits()), clock=clock)

    def rate_limited(self) -> None:
        """A request was refused because its caller asks too often."""
        self._rejections.inc()

    def store_used(self, operation: str) -> None:
        """The vector store was asked to do `operation`."""
        self._operations.of(operation, self._store).inc()


def _value(counter: Counter) -> float:
    return float(next(iter(counter.collect())).samples[0].value)
