"""What a model that was asked in vain may cost: known for one that refuses, not known for one that was waited for."""

from __future__ import annotations

import asyncio
from decimal import Decimal

import pytest

from sibyl_runtime.errors import DeadlineExceeded, Overloaded, ProviderError
from sibyl_runtime.pipeline.context import StepContext
from sibyl_runtime.providers.protocols import Generation
from sibyl_runtime.techniques.spending import AnswerMisfit, asking, nothing_spent, spent
from tests.pipeline.contexts import step_context
from tests.support.parts import Parts

ANSWER = Generation("It does.", "m-1", 7, 5, "stop", cost_usd=Decimal("0.5"))


@pytest.fixture
def context(parts: Parts) -> StepContext:
    parts.document = {"providers": {"llm": {"default": {"kind": "openai", "model": "m", "api_key": "k"},
                                            "quoting": {"kind": "extractive"}}}}  # fmt: skip
    return step_context(parts.services(), {"query": "why?"})


@pytest.mark.parametrize(
    ("error", "provider", "cost"),
    [
        (Overloaded("429"), "default", 0.0),
        (ProviderError("401"), "default", 0.0),
        (AnswerMisfit("no JSON"), "default", None),
        (DeadlineExceeded("silent"), "default", None),
        (asyncio.CancelledError(), "default", None),
        (DeadlineExceeded("silent"), "quoting", 0.0),
    ],
)
def test_only_a_model_that_may_have_worked_makes_the_cost_unknown(
    context: StepContext, error: BaseException, provider: str, cost: float | None
) -> None:
    with pytest.raises(type(error)), asking(context, provider):
        raise error
    assert nothing_spent(context) == {"tokens": 0, "model": None, "cost_usd": cost}
    assert spent(context, ANSWER)["cost_usd"] == (None if cost is None else 0.5)


def test_an_answer_costs_what_its_model_says(context: StepContext) -> None:
    with asking(context, "default"):
        pass
    assert spent(context, ANSWER) == {"tokens": 12, "model": "m-1", "cost_usd": 0.5}
