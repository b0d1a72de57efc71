"""Several language models asked in turn: who answers, who is told to have failed, how the time is shared."""

from __future__ import annotations

from typing import Any

import pytest

from sibyl_runtime.errors import DeadlineExceeded, Overloaded, ProviderError, SibylError
from sibyl_runtime.providers.llm.fallback import FailedProvider, first_answer
from sibyl_runtime.providers.llm.openai_compatible import OpenAIChatModel
from sibyl_runtime.providers.protocols import Generation, GenerationRequest
from sibyl_runtime.workspace import LlmProvider
from tests.support.openai_server import OpenAIServer, completion, silence
from tests.support.parts import ScriptedModel

GOOD = Generation("It does.", "m", 7, 5, "stop")
REFUSED = ProviderError("a: refused", details={"status": 401})
BUSY = Overloaded("b: busy", retry_after=7)
BUSIER = Overloaded("c: busy", retry_after=20)
LATE = DeadlineExceeded("d: no answer within 2.0 s")


def request(**changes: Any) -> GenerationRequest:
    return GenerationRequest(**{"question": "Why?", "passages": (), "prompt": "Why?", **changes})


def models(*answers: Generation | Exception) -> list[ScriptedModel]:
    return [ScriptedModel(f"p{number}", answer) for number, answer in enumerate(answers)]


@pytest.mark.parametrize("failure", [REFUSED, BUSY, LATE])
async def test_the_next_is_asked_when_one_fails(failure: SibylError) -> None:
    asked = models(failure, GOOD, GOOD)
    found = await first_answer(asked, request())
    assert (found.answer, found.provider) == (GOOD, "p1")
    assert found.failed == (FailedProvider("p0", failure.code, failure.message),)
    assert [len(model.requests) for model in asked] == [1, 1, 0]


async def test_the_first_answer_ends_it() -> None:
    asked = models(GOOD, GOOD)
    found = await first_answer(asked, request())
    assert (found.provider, found.failed) == ("p0", ())
    assert asked[1].requests == []


async def test_one_model_alone_keeps_its_error_and_its_time() -> None:
    (model,) = asked = models(BUSY)
    with pytest.raises(Overloaded) as caught:
        await first_answer(asked, request(timeout=5.0))
    assert caught.value is BUSY
    assert model.requests[0].timeout == 5.0


async def test_a_fault_of_ours_is_not_tried_elsewhere() -> None:
    asked = models(KeyError("bug"), GOOD)
    with pytest.raises(KeyError):
        await first_answer(asked, request())
    assert asked[1].requests == []


@pytest.mark.parametrize(
    ("failures", "kind", "retry_after", "message"),
    [
        ((BUSIER, BUSY), Overloaded, 7, "no language model answered: c: busy; b: busy"),
        ((LATE, LATE), DeadlineExceeded, None, f"no language model answered: {LATE.message}; {LATE.message}"),
        ((BUSY, REFUSED), ProviderError, None, "no language model answered: b: busy; a: refused"),
    ],
)
async def test_what_all_said_is_in_one_error(
    failures: tuple[SibylError, ...], kind: type[SibylError], retry_after: float | None, message: str
) -> None:
    with pytest.raises(SibylError) as caught:
        await first_answer(models(*failures), request())
    assert (type(caught.value), caught.value.message, caught.value.retry_after) == (kind, message, retry_after)
    assert caught.value.details["failed"] == [
        {"provider": f"p{number}", "code": failure.code} for number, failure in enumerate(failures)
    ]


async def test_the_time_left_is_shared_and_what_is_not_used_goes_to_the_next() -> None:
    now = 0.0

    async def took_a_second() -> None:
        nonlocal now
        now += 1.0

    asked = models(BUSY, BUSY, GOOD)
    for model in asked:
        model.before = took_a_second
    await first_answer(asked, request(timeout=9.0), clock=lambda: now)
    assert [model.requests[0].timeout for model in asked] == [3.0, 4.0, 7.0]


async def test_without_time_left_nobody_more_is_asked() -> None:
    now = 0.0

    async def took_all() -> None:
        nonlocal now
        now = 9.0

    asked = models(LATE, GOOD)
    asked[0].before = took_all
    with pytest.raises(DeadlineExceeded):
        await first_answer(asked, request(timeout=9.0), clock=lambda: now)
    assert asked[1].requests == []


async def test_a_silent_server_leaves_time_for_the_next(openai_server: OpenAIServer) -> None:
    """Over HTTP, with the default timeout of 60 s: the share of the deadline is what ends the wait."""
    openai_server.reply_with(silence(), completion())
    provider = LlmProvider(kind="openai", model="gpt-4", base_url=openai_server.url)
    asked = [OpenAIChatModel(name, provider) for name in ("silent", "speaking")]
    try:
        found = await first_answer(asked, request(timeout=1.0))
    finally:
        for model in asked:
            await model.close()
    assert (found.provider, found.answer.text) == ("speaking", "Forty-two [1].")
    assert [(one.provider, one.code) for one in found.failed] == [("silent", "deadline_exceeded")]
    assert "no answer within 0.5 s" in found.failed[0].message
