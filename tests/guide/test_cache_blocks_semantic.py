"""What the guide says of the semantic cache, over real HTTP, a real Redis and the real model."""

from __future__ import annotations

import time

import pytest
from prometheus_client.parser import text_string_to_metric_families
from redis.asyncio import Redis

from tests.guide.running import TOOL, Place, Watch, ask, block, with_guide
from tests.guide.table import shows
from tests.workspace.test_guide import merged

pytestmark = with_guide
QUESTION = "Which bird flies from pole to pole?"
ALIKE = "Please tell me which bird flies from pole to pole."
OPPOSITE = "Which bird does not fly from pole to pole?"
TEXTS = {"birds.txt": "The Arctic tern is the bird that flies from pole to pole."}


def with_redis(place: Place, url: str) -> dict[str, object]:
    """The block, with the address that it leaves out."""
    caching = {"redis": {"url": url}}
    return merged(place.document(block(391)), {"shops": {"infrastructure": {"config": {"caching": caching}}}})


@shows(
    391,
    sets="`enabled`, `backend` redis; `semantic` with `similarity_threshold`, `embedding_model`, `max_entries`, `ttl`; "
    "`cache_embeddings`, `cache_retrievals`, `cache_generations`",
    effect="With the `url` of a Redis: a question in other words of the same meaning is answered without a call to the "
    "model, in this process and in another one, and told to be; an opposite question is not. The "
    "question lies in a stream of Redis that lives for about an hour. The `embedding_model` is the workspace's own.",
)
async def test_a_paraphrase_is_answered_without_the_model_and_an_opposite_is_not(
    place: Place, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Patience enough for a loaded machine.
    monkeypatch.setattr("sibyl_runtime.cache.redis_server.TIMEOUT", 5.0)
    raw = with_redis(place, redis_url)
    async with place.served(raw, TEXTS) as served, place.opened(raw) as other:
        kinds = []
        for question in (QUESTION, QUESTION, ALIKE, OPPOSITE):
            response = await served.api.post(f"/mcp/tools/{TOOL}", json={"query": question})
            assert response.status_code == 200, response.text
            metadata = response.json()["metadata"]
            kinds.append((metadata["cache"], metadata.get("cache_kind"), response.headers["X-Sibyl-Cache"][:19]))
            if question == ALIKE:
                assert metadata["answered_question"] == QUESTION
                assert 0.95 <= metadata["similarity"] < 1
                assert (metadata["tokens_used"], metadata["cost_usd"]) == (0, 0.0)
        assert kinds == [
            ("miss", None, "miss"),
            ("hit", "exact", "hit"),
            ("hit", "semantic", "hit; kind=semantic;"),
            ("miss", None, "miss"),
        ]
        assert len(place.llm.received) == 2
        assert (await ask(other, ALIKE)).cache == "hit"
        assert len(place.llm.received) == 2
        exported = (await served.watch.get("/metrics")).text
    assert counted(exported, "sibyl_cache_hits_total") == {"answer": 1, "semantic": 1}
    assert counted(exported, "sibyl_cache_misses_total") == {"answer": 2}
    async with Redis.from_url(redis_url) as client:
        assert await client.xlen("sibyl:guide:question:stream") == 2
        assert 3600 < await client.ttl("sibyl:guide:question:stream") <= 4320


async def test_a_question_is_embedded_once_to_be_compared_and_to_be_searched_for(place: Place, redis_url: str) -> None:
    watch = Watch()
    async with place.opened(with_redis(place, redis_url), instrument=watch.on) as runtime:
        await runtime.ingest(place.write(TEXTS))
        assert (await ask(runtime, QUESTION)).cache == "miss"
    assert watch.seen[0].queries == [QUESTION]


async def test_what_a_hit_costs_beside_an_answer_that_is_computed(
    place: Place, redis_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A note of figures, and no judgement: the model here is a server of the test, which answers at once."""
    async with place.opened(with_redis(place, redis_url)) as runtime:
        await runtime.ingest(place.write(TEXTS))
        computed, reused = list[float](), list[float]()
        for number in range(20):
            for question, times in ((f"What is bird {number}?", computed), (f"What's bird {number}?", reused)):
                started = time.perf_counter()
                outcome = await ask(runtime, question)
                times.append(time.perf_counter() - started)
                assert outcome.cache == ("hit" if times is reused else "miss")
    one, other = (sorted(times)[10] * 1000 for times in (computed, reused))
    with capsys.disabled():
        print(f"\nmedian of 20: computed {one:.1f} ms, semantic hit {other:.1f} ms, ratio {other / one:.2f}")


def counted(exported: str, name: str) -> dict[str, float]:
    """A counter of the caches of answers, by cache."""
    samples = [sample for family in text_string_to_metric_families(exported) for sample in family.samples]
    found = {sample.labels["cache"]: sample.value for sample in samples if sample.name == name}
    return {cache: value for cache, value in found.items() if cache in ("answer", "semantic")}
