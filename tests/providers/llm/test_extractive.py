from __future__ import annotations

from decimal import Decimal

import pytest

from sibyl_runtime.providers.llm.extractive import NO_ANSWER, ExtractiveModel
from sibyl_runtime.providers.protocols import Generation, GenerationRequest, Passage
from sibyl_runtime.workspace import LlmProvider

BACKUP = Passage(
    "Backups",
    "# Backups\n\nThe database is dumped every night at two. Dumps are kept for thirty days. "
    "Restores are tested every Monday.",
    0.62,
)
SCALING = Passage("Scaling", "Pods are added when the processor is busy. The smallest number of pods is three.", 0.31)
NETWORK = Passage("Network", "Traffic enters through the gateway [7]. The gateway ends TLS.", 0.12)
PASSAGES = (BACKUP, SCALING, NETWORK)


async def answer(question: str, passages: tuple[Passage, ...] = PASSAGES, **bounds: object) -> Generation:
    model = ExtractiveModel("default", LlmProvider(kind="extractive"))
    request = GenerationRequest(question=question, passages=passages, prompt="", **bounds)  # type: ignore[arg-type]
    return await model.generate(request)


@pytest.mark.parametrize(
    ("question", "text", "cited"),
    [
        ("How long are dumps kept?", "Dumps are kept for thirty days. [1]", (0,)),
        ("What is the smallest number of pods?", "The smallest number of pods is three. [2]", (1,)),
        ("Which traffic goes through the gateway?", "Traffic enters through the gateway (7). [3]", (2,)),
        ("When are restores tested?", "Restores are tested every Monday. [1]", (0,)),
    ],
)
async def test_the_sentence_that_answers_is_quoted_with_its_source(
    question: str, text: str, cited: tuple[int, ...]
) -> None:
    found = await answer(question)
    assert found.text == text
    assert found.cited == cited
    assert found.finish_reason == "stop"


@pytest.mark.parametrize("question", ["How do I bake bread?", "Who won the match?", "?", "why is it so"])
async def test_where_nothing_answers_it_says_so(question: str) -> None:
    found = await answer(question, (SCALING, NETWORK))
    assert found.text == NO_ANSWER == "No passage in this workspace answers that."
    assert found.cited == ()


async def test_without_passages_it_says_so() -> None:
    assert (await answer("How long are dumps kept?", ())).text == NO_ANSWER


async def test_a_passage_that_the_search_is_sure_of_answers_in_other_words() -> None:
    found = await answer("Is my data safe?", (Passage("Backups", "Everything is copied to another region.", 0.71),))
    assert found.text == "Everything is copied to another region. [1]"


async def test_sentences_come_in_reading_order() -> None:
    passages = (
        Passage("Pool", "Each runtime holds four connections. The pool waits two seconds for one.", 0.4),
        Passage("Limits", "PostgreSQL accepts one hundred connections.", 0.5),
    )
    found = await answer("How many connections does a runtime hold and PostgreSQL accept?", passages)
    assert found.text == "Each runtime holds four connections. [1] PostgreSQL accepts one hundred connections. [2]"
    assert found.cited == (0, 1)


async def test_a_sentence_in_two_overlapping_chunks_is_quoted_once() -> None:
    twin = Passage("Backups", "Restores are tested every Monday. A report is sent.", 0.6)
    found = await answer("When are restores tested?", (BACKUP, twin))
    assert found.text.count("Monday") == 1


async def test_a_heading_lends_its_words_to_what_is_below() -> None:
    content = "## Backup retention\n\nThirty days, then they go.\n\n## Log retention\n\nSeven days, then they go."
    found = await answer("What is the log retention?", (Passage("Storage", content, 0.4),))
    assert found.text == "Seven days, then they go. [1]"


async def test_code_is_quoted_with_the_sentence_that_introduces_it() -> None:
    content = "Start the demo with:\n\n```\nmake demo\n```\n\nIt takes three minutes."
    found = await answer("How do I start the demo?", (Passage("README", content, 0.4),))
    assert found.text == "Start the demo with:\n```\nmake demo\n```\n[1]"


async def test_never_more_than_three_sentences() -> None:
    lines = "".join(f"Replica {name} holds a copy of table {name}. " for name in "abcdefgh")
    found = await answer("Which replica holds a copy of which table?", (Passage("Replicas", lines, 0.6),))
    assert found.text.count("[1]") <= 3


async def test_max_tokens_drops_sentences_that_do_not_fit() -> None:
    passages = (Passage("Pods", "Pods are evicted by the kubelet. Evicted pods are replaced within a minute.", 0.5),)
    whole = await answer("What happens to evicted pods?", passages)
    short = await answer("What happens to evicted pods?", passages, max_tokens=12)
    assert (whole.text.count("[1]"), whole.finish_reason) == (2, "stop")
    assert (short.text.count("[1]"), short.finish_reason) == (1, "length")
    assert short.completion_tokens < whole.completion_tokens


async def test_max_tokens_cuts_a_single_sentence() -> None:
    found = await answer("How long are dumps kept?", max_tokens=4)
    assert found.text == "Dumps are kept … [1]"
    assert found.finish_reason == "length"


async def test_the_request_overrides_the_providers_length() -> None:
    model = ExtractiveModel("default", LlmProvider(kind="extractive", max_tokens=4))
    request = GenerationRequest("How long are dumps kept?", PASSAGES, "")
    assert (await model.generate(request)).text == "Dumps are kept … [1]"
    longer = GenerationRequest("How long are dumps kept?", PASSAGES, "", max_tokens=100)
    assert (await model.generate(longer)).text == "Dumps are kept for thirty days. [1]"


async def test_a_stop_sequence_ends_the_answer() -> None:
    found = await answer("How long are dumps kept?", stop_sequences=(" for",))
    assert found.text == "Dumps are kept"
    assert found.cited == ()


async def test_the_same_request_gives_the_same_answer() -> None:
    question = "When is the database dumped, and how many pods are there?"
    assert len({await answer(question) for _ in range(5)}) == 1


async def test_it_costs_nothing_and_estimates_tokens() -> None:
    found = await answer("How long are dumps kept?")
    assert found.cost_usd == Decimal(0)
    assert found.model == "extractive"
    words = sum(len(passage.content.split()) for passage in PASSAGES) + 5
    assert words < found.prompt_tokens < 2 * words
    assert 7 <= found.completion_tokens <= 12


async def test_it_is_always_ready() -> None:
    model = ExtractiveModel("default", LlmProvider(kind="extractive", model="quotes"))
    await model.check()
    await model.close()
    assert model.name == "default"
    assert (await model.generate(GenerationRequest("?", (), ""))).model == "quotes"


async def test_an_example_of_the_question_inside_code_is_not_its_answer() -> None:
    example = 'Ask on the command line:\n```\nsibyl query "How do I rotate the password?"\n```'
    advice = "Rotate the password by changing the Secret; the pods roll by themselves."
    passages = (Passage("Quickstart", example, 0.7), Passage("Security", advice, 0.5))
    assert f"{advice} [2]" == (await answer("How do I rotate the password?", passages)).text
