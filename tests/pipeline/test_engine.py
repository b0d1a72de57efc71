"""The engine: order, conditions, settings, deadlines, and the place of every failure."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from blockbuster import blockbuster_ctx

from sibyl_runtime.errors import DeadlineExceeded, InvalidParameters, NotFound, Overloaded, StepFailed
from sibyl_runtime.pipeline.asking import Answered
from sibyl_runtime.pipeline.context import Deadline, StepContext
from sibyl_runtime.pipeline.engine import PipelineEngine
from sibyl_runtime.techniques import REGISTRY, load_documents
from sibyl_runtime.workspace import TECHNIQUES
from sibyl_runtime.workspace.comparison import ConditionError, compare
from sibyl_runtime.workspace.result_kinds import SAMPLES, Kind
from tests.support.parts import Parts, ScriptedModel

TEXT = "Pools hold connections."
QUERY = {"type": "string"}
AROUND_A_SEARCH = ("query_processing", "retrieval", "augmentation")


async def stocked(parts: Parts, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(TEXT)
    await parts.ingest(tmp_path)


def searching(**generation: object) -> dict[str, Any]:
    """A document whose search pipeline has these settings for its generation step."""
    steps = [{"use": "rag.retrieval"}, {"use": "ai_generation.generation", **generation}]
    parameters: dict[str, Any] = {"query": QUERY}
    if "${deep}" in str(generation):
        parameters["deep"] = {"type": "boolean", "default": False}
    return {"pipelines": {"search": {"steps": steps, "parameters": parameters}}}


class Broken:
    """A technique with a fault of its own."""

    id = "rag.retrieval"
    stage = "retrieve"
    merges: frozenset[str] = frozenset()

    def __init__(self, error: Exception) -> None:
        self.error = error

    async def run(self, context: StepContext, config: object) -> Mapping[str, Any]:
        with context.timed("retrieve"):
            raise self.error


def test_every_technique_that_the_contract_calls_available_is_there() -> None:
    available = {spec.id for spec in TECHNIQUES.values() if spec.available}
    assert set(REGISTRY) == available
    assert {technique.id: technique for technique in REGISTRY.values()} == dict(REGISTRY)


async def test_a_technique_that_stands_in_does_so_for_one_run(parts: Parts, tmp_path: Path) -> None:
    await stocked(parts, tmp_path)
    engine = PipelineEngine(parts.services())
    broken = {"rag.retrieval": Broken(Overloaded("standing in"))}
    with pytest.raises(Overloaded, match="standing in"):
        await engine.run("search", {"query": "pools"}, deadline=Deadline.after(None), instead=broken)
    result = await engine.run("search", {"query": "pools"}, deadline=Deadline.after(None))
    assert result.results["retrieval"]["count"] == 1


class Remembering:
    """A technique that keeps the settings of each run."""

    id = "rag.retrieval"
    stage = "retrieve"
    merges: frozenset[str] = frozenset()

    def __init__(self) -> None:
        self.seen: list[Any] = []

    async def run(self, context: StepContext, config: object) -> Mapping[str, Any]:
        self.seen.append(config)
        return {"chunks": []}


@pytest.mark.parametrize(("written", "found", "same"), [(3, [3, 3], True), ("${top_k}", [1, 2], False)])
async def test_settings_are_worked_out_once_where_no_parameter_can_change_them(
    parts: Parts, written: object, found: list[int], same: bool
) -> None:
    given = {"type": "integer", "required": True}
    steps = [{"use": "rag.retrieval", "condition": "${top_k} > 0", "config": {"top_k": written}}]
    parts.document = {"pipelines": {"find": {"steps": steps, "parameters": {"top_k": given}}}}
    step = Remembering()
    engine = PipelineEngine(parts.services(), {step.id: step})
    for top_k in (1, 2):
        await engine.run("find", {"top_k": top_k}, deadline=Deadline.after(None))
    assert [config.top_k for config in step.seen] == found
    assert (step.seen[0] is step.seen[1]) is same


async def kept(_: str, __: Mapping[str, Any], ___: Deadline) -> Answered:
    return Answered("found")


def compares_alike(value: object, sample: object) -> bool:
    """Whether a condition takes both for values of one kind."""
    try:
        compare(value, "==", sample)
    except ConditionError:
        return False
    return True


async def test_results_have_the_fields_that_the_contract_promises(parts: Parts, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(TEXT)
    ingested = await parts.run("ingest", path=str(tmp_path))
    answered = await parts.run("search", query="pools")
    with_reranking = {"steps": [{"use": "rag.retrieval"}, {"use": "rag.reranking", "config": {"subtechnique": "bm25"}}]}
    parts.document = {
        "providers": {"llm": {"default": {"kind": "openai", "model": "m", "base_url": "http://127.0.0.1:9/v1"}}},
        "pipelines": {
            "around": {"steps": [{"use": f"rag.{name}"} for name in AROUND_A_SEARCH]},
            "find": with_reranking,
            "judge": {"steps": [{"use": "infrastructure.query_classifier"}]},
            "warm": {"steps": [{"use": "infrastructure.cache_warming", "config": {"queries": ["pools"]}}]},
        },
        "shops": {"infrastructure": {"config": {"caching": {"enabled": True}}}},
    }
    parts.models = {"default": ScriptedModel()}
    others = [await parts.run(name, query="pools", ask=kept) for name in ("around", "find", "judge", "warm")]
    runs = [ingested, answered, *others]
    promised = {spec.short: spec.results for spec in TECHNIQUES.values() if spec.available}
    given = {step: result for run in runs for step, result in run.results.items()}
    assert {step: set(result) for step, result in given.items()} == {
        step: set(kinds) for step, kinds in promised.items()
    }
    for step, kinds in promised.items():
        for name, kind in kinds.items():
            # A run that has ended shows of a stream how much it was.
            seen = Kind.NUMBER if kind is Kind.STREAM else kind
            assert given[step][name] is None or compares_alike(given[step][name], SAMPLES[seen]), (step, name, kind)
    assert ingested.results["store_vectors"] == {"documents": 1, "chunks": 1, "unchanged": 0, "removed": 0}
    assert ingested.results["chunking"] == {"chunks": 1, "count": 1}
    assert [timing.stage for timing in ingested.stages] == ["load", "chunk", "embed", "store"]
    assert sum(timing.seconds for timing in ingested.stages) <= ingested.seconds


async def test_an_unknown_pipeline_is_not_found(parts: Parts) -> None:
    with pytest.raises(NotFound, match="there is no pipeline `serach`; known: ingest, search"):
        await parts.run("serach")


@pytest.mark.parametrize(
    ("condition", "runs"),
    [
        ("${retrieval.count} > 0", True),
        ("${retrieval.avg_score} < -0.5", False),
        ("${retrieval.top_score} >= ${retrieval.avg_score} and ${deep}", False),
        ("not ${deep}", True),
        ("${deep}", False),
    ],
)
async def test_a_condition_decides_whether_a_step_runs(
    parts: Parts, tmp_path: Path, condition: str, runs: bool
) -> None:
    await stocked(parts, tmp_path)
    parts.document = searching(condition=condition)
    result = await parts.run("search", query="pools")
    assert ("generation" in result.results) is runs
    assert [(timing.step, timing.stage, timing.skipped) for timing in result.stages][-1] == (
        "generation",
        "generate",
        not runs,
    )


async def test_a_condition_without_a_value_is_an_error_and_never_true(parts: Parts) -> None:
    steps = [
        {"use": "rag.retrieval"},
        {"use": "rag.reranking", "config": {"subtechnique": "diversity"}},
        {"use": "ai_generation.generation", "condition": "${reranking.model} < 'm'"},
    ]
    parts.document = {"pipelines": {"search": {"steps": steps, "parameters": {"query": QUERY}}}}
    with pytest.raises(StepFailed) as caught:
        await parts.run("search", query="pools")
    assert caught.value.message == (
        "step `generation` of pipeline `search` has a `condition` that cannot be evaluated: "
        "\"${reranking.model} < 'm'\": cannot compare null < text; both sides must be numbers, or both text; "
        "test it for null first, with `... != null and`"
    )
    assert caught.value.details == {"pipeline": "search", "step": "generation"}


async def test_a_count_that_nobody_has_counted_is_an_error_in_a_condition(parts: Parts, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(TEXT)
    steps: list[dict[str, Any]] = [
        {"use": "data.load_documents", "config": {"path": str(tmp_path)}}, {"use": "rag.chunking"},
        {"use": "rag.embedding"}, {"use": "data.store_vectors", "condition": "1 > 2"},
        {"use": "rag.retrieval", "condition": "${load_documents.count} > 0"},
    ]  # fmt: skip
    parts.document = {"pipelines": {"ingest": {"steps": steps, "parameters": {"query": QUERY}}}}
    with pytest.raises(StepFailed, match='step "load_documents" has no "count"'):
        await parts.run("ingest", query="pools")


async def test_a_parameter_that_does_not_fit_a_step_is_the_callers_error(parts: Parts) -> None:
    with pytest.raises(InvalidParameters, match="top_k: must be") as caught:
        await parts.run("search", query="pools", top_k=100_000)
    assert caught.value.details["problems"][0]["parameter"] == "top_k"


async def test_an_unexpected_fault_is_named_with_its_place(parts: Parts) -> None:
    fault = KeyError("secret")
    engine = PipelineEngine(parts.services(), {**REGISTRY, "rag.retrieval": Broken(fault)})
    with pytest.raises(StepFailed, match=r"step `retrieval` of pipeline `search` failed: KeyError: 'secret'") as caught:
        await engine.run("search", {"query": "x"}, deadline=Deadline.after(None))
    assert caught.value.__cause__ is fault
    assert caught.value.details == {"pipeline": "search", "step": "retrieval"}


async def test_a_timeout_that_is_not_ours_is_a_fault_and_no_deadline(parts: Parts) -> None:
    engine = PipelineEngine(parts.services(), {**REGISTRY, "rag.retrieval": Broken(TimeoutError("a socket's"))})
    with pytest.raises(StepFailed, match="failed: TimeoutError: a socket's"):
        await engine.run("search", {"query": "x"}, deadline=Deadline.after(30))


async def test_what_is_raised_on_purpose_passes_through(parts: Parts) -> None:
    refused = Overloaded("full", retry_after=2)
    engine = PipelineEngine(parts.services(), {**REGISTRY, "rag.retrieval": Broken(refused)})
    with pytest.raises(Overloaded) as caught:
        await engine.run("search", {"query": "x"}, deadline=Deadline.after(None))
    assert caught.value is refused


async def test_a_technique_that_is_not_there_is_refused_by_name(parts: Parts) -> None:
    engine = PipelineEngine(parts.services(), {})
    with pytest.raises(StepFailed, match=r"uses `rag\.retrieval`, which is not available in this version"):
        await engine.run("search", {"query": "x"}, deadline=Deadline.after(None))


async def forever() -> None:
    await asyncio.Event().wait()


@pytest.mark.parametrize(
    ("part", "stage", "step"),
    [("embedder", "embed", "retrieval"), ("store", "retrieve", "retrieval"), ("model", "generate", "generation")],
)
async def test_a_deadline_names_the_stage_of_a_search_that_hangs(
    parts: Parts, tmp_path: Path, part: str, stage: str, step: str
) -> None:
    await stocked(parts, tmp_path)
    model = ScriptedModel()
    parts.models = {"default": model}
    hanging: Any = {"embedder": parts.embedder, "store": parts.store, "model": model}[part]
    hanging.before = forever
    with pytest.raises(DeadlineExceeded, match=f"the deadline of 0.2 s passed in stage `{stage}`") as caught:
        await parts.run("search", query="pools", deadline=Deadline.after(0.2))
    assert caught.value.details == {
        "stage": stage, "step": step, "pipeline": "search", "deadline_seconds": 0.2,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("hanging", "stage", "step"),
    [
        ("fingerprints", "chunk", "chunking"),
        ("embed", "embed", "embedding"),
        ("replace", "store", "store_vectors"),
        ("remove", "store", "store_vectors"),
    ],
)
async def test_a_deadline_names_the_stage_of_an_ingest_that_hangs(
    parts: Parts, tmp_path: Path, hanging: str, stage: str, step: str
) -> None:
    (tmp_path / "a.txt").write_text(TEXT)
    calls = 0
    hangs_at = {"fingerprints": 1, "replace": 2, "remove": 3}.get(hanging, 0)

    async def sometimes() -> None:
        nonlocal calls
        calls += 1
        if calls == hangs_at:
            await forever()

    parts.store.before = sometimes
    parts.embedder.before = forever if hanging == "embed" else parts.embedder.before
    with pytest.raises(DeadlineExceeded) as caught:
        await parts.ingest(tmp_path, deadline=Deadline.after(1.0))
    assert (caught.value.details["stage"], caught.value.details["step"]) == (stage, step)


async def test_a_deadline_names_the_load_of_a_disk_that_hangs(
    parts: Parts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.txt").write_text(TEXT)
    released = threading.Event()

    def reading(*_: object, **__: object) -> Iterator[object]:
        released.wait(30)
        yield from ()

    monkeypatch.setattr(load_documents, "read_corpus", reading)
    try:
        with pytest.raises(DeadlineExceeded, match="passed in stage `load` of step `load_documents`"):
            await parts.ingest(tmp_path, deadline=Deadline.after(0.3))
    finally:
        released.set()


async def test_an_ingest_never_blocks_the_event_loop(parts: Parts, tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text("# A\n\n" + TEXT)
    (tmp_path / "b.jsonl").write_text('{"text": "b"}\n')
    with blockbuster_ctx("sibyl_runtime"):
        ledger = await parts.ingest(tmp_path)
        await parts.search("pools")
    assert ledger.stored == 2


async def test_a_deadline_that_has_passed_starts_nothing(parts: Parts) -> None:
    with pytest.raises(DeadlineExceeded, match="stage `retrieve`"):
        await parts.run("search", query="pools", deadline=Deadline.after(0))
    assert parts.embedder.queries == []


async def test_the_pipelines_own_timeout_holds_under_a_longer_deadline(parts: Parts) -> None:
    parts.document = searching()
    parts.document["pipelines"]["search"]["timeout_s"] = 0.2
    parts.embedder.before = forever
    with pytest.raises(DeadlineExceeded, match=r"the deadline of 0\.2 s passed in stage `embed`"):
        await parts.run("search", query="pools", deadline=Deadline.after(30))


async def test_a_deadline_that_a_part_reports_gets_the_stage_too(parts: Parts, tmp_path: Path) -> None:
    await stocked(parts, tmp_path)
    parts.models = {
        "default": ScriptedModel(answer=DeadlineExceeded("no answer within 5 s", details={"provider": "p"}))
    }
    with pytest.raises(DeadlineExceeded, match="no answer within 5 s") as caught:
        await parts.run("search", query="pools")
    assert caught.value.details == {
        "provider": "p", "stage": "generate", "step": "generation", "pipeline": "search",
    }  # fmt: skip
