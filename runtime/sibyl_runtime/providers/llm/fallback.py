"""Asking several language models in turn, until one answers.

The time left is shared: with two models to go, the first has half of it, so that one that is silent leaves the next
enough. A model that fails sooner leaves what it did not use.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace

from sibyl_runtime.errors import DeadlineExceeded, Overloaded, ProviderError, SibylError
from sibyl_runtime.providers.protocols import Generation, GenerationRequest, LanguageModel

PROVIDER_FAILURES = (ProviderError, Overloaded, DeadlineExceeded)
"""What another provider may do better at. Anything else is a fault of ours, and no model can help."""


@dataclass(frozen=True)
class FailedProvider:
    """A provider that was asked and did not answer. `code` is that of its error."""

    provider: str
    code: str
    message: str


@dataclass(frozen=True)
class Answered:
    """An answer, the provider that gave it, and those that were asked before it."""

    answer: Generation
    provider: str
    failed: tuple[FailedProvider, ...] = ()


Ask = Callable[[LanguageModel, GenerationRequest], Awaitable[Generation]]


def _plainly(model: LanguageModel, request: GenerationRequest) -> Awaitable[Generation]:
    return model.generate(request)


async def first_answer(
    models: Sequence[LanguageModel],
    request: GenerationRequest,
    ask: Ask = _plainly,
    *,
    begun: Callable[[], bool] = lambda: False,
    clock: Callable[[], float] = time.monotonic,
) -> Answered:
    """The first answer of `models`, asked in order within `request.timeout` seconds for all of them.

    A failure after an answer has `begun` to be told is final: what was said is said. Raises what a single model raises.
    With several, what they said in one error: Overloaded when each was overloaded, DeadlineExceeded when each ran out
    of time, else ProviderError.
    """
    if len(models) == 1:
        return Answered(await ask(models[0], request), models[0].name)
    ends = None if request.timeout is None else clock() + request.timeout
    failures: list[SibylError] = []
    failed: list[FailedProvider] = []
    for position, model in enumerate(models):
        left = None if ends is None else max(0.0, ends - clock())
        if left == 0 and failures:
            break
        share = None if left is None else left / (len(models) - position)
        try:
            answer = await ask(model, replace(request, timeout=share))
        except PROVIDER_FAILURES as error:
            if begun():
                raise
            failures.append(error)
            failed.append(FailedProvider(model.name, error.code, error.message))
        else:
            return Answered(answer, model.name, tuple(failed))
    raise _together(failures, failed)


def _together(failures: Sequence[SibylError], failed: Sequence[FailedProvider]) -> SibylError:
    message = "no language model answered: " + "; ".join(one.message for one in failed)
    details = {"failed": [{"provider": one.provider, "code": one.code} for one in failed]}
    if all(isinstance(error, Overloaded) for error in failures):
        waits = [error.retry_after for error in failures if error.retry_after is not None]
        return Overloaded(message, details=details, retry_after=min(waits, default=None))
    if all(isinstance(error, DeadlineExceeded) for error in failures):
        return DeadlineExceeded(message, details={"stage": "generate", **details})
    return ProviderError(message, details=details)
