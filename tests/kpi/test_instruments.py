"""The counted seams: they pass everything on, and count what became of it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from dataclasses import replace
from decimal import Decimal
from typing import Any, cast

import numpy as np
import pytest

from sibyl_runtime.errors import Overloaded, ProviderError
from sibyl_runtime.kpi import KnownLabels, MeteredEngine, MeteredLanguageModel, MeteredVectorStore, RuntimeMetrics
from sibyl_runtime.kpi.engine import step_seconds
from sibyl_runtime.pipeline.context import Deadline, Services, StageTiming, StepContext
from sibyl_runtime.providers.protocols import Generation, GenerationRequest
from sibyl_runtime.store.records import Hit, IdRange, Ranking, StoreCounts, VectorStore
from sibyl_runtime.workspace import load_document, parse_workspace

REQUEST = GenerationRequest(question="q", passages=(), prompt="p")
ANSWER = Generation("a", "gpt-4-0613", 100, 20, "stop", cost_usd=Decimal("0.002"))
HIT = Hit(1, "d", "t", "", "c", 0.5, {})
RANKING = Ranking("hybrid", "words")


class Model:
    name = "primary"

    def __init__(self, answer: Callable[[], Awaitable[Generation]]) -> None:
        self._answer = answer
        self.closed = False

    async def generate(self, _: GenerationRequest) -> Generation:
        return await self._answer()

    async def stream(self, _: GenerationRequest) -> AsyncGenerator[str | Generation, None]:
        yield "a"
        yield await self._answer()

    async def check(self) -> None:
        raise Overloaded("checked")

    async def close(self) -> None:
        self.closed = True


class Store:
    def __init__(self) -> None:
        self.asked: list[tuple[str, Any]] = []

    async def fingerprints(self, ids: Any) -> dict[str, dict[str, str]]:
        self.asked.append(("fingerprints", ids))
        return {"d": {"s": "f"}}

    async def replace(self, documents: Any) -> int:
        self.asked.append(("replace", documents))
        return 7

    async def remove_missing(self, source: str, present: Any, within: IdRange) -> int:
        self.asked.append(("remove_missing", (source, present, within)))
        return 3

    async def search(self, _: Any, **settings: Any) -> list[Hit]:
        self.asked.append(("search", settings))
        return [HIT]

    async def ensure_index(self) -> None:
        self.asked.append(("ensure_index", None))

    async def sources(self) -> dict[str, int]:
        return {"s": 1}

    async def counts(self) -> StoreCounts:
        return StoreCounts(1, 2, 3)

    async def check(self) -> None:
        raise Overloaded("checked")

    async def close(self) -> None:
        self.asked.append(("close", None))


@pytest.fixture
def metrics() -> RuntimeMetrics:
    labels = KnownLabels(
        tools=(), pipelines={"search": ("retrieval", "generation")}, models={"primary": "gpt-4"}, vector_store="main",
        caches=(),
    )  # fmt: skip
    return RuntimeMetrics(labels, latency_buckets=(0.1, 1.0))


def value(metrics: RuntimeMetrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(name, labels)


async def test_an_answer_is_counted_under_the_configured_model(metrics: RuntimeMetrics) -> None:
    async def answer() -> Generation:
        return ANSWER

    model = MeteredLanguageModel(Model(answer), "gpt-4", metrics)
    assert await model.generate(REQUEST) is ANSWER
    known = {"provider": "primary", "model": "gpt-4"}
    assert value(metrics, "sibyl_llm_calls_total", **known, status="success") == 1
    assert value(metrics, "sibyl_llm_tokens_total", **known, type="prompt") == 100
    assert value(metrics, "sibyl_llm_tokens_total", **known, type="completion") == 20
    assert value(metrics, "sibyl_llm_cost_usd_total", **known) == 0.002
    assert value(metrics, "sibyl_llm_retries_total", **known) == 0


@pytest.mark.parametrize("succeeds", [True, False])
async def test_every_attempt_after_the_first_is_counted(metrics: RuntimeMetrics, succeeds: bool) -> None:
    async def answer() -> Generation:
        if succeeds:
            return replace(ANSWER, attempts=3)
        raise Overloaded("busy", details={"attempts": 3})

    with contextlib.suppress(Overloaded):
        await MeteredLanguageModel(Model(answer), "gpt-4", metrics).generate(REQUEST)
    assert value(metrics, "sibyl_llm_retries_total", provider="primary", model="gpt-4") == 2


async def test_a_refusal_is_counted_by_its_code_and_passed_on(metrics: RuntimeMetrics) -> None:
    async def refuse() -> Generation:
        raise Overloaded("busy")

    model = MeteredLanguageModel(Model(refuse), "gpt-4", metrics)
    with pytest.raises(Overloaded, match="busy"):
        await model.generate(REQUEST)
    assert value(metrics, "sibyl_llm_calls_total", provider="primary", model="gpt-4", status="overloaded") == 1


async def test_a_call_that_is_broken_off_is_counted_as_that(metrics: RuntimeMetrics) -> None:
    async def hang() -> Generation:
        await asyncio.Event().wait()
        return ANSWER

    task = asyncio.create_task(MeteredLanguageModel(Model(hang), "gpt-4", metrics).generate(REQUEST))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert value(metrics, "sibyl_llm_calls_total", provider="primary", model="gpt-4", status="cancelled") == 1


async def test_a_stream_is_counted_once_when_it_has_ended(metrics: RuntimeMetrics) -> None:
    async def answer() -> Generation:
        return ANSWER

    model = MeteredLanguageModel(Model(answer), "gpt-4", metrics)
    assert [part async for part in model.stream(REQUEST)] == ["a", ANSWER]
    known = {"provider": "primary", "model": "gpt-4"}
    assert value(metrics, "sibyl_llm_calls_total", **known, status="success") == 1
    assert value(metrics, "sibyl_llm_calls_total", **known, status="cancelled") is None
    assert value(metrics, "sibyl_llm_tokens_total", **known, type="prompt") == 100


async def test_a_stream_that_fails_or_is_closed_on_the_way_is_counted_as_that(metrics: RuntimeMetrics) -> None:
    async def refuse() -> Generation:
        raise Overloaded("busy")

    model = MeteredLanguageModel(Model(refuse), "gpt-4", metrics)
    with pytest.raises(Overloaded, match="busy"):
        [part async for part in model.stream(REQUEST)]
    closed = model.stream(REQUEST)
    assert await anext(closed) == "a"
    await closed.aclose()
    known = {"provider": "primary", "model": "gpt-4"}
    assert value(metrics, "sibyl_llm_calls_total", **known, status="overloaded") == 1
    assert value(metrics, "sibyl_llm_calls_total", **known, status="cancelled") == 1
    assert value(metrics, "sibyl_llm_calls_total", **known, status="success") == 0


async def test_a_check_is_no_call(metrics: RuntimeMetrics) -> None:
    async def answer() -> Generation:
        return ANSWER

    inner = Model(answer)
    model = MeteredLanguageModel(inner, "gpt-4", metrics)
    with pytest.raises(Overloaded, match="checked"):
        await model.check()
    await model.close()
    assert inner.closed
    assert value(metrics, "sibyl_llm_calls_total", provider="primary", model="gpt-4", status="overloaded") == 0


async def test_every_operation_of_the_store_is_passed_on_and_counted(metrics: RuntimeMetrics) -> None:
    inner = Store()
    store = MeteredVectorStore(cast("VectorStore", inner), metrics)
    vector = np.zeros(3, dtype=np.float32)
    assert await store.search(vector, top_k=4, ranking=RANKING, threshold=0.1, filters={"a": 1}, timeout=2.0) == [HIT]
    assert await store.replace([]) == 7
    assert await store.remove_missing("s", ["d"], IdRange("c")) == 3
    assert await store.fingerprints(["d"]) == {"d": {"s": "f"}}
    assert await store.sources() == {"s": 1}
    await store.ensure_index()
    assert await store.counts() == StoreCounts(1, 2, 3)
    with pytest.raises(Overloaded):
        await store.check()
    await store.close()
    assert inner.asked == [
        ("search", {"top_k": 4, "ranking": RANKING, "threshold": 0.1, "filters": {"a": 1}, "timeout": 2.0}),
        ("replace", []),
        ("remove_missing", ("s", ["d"], IdRange("c"))),
        ("fingerprints", ["d"]),
        ("ensure_index", None),
        ("close", None),
    ]
    for operation in ("search", "replace", "remove_missing", "fingerprints"):
        labels = {"operation": operation, "provider": "main"}
        assert value(metrics, "sibyl_vector_store_operations_total", **labels) == 1


class Step:
    """A technique that does what the test says."""

    def __init__(self, work: Callable[[], Awaitable[None]]) -> None:
        self._work = work

    @property
    def id(self) -> str:
        return "rag.retrieval"

    @property
    def stage(self) -> str:
        return "retrieve"

    @property
    def merges(self) -> frozenset[str]:
        return frozenset()

    async def run(self, context: StepContext, _: Any) -> Mapping[str, Any]:
        with context.timed("embed"):
            await self._work()
        return {"chunks": [], "count": 0, "avg_score": None, "top_score": None}


async def nothing() -> None:
    pass


async def fail() -> None:
    raise Overloaded("busy")


async def hang() -> None:
    await asyncio.Event().wait()


def engine(work: Callable[[], Awaitable[None]], metrics: RuntimeMetrics) -> MeteredEngine:
    document = "name: docs\npipelines: {search: {steps: [{use: rag.retrieval}]}}\n"
    source = load_document("workspace.yaml", document)
    workspace = parse_workspace(source.raw, environ={})
    services = cast("Services", type("Parts", (), {"workspace": workspace}))
    return MeteredEngine(services, metrics, {"rag.retrieval": Step(work)})


async def test_a_run_is_counted_and_its_steps_are_timed(metrics: RuntimeMetrics) -> None:
    await engine(nothing, metrics).run("search", {"query": "q"}, deadline=Deadline.after(5))
    assert value(metrics, "sibyl_pipeline_executions_total", pipeline="search", status="success") == 1
    assert value(metrics, "sibyl_pipeline_duration_seconds_count", pipeline="search") == 1
    assert value(metrics, "sibyl_pipeline_step_duration_seconds_count", pipeline="search", step="retrieval") == 1


async def test_a_run_with_a_technique_that_stands_in_is_counted_alike(metrics: RuntimeMetrics) -> None:
    deadline = Deadline.after(5)
    await engine(fail, metrics).run("search", {}, deadline=deadline, instead={"rag.retrieval": Step(nothing)})
    assert value(metrics, "sibyl_pipeline_executions_total", pipeline="search", status="success") == 1


async def test_a_run_that_fails_is_counted_as_that(metrics: RuntimeMetrics) -> None:
    with pytest.raises(Overloaded):
        await engine(fail, metrics).run("search", {"query": "q"}, deadline=Deadline.after(5))
    assert value(metrics, "sibyl_pipeline_executions_total", pipeline="search", status="error") == 1
    assert value(metrics, "sibyl_pipeline_executions_total", pipeline="search", status="success") == 0


@pytest.mark.parametrize("after", [nothing, fail])
async def test_a_step_that_fell_back_is_counted_whatever_became_of_the_run(
    after: Callable[[], Awaitable[None]], metrics: RuntimeMetrics
) -> None:
    class FallsBack(Step):
        async def run(self, context: StepContext, config: object) -> Mapping[str, Any]:
            context.fell_back(ProviderError("refused"))
            return await super().run(context, config)

    counted = {"pipeline": "search", "step": "retrieval", "reason": "provider_error"}
    assert value(metrics, "sibyl_pipeline_step_fallbacks_total", **counted) == 0
    with contextlib.suppress(Overloaded):
        stand_in = {"rag.retrieval": FallsBack(after)}
        await engine(nothing, metrics).run("search", {}, deadline=Deadline.after(5), instead=stand_in)
    assert value(metrics, "sibyl_pipeline_step_fallbacks_total", **counted) == 1


async def test_a_run_that_its_caller_gave_up_is_neither_good_nor_bad(metrics: RuntimeMetrics) -> None:
    run = engine(hang, metrics).run("search", {"query": "q"}, deadline=Deadline.after(None))
    task = asyncio.create_task(run)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert value(metrics, "sibyl_pipeline_executions_total", pipeline="search", status="cancelled") == 1
    assert value(metrics, "sibyl_pipeline_executions_total", pipeline="search", status="error") == 0


def test_the_stages_of_a_step_add_up_and_a_skipped_step_has_no_time() -> None:
    stages = (
        StageTiming("search", "retrieval", "embed", 0.25),
        StageTiming("search", "retrieval", "retrieve", 0.5),
        StageTiming("search", "generation", "generate", 0.0, skipped=True),
    )
    assert step_seconds(stages) == {"retrieval": 0.75}
