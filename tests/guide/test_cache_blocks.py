"""What the guide says of caches, over real parts and a real Redis."""

from __future__ import annotations

from typing import Any

from redis.asyncio import Redis

from sibyl_runtime.runtime import Runtime
from tests.guide.running import Place, Watch, ask, block, found, with_guide
from tests.guide.table import shows
from tests.workspace.test_guide import merged

pytestmark = with_guide
QUESTION = "Which bird flies from pole to pole?"
TEXTS = {"birds.txt": "The Arctic tern is the bird that flies from pole to pole."}
HOUR = 3600
DAY = 86_400


def about(life: int, seconds: int) -> bool:
    """The lives of entries are spread by a tenth, so that those made together do not end together."""
    return life * 0.89 < seconds <= life * 1.1


async def lives(url: str, kind: str = "answer") -> list[int]:
    """Seconds that the entries of a kind in a Redis have left."""
    async with Redis.from_url(url) as client:
        return [int(await client.ttl(key)) async for key in client.scan_iter(f"sibyl:*:{kind}:*")]


def hits(runtime: Runtime) -> dict[str, int]:
    """Answers found, by level."""
    return {name: stats.hits for name, stats in runtime.caches["answer"].stats().items()}


def caching(**settings: Any) -> dict[str, Any]:
    """More of `caching`."""
    return {"shops": {"infrastructure": {"config": {"caching": settings}}}}


@shows(
    137,
    sets="`enabled`, `cache_embeddings`, `ttl`",
    effect="A question that is asked again after an ingest is answered anew, as the corpus has changed, but its vector "
    "is not made again; in Redis, a vector lives for about a day.",
)
async def test_the_vector_of_a_question_is_made_once(place: Place, redis_url: str) -> None:
    raw = place.document(block(137))
    watch = Watch()
    async with place.opened(raw, instrument=watch.on) as runtime:
        await runtime.ingest(place.write(TEXTS))
        first = await ask(runtime, QUESTION)
        await runtime.ingest(place.write({**TEXTS, "more.txt": "The sooty shearwater flies far, too."}))
        again = await ask(runtime, QUESTION)
    assert (first.cache, again.cache) == ("miss", "miss")
    assert [outcome.steps["retrieval"]["embedding_cache"] for outcome in (first, again)] == ["miss", "hit"]
    assert watch.seen[0].queries == [QUESTION]
    assert len(found(again)) == 2
    async with place.opened(merged(raw, caching(backend="redis", redis={"url": redis_url}))) as runtime:
        await ask(runtime, QUESTION)
        assert [about(DAY, seconds) for seconds in await lives(redis_url, "embedding")] == [True]


@shows(
    739,
    sets="`enabled`, `cache_generations`, `ttl` 3600",
    effect="The second of two like questions is answered from memory without a call to the model, at no cost; in "
    "Redis, an entry lives for about an hour.",
)
async def test_an_answer_is_kept_for_an_hour(place: Place, redis_url: str) -> None:
    raw = place.document(block(739))
    async with place.opened(raw) as runtime:
        await runtime.ingest(place.write(TEXTS))
        first, again = await ask(runtime, QUESTION), await ask(runtime, QUESTION)
    assert (first.cache, again.cache) == ("miss", "hit")
    assert again.output["answer"] == first.output["answer"]
    assert (again.tokens_used, again.cost_usd) == (0, 0.0)
    assert len(place.llm.received) == 1
    async with place.opened(merged(raw, caching(backend="redis", redis={"url": redis_url}))) as runtime:
        await ask(runtime, QUESTION)
        assert [about(HOUR, seconds) for seconds in await lives(redis_url)] == [True]


@shows(
    420,
    sets="`enabled` of `memory` with `max_size` 1000, `ttl` 300; `redis` with `url`, `ttl` 3600; `disk` with `path`, "
    "`max_size_gb` 10, `ttl` 86400",
    effect="An answer goes into all three levels; this process finds it in memory, another one in Redis, where it "
    "lives for about an hour, and a third one on disk when Redis has lost it; memory keeps 1,000 entries. The test "
    "puts the directory elsewhere.",
)
async def test_memory_stands_before_redis_and_redis_before_the_disk(place: Place, redis_url: str) -> None:
    raw = place.document(block(420))
    written = raw["shops"]["infrastructure"]["config"]["caching"]["disk"]
    assert (written["path"], written["max_size_gb"], written["ttl"]) == ("/var/cache/sibyl", 10, DAY)
    raw = merged(raw, caching(disk={"path": str(place.directory / "cache")}))
    async with place.opened(raw, REDIS_URL=redis_url) as one, place.opened(raw, REDIS_URL=redis_url) as other:
        await one.ingest(place.write(TEXTS))
        assert [(await ask(one, QUESTION)).cache for _ in range(2)] == ["miss", "hit"]
        assert (await ask(other, QUESTION)).cache == "hit"
        assert {name: stats.hits for name, stats in one.caches["answer"].stats().items()} == {
            "memory": 1,
            "redis": 0,
            "disk": 0,
        }
        assert {name: stats.hits for name, stats in other.caches["answer"].stats().items()} == {
            "memory": 0,
            "redis": 1,
            "disk": 0,
        }
        assert [about(HOUR, seconds) for seconds in await lives(redis_url)] == [True]
        for number in range(1100):
            await other.caches["answer"].set(f"key-{number}", b"value")
        assert other.caches["answer"].stats()["memory"].entries == 1000
    async with Redis.from_url(redis_url) as client:
        await client.flushall()
    async with place.opened(raw, REDIS_URL=redis_url) as third:
        assert (await ask(third, QUESTION)).cache == "hit"
        assert hits(third)["disk"] == 1
        assert [about(HOUR, seconds) for seconds in await lives(redis_url)] == [True], "nearer levels are filled"
    assert len(place.llm.received) == 1
