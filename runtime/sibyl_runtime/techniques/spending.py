"""What asking a language model costs a step: told the same by every technique that asks one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sibyl_runtime.errors import DeadlineExceeded, ProviderError, SibylError
from sibyl_runtime.pipeline.context import StepContext
from sibyl_runtime.providers.protocols import Generation


class AnswerMisfit(ProviderError):
    """A model answered, and its answer cannot be used: it is paid for all the same."""


def spent(context: StepContext, answer: Generation) -> dict[str, Any]:
    """`tokens`, `model`, and `cost_usd`: a float, None when the price of the answer, or of a wait before it, is not
    known."""
    known = answer.cost_usd is not None and context.step not in context.unpriced
    return {
        "tokens": answer.prompt_tokens + answer.completion_tokens,
        "model": answer.model,
        "cost_usd": float(answer.cost_usd) if known and answer.cost_usd is not None else None,
    }


def nothing_spent(context: StepContext) -> dict[str, Any]:
    """The same of a step that got no answer: no cost, unless a model was waited for in vain."""
    return {"tokens": 0, "model": None, "cost_usd": None if context.step in context.unpriced else 0.0}


@contextmanager
def asking(context: StepContext, provider: str) -> Iterator[None]:
    """A language model is asked inside. One that is waited for in vain may charge for it, so that what the run cost is
    not known then; one that refuses, or cannot be reached, does not charge. `provider` is its name in the workspace."""
    try:
        yield
    except BaseException as error:  # that the deadline passed may reach this as a cancellation
        free = isinstance(error, SibylError) and not isinstance(error, DeadlineExceeded | AnswerMisfit)
        if not free and not _is_extractive(context, provider):
            context.unpriced.append(context.step)
        raise


def _is_extractive(context: StepContext, provider: str) -> bool:
    workspace = context.services.workspace
    return workspace.providers.llm.get(provider, workspace.default_llm[1]).kind == "extractive"
