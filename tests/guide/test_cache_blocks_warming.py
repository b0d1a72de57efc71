"""What the guide says of warming caches, over real parts, a real Redis and a real server."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import yaml

from sibyl_runtime.server.admission import ConcurrencyGate
from sibyl_runtime.server.health import Lifecycle
from sibyl_runtime.server.instrumentation import metrics_for
from sibyl_runtime.server.warming import Pace, Warming
from tests.cli.conftest import Command
from tests.cli.conftest import command as command
from tests.guide.running import NEVER, TOOL, Place, ask, block, with_guide
from tests.guide.serving import Served
from tests.guide.table import shows
from tests.support.conditions import until
from tests.workspace.test_guide import merged

pytestmark = with_guide
QUESTION = "How does RAG work?"
TEXTS = {
    "learning.txt": "Machine learning is the study of programs that learn from data. RAG works by retrieval first.",
    "networks.txt": "Neural networks are layers of weights. To explain neural networks, look at one neuron.",
}
AT_ONCE = Pace(look=0.02, rounds=0.02)


def warmed(place: Place, **caching: Any) -> dict[str, Any]:
    """The block with what it leaves out: caches, and the tool that users ask."""
    settings = {"shops": {"infrastructure": {"config": {"caching": caching}}}}
    search = {"search": {"steps": [{"use": "rag.retrieval"}, {"use": "ai_generation.generation"}]}}
    return merged(place.document({"pipelines": search, **settings}), block(448))


@shows(
    448,
    sets="the technique infrastructure.cache_warming with `queries`",
    effect="A service asks the three questions by itself when it starts: the first user who asks one has a hit, and "
    "the warming counts neither as a hit nor as a miss of users.",
)
async def test_a_service_warms_its_caches_when_it_starts(place: Place) -> None:
    async with place.served(warmed(place, enabled=True), TEXTS) as served:
        async with asyncio.timeout(10):
            while (told := await _told(served))["state"] != "warm":  # noqa: ASYNC110 - asked over HTTP
                await asyncio.sleep(0.02)
        assert told["queries"] == {"computed": 3, "found": 0, "empty": 0, "unkept": 0, "failed": 0}
        answer = await served.api.post(f"/mcp/tools/{TOOL}", json={"query": QUESTION})
        metrics = (await served.watch.get("/metrics")).text.splitlines()
    assert answer.headers["X-Sibyl-Cache"].startswith("hit")
    assert 'sibyl_cache_hits_total{cache="answer"} 1.0' in metrics
    assert 'sibyl_cache_misses_total{cache="answer"} 0.0' in metrics
    assert 'sibyl_cache_warming_queries_total{outcome="computed"} 3.0' in metrics
    assert [one.method for one in place.llm.received].count("POST") == 3


async def test_it_warms_them_again_when_documents_have_changed(place: Place) -> None:
    raw = warmed(place, enabled=True)
    async with place.opened(raw) as runtime:
        await runtime.ingest(place.write(TEXTS))
        counts = metrics_for(runtime.workspace).warming
        assert counts is not None
        warming = Warming(runtime, ConcurrencyGate(8), Lifecycle(), counts, AT_ONCE)
        async with warming.running():
            await until(lambda: warming.told()["state"] == "warm")
            before = warming.told()["corpus_version"]
            await runtime.ingest(place.write({**TEXTS, "more.txt": "RAG works well with small chunks."}))
            await until(lambda: warming.told().get("corpus_version") not in (None, before))
            assert warming.told()["queries"]["computed"] == 3
            assert (await ask(runtime, QUESTION)).cache == "hit"
    assert len(place.llm.received) == 6


@pytest.mark.parametrize("level", ["redis", "disk"])
def test_the_command_warms_what_a_service_shares(
    place: Place, redis_url: str, command: Command, level: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", place.dsn)
    shared = {"redis": {"url": redis_url}, "disk": {"path": str(place.directory / "cache")}}
    raw = warmed(place, backend=level, **{level: shared[level]})
    file = place.directory / "workspace.yaml"
    file.write_text(yaml.safe_dump(raw))
    assert command("ingest", "--workspace", file, place.write(TEXTS)).code == 0
    first = command("pipeline", "run", "--workspace", file, "--pipeline", "warm_cache")
    assert (first.code, "  computed: 3" in first.stdout.splitlines()) == (0, True), first.stderr
    again = command("pipeline", "run", "--workspace", file, "--pipeline", "warm_cache")
    assert "  found: 3" in again.stdout.splitlines()

    async def asked() -> str:
        async with place.opened(raw) as runtime:
            return (await ask(runtime, QUESTION)).cache

    assert asyncio.run(asked()) == "hit"
    assert len(place.llm.received) == 3


async def test_an_answer_that_is_found_again_serves_questions_of_its_meaning_too(place: Place) -> None:
    """After a restart the answers are on disk; which questions they answer was in memory."""
    raw = warmed(place, disk={"path": str(place.directory / "cache")}, semantic={"similarity_threshold": 0.9})
    for outcome in ("computed", "found"):
        async with place.opened(raw) as runtime:
            if outcome == "computed":
                await runtime.ingest(place.write(TEXTS))
            result = await runtime.run_pipeline("warm_cache", {}, deadline=NEVER)
            assert result.results["cache_warming"][outcome] == 3
            again = await ask(runtime, "Please tell me how RAG works.") if outcome == "found" else None
    assert again is not None
    assert again.reuse is not None
    assert (again.reuse.kind, again.reuse.question) == ("semantic", QUESTION)


async def _told(served: Served) -> Any:
    return (await served.api.get("/health")).json()["warming"]
