"""Who answers: the provider that a template chooses for the question at hand, and those that stand in for it."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from sibyl_runtime.answering import outcome_of
from sibyl_runtime.errors import DeadlineExceeded, InvalidParameters, Overloaded, ProviderError, StepFailed
from sibyl_runtime.pipeline.run import PipelineResult
from sibyl_runtime.providers.protocols import Generation
from tests.support.parts import Parts, ScriptedModel
from tests.support.questions import COMPLEX, SIMPLE

GUIDE = "{% if complexity < 0.7 %}simple{% else %}complex{% endif %}\n"
NAMES = ("simple", "complex", "emergency")
PROVIDER = {"kind": "openai", "model": "m", "api_key": "k"}


def pipeline(generation: dict[str, Any], *, classify: dict[str, Any] | None = None) -> dict[str, Any]:
    """A document with the providers of NAMES and a pipeline `ask`."""
    steps = [
        {"use": "infrastructure.query_classifier", **(classify or {})},
        {"use": "rag.retrieval"},
        {"use": "ai_generation.generation", "config": generation},
    ]
    known = {"model": {"type": "string", "default": "simple"}, "limit": {"type": "number", "default": 1}}
    used = {name: parameter for name, parameter in known.items() if f"${{{name}}}" in str(steps)}
    return {
        "providers": {"llm": {name: PROVIDER for name in ("default", *NAMES)}},
        "pipelines": {"ask": {"steps": steps, "parameters": used}},
    }


@pytest.fixture
async def models(parts: Parts, tmp_path: Path) -> dict[str, ScriptedModel]:
    """A model by each of NAMES, over a corpus of one document."""
    (tmp_path / "a.txt").write_text("Connection pools bound the number of connections.")
    await parts.ingest(tmp_path)
    made = {name: ScriptedModel(name, Generation(f"By {name} [1].", f"{name}-1", 7, 5, "stop")) for name in NAMES}
    parts.models = dict(made)
    return made


async def ask(parts: Parts, query: str = "What is a pool?", **parameters: Any) -> PipelineResult:
    return await parts.run("ask", query=query, **parameters)


@pytest.mark.parametrize(("query", "provider"), [(SIMPLE[0], "simple"), (COMPLEX[0], "complex")])
async def test_the_template_of_the_guide_sends_each_question_to_its_model(
    parts: Parts, models: dict[str, ScriptedModel], query: str, provider: str
) -> None:
    parts.document = pipeline({"provider": GUIDE})
    result = await ask(parts, query)
    assert result.results["generation"]["answer"] == f"By {provider} [1]."
    assert result.results["generation"]["provider"] == provider
    assert {name: len(model.requests) for name, model in models.items()} == {
        name: int(name == provider) for name in NAMES
    }
    assert [timing.stage for timing in result.stages] == ["classify", "embed", "retrieve", "generate"]


@pytest.mark.parametrize(("threshold", "provider"), [(0.4, "complex"), (0.5, "simple")])
async def test_the_threshold_reaches_the_template(
    parts: Parts, models: dict[str, ScriptedModel], threshold: float, provider: str
) -> None:
    template = "{{ 'complex' if is_complex else 'simple' }}"
    parts.document = pipeline({"provider": template}, classify={"config": {"complexity_threshold": threshold}})
    assert (await ask(parts, "Why is it slow?")).results["generation"]["provider"] == provider


async def test_a_choice_that_is_no_provider_names_it(parts: Parts, models: dict[str, ScriptedModel]) -> None:
    template = "{{ 'nobody' if is_complex else 'simple' }}"
    parts.document = pipeline({"provider": template}, classify={"config": {"complexity_threshold": "${limit}"}})
    assert (await ask(parts)).results["generation"]["provider"] == "simple"
    with pytest.raises(StepFailed) as caught:
        await ask(parts, limit=0)
    assert caught.value.message == (
        'step `generation` of pipeline `ask` has a `provider` template that chose "nobody"; it must choose one of: '
        "complex, default, emergency, simple"
    )


async def test_a_classifier_that_was_skipped_leaves_no_complexity(
    parts: Parts, models: dict[str, ScriptedModel]
) -> None:
    parts.document = pipeline({"provider": GUIDE}, classify={"condition": "${model} == 'other'"})
    with pytest.raises(StepFailed, match="template that cannot be evaluated: 'complexity' is undefined; complexity"):
        await ask(parts)


async def test_a_callers_text_is_a_name_and_never_a_template(parts: Parts, models: dict[str, ScriptedModel]) -> None:
    parts.document = pipeline({"provider": "${model}"})
    assert (await ask(parts, model="complex")).results["generation"]["provider"] == "complex"
    for text in ("{{ 'complex' }}", "{% if %}", "nobody"):
        with pytest.raises(InvalidParameters) as caught:
            await ask(parts, model=text)
        message = f'no provider in providers.llm is called "{text}"; known: complex, default, emergency, simple'
        assert caught.value.details == {"problems": [{"parameter": "model", "message": message}]}
    assert len(models["complex"].requests) == 1


async def test_the_next_provider_answers_and_its_answer_is_not_kept(
    parts: Parts, models: dict[str, ScriptedModel]
) -> None:
    models["simple"].answer = Overloaded("busy", retry_after=7)
    models["complex"].answer = ProviderError("down")
    parts.document = pipeline({"provider": GUIDE, "fallback_providers": ["complex", "emergency"]})
    result = await ask(parts)
    found = result.results["generation"]
    assert (found["answer"], found["provider"], found["model"]) == ("By emergency [1].", "emergency", "emergency-1")
    assert found["fallback"] is True
    assert result.notes["generation"]["fallbacks"] == [
        {"from": "simple", "to": "complex", "reason": "overloaded", "message": "busy"},
        {"from": "complex", "to": "emergency", "reason": "provider_error", "message": "down"},
    ]
    assert not result.reusable


@pytest.mark.parametrize(("failure", "known"), [(DeadlineExceeded("silent"), False), (ProviderError("401"), True)])
async def test_what_an_answer_cost_is_not_known_when_another_model_was_waited_for_in_vain(
    parts: Parts, models: dict[str, ScriptedModel], failure: Exception, known: bool
) -> None:
    models["simple"].answer = failure
    models["complex"].answer = Generation("It is [1].", "c-1", 7, 5, "stop", cost_usd=Decimal("0.5"))
    parts.document = pipeline({"provider": "simple", "fallback_providers": ["complex"]})
    result = await ask(parts)
    assert result.results["generation"]["cost_usd"] == (0.5 if known else None)
    assert outcome_of(result, cache="off").cost_usd == (0.5 if known else None)


async def test_the_chosen_provider_is_not_asked_twice(parts: Parts, models: dict[str, ScriptedModel]) -> None:
    for model in models.values():
        model.answer = ProviderError(f"{model.name} is down")
    parts.document = pipeline({"provider": GUIDE, "fallback_providers": ["complex", "simple"]})
    with pytest.raises(ProviderError) as caught:
        await ask(parts)
    assert caught.value.message == "no language model answered: simple is down; complex is down"
    assert [len(models[name].requests) for name in NAMES] == [1, 1, 0]
