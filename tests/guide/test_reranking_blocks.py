"""What the guide says of reranking, with a cross-encoder that the test makes: it likes the word "flour"."""

from __future__ import annotations

from pathlib import Path

import pytest

from sibyl_runtime.errors import StartupError
from sibyl_runtime.providers.embedding.build import main as convert
from tests.guide.running import Place, ask, block, found, with_guide
from tests.guide.table import shows
from tests.support.openai_server import completion
from tests.support.tiny_cross_encoder import write_favouring

pytestmark = with_guide
MODEL = "cross-encoder/ms-marco-MiniLM-L-6-v2"
BIRD = "Which bird flies from pole to pole?"
TEXTS = {
    "birds.txt": "The Arctic tern is the bird that flies from pole to pole.",
    "bread.txt": "Sourdough needs flour and water every day.",
}


@pytest.fixture(scope="module")
def converted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory that holds the model which the guide names."""
    directory = tmp_path_factory.mktemp("models")
    whole = write_favouring(directory / "whole" / "ms-marco-MiniLM-L-6-v2", "flour")
    assert convert([str(whole), "--kind", "reranking", "--export", str(directory / "converted" / MODEL)]) == 0
    return directory / "converted"


@pytest.fixture
def models(converted: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SIBYL_MODEL_PATH", str(converted))
    return converted


@shows(
    257,
    sets="`condition` of a step on `retrieval.avg_score`",
    effect="The cross-encoder puts its own choice first where the average score is below 0.8, and is not asked where "
    "the average is higher.",
)
async def test_reranking_is_left_out_where_retrieval_was_good(place: Place, models: Path) -> None:
    texts = {"plain.txt": BIRD, "again.txt": f"{BIRD} {BIRD}", "flour.txt": f"{BIRD} flour"}
    async with place.opened(place.document(block(257))) as runtime:
        await runtime.ingest(place.write(texts))
        good = await ask(runtime, BIRD)
        poor = await ask(runtime, "What is the price of a ticket to Paris?")
    average = sum(source["score"] for source in good.output["sources"]) / 3
    assert average >= 0.8
    assert good.steps["reranking"] == {"skipped": True}
    assert found(good)[0] != "flour.txt"
    assert poor.steps["reranking"]["candidates"] == 3
    assert found(poor)[0] == "flour.txt"


@shows(
    269,
    part=1,
    sets="`subtechnique` llm",
    effect="The language model is asked for the order before it is asked for the answer: two calls, and the sources "
    "come in the order that it gave.",
)
async def test_a_language_model_puts_the_chunks_in_order(place: Place) -> None:
    async with place.opened(place.document(block(269, 1))) as runtime:
        await runtime.ingest(place.write(TEXTS))
        place.llm.reply_with(completion("2, 1"), completion("The tern [2]."))
        outcome = await ask(runtime, BIRD)
    order, answer = (received.body["messages"][0]["content"] for received in place.llm.received)
    given = sorted(TEXTS, key=lambda name: order.index(TEXTS[name]))
    assert found(outcome) == given[::-1]
    assert answer.index(TEXTS[given[1]]) < answer.index(TEXTS[given[0]])


@shows(
    269,
    part=2,
    sets="`subtechnique` cross_encoder, `model` cross-encoder/ms-marco-MiniLM-L-6-v2",
    effect="The model is never downloaded: where it is not on the machine the start ends with the field named. Where "
    "it is, it decides the order, and the language model is called once.",
)
async def test_a_cross_encoder_puts_the_chunks_in_order_where_it_is_there(
    place: Place, tmp_path: Path, converted: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw = place.document(block(269, 2))
    monkeypatch.setenv("SIBYL_MODEL_PATH", str(tmp_path))
    with pytest.raises(StartupError, match=rf"^pipelines\.fragment\.steps\[1\]\.config\.model: '{MODEL}' is not on"):
        async with place.opened(raw):
            pass
    monkeypatch.setenv("SIBYL_MODEL_PATH", str(converted))
    async with place.opened(raw) as runtime:
        await runtime.ingest(place.write(TEXTS))
        outcome = await ask(runtime, BIRD)
    assert found(outcome) == ["bread.txt", "birds.txt"]
    assert len(place.llm.received) == 1


@shows(
    285,
    sets="`top_k` 20 of retrieval, `top_k` 5 of reranking",
    effect="20 chunks are found, the cross-encoder judges them, and the answer is made from its best 5.",
)
async def test_twenty_are_found_and_five_are_kept(place: Place, models: Path) -> None:
    texts = {f"{number}.txt": f"Bird {number} flies far over the sea." for number in range(17)}
    texts |= {f"flour{number}.txt": f"Bird {number} eats flour." for number in range(3)}
    texts |= {f"other{number}.txt": f"The price of a ticket to Paris is {number}." for number in range(5)}
    async with place.opened(place.document(block(285))) as runtime:
        await runtime.ingest(place.write(texts))
        outcome = await ask(runtime, "Which bird flies far over the sea?")
    told = outcome.steps["reranking"]
    assert (told["candidates"], told["kept"]) == (20, 5)
    assert len(found(outcome)) == 5
    assert {"flour0.txt", "flour1.txt", "flour2.txt"} == set(found(outcome)[:3])
