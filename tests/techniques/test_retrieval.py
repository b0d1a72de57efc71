"""Retrieval: what is searched for, with which bounds, and what its results say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sibyl_runtime.errors import InvalidParameters, StepFailed
from sibyl_runtime.store.records import Ranking
from sibyl_runtime.techniques.retrieval import Retrieval, merged
from sibyl_runtime.workspace import RetrievalConfig
from sibyl_runtime.workspace.filters import Condition, Operator
from tests.pipeline.contexts import step_context
from tests.support.parts import Parts

RECORDS = [
    {"id": "pool", "text": "Connection pools bound the connections to the database.", "team": "db", "year": 2024},
    {"id": "cache", "text": "A cache keeps answers for questions asked twice.", "team": "web", "year": 2025},
    {"id": "index", "text": "An index makes the search for near vectors fast.", "team": "db", "year": 2025},
]


@pytest.fixture
async def stocked(parts: Parts, tmp_path: Path) -> Parts:
    """The three records, stored."""
    path = tmp_path / "records.jsonl"
    path.write_text("\n".join(json.dumps(record) for record in RECORDS))
    await parts.ingest(path)
    return parts


async def test_the_chunks_come_best_first_with_their_scores(stocked: Parts) -> None:
    result = await stocked.run("search", query="How many database connections are there?")
    retrieval = result.results["retrieval"]
    scores = [hit.score for hit in retrieval["chunks"]]
    assert retrieval["chunks"][0].document_id == "pool"
    assert retrieval["count"] == 3
    assert retrieval["top_score"] == max(scores)
    assert retrieval["avg_score"] == pytest.approx(sum(scores) / 3)
    assert [timing.stage for timing in result.stages] == ["embed", "retrieve", "generate"]
    assert all(timing.seconds > 0 for timing in result.stages)


def _strategy(name: str, **settings: Any) -> dict[str, Any]:
    return {"shops": {"rag": {"techniques": {"retrieval": {"subtechnique": name, **settings}}}}}


@pytest.mark.parametrize(
    ("strategy", "found"),
    [
        ("hybrid", ["pool", "cache", "index"]),
        ("vector", ["pool", "cache", "index"]),
        ("keyword", ["pool"]),
        ("mmr", ["pool", "cache", "index"]),
    ],
)
async def test_every_strategy_finds_the_chunk_and_gives_it_its_cosine_similarity(
    stocked: Parts, strategy: str, found: list[str]
) -> None:
    query = "connections to the database"
    stocked.document = _strategy("vector")
    cosine = {hit.document_id: hit.score for hit in await stocked.search(query)}
    stocked.document = _strategy(strategy)
    hits = await stocked.search(query)
    assert hits[0].document_id == "pool"
    assert {hit.document_id for hit in hits} == set(found)
    assert {hit.document_id: hit.score for hit in hits} == pytest.approx({name: cosine[name] for name in found})


async def test_hybrid_is_the_default_and_finds_by_words_what_vectors_put_last(stocked: Parts) -> None:
    assert RetrievalConfig().subtechnique == "hybrid"
    query = "zwxq answers"
    stocked.document = _strategy("keyword")
    assert [hit.document_id for hit in await stocked.search(query)] == ["cache"]
    stocked.document = {}
    assert (await stocked.search(query, top_k=1))[0].document_id == "cache"
    assert stocked.store.searches[-1]["ranking"] == Ranking("hybrid", query)


@pytest.mark.parametrize("strategy", ["hybrid", "keyword", "mmr"])
async def test_the_threshold_is_a_cosine_similarity_for_every_strategy(stocked: Parts, strategy: str) -> None:
    query = "connections to the database"
    stocked.document = _strategy(strategy)
    score = (await stocked.search(query))[0].score
    stocked.document = _strategy(strategy, similarity_threshold=score - 0.001)
    assert [hit.document_id for hit in await stocked.search(query)] == ["pool"]
    stocked.document = _strategy(strategy, similarity_threshold=score + 0.001)
    assert await stocked.search(query) == []


async def test_mmr_chooses_among_more_than_it_returns(stocked: Parts) -> None:
    stocked.document = _strategy("mmr", top_k=2, mmr_lambda=0.3)
    hits = await stocked.search("databases")
    assert len(hits) == 2
    assert stocked.store.searches[-1]["top_k"] == 20
    assert all(hit.embedding is not None and hit.embedding.shape == (384,) for hit in hits)


async def test_fewer_chunks_than_top_k_where_similarity_falls_or_the_budget_ends(stocked: Parts) -> None:
    query = "Connection pools bound the connections to the database."
    stocked.document = _strategy("vector", adaptive_k=True)
    assert [hit.document_id for hit in await stocked.search(query)] == ["pool"]
    stocked.document = _strategy("vector", adaptive_k=True, min_k=3)
    assert len(await stocked.search(query)) == 3
    stocked.document = _strategy("vector")
    tokens = [hit.tokens for hit in await stocked.search(query)]
    stocked.document = _strategy("vector", max_context_tokens=tokens[0] + tokens[1])
    assert len(await stocked.search(query)) == 2
    stocked.document = _strategy("vector", max_context_tokens=1)
    assert len(await stocked.search(query)) == 1


async def test_top_k_of_a_call_wins_over_that_of_the_workspace(stocked: Parts) -> None:
    stocked.document = {"shops": {"rag": {"config": {"top_k": 2}}}}
    assert len(await stocked.search("databases")) == 2
    assert len(await stocked.search("databases", top_k=1)) == 1


async def test_a_threshold_drops_what_is_not_near_enough(stocked: Parts) -> None:
    hits = await stocked.search("connections to the database")
    stocked.document = {"shops": {"rag": {"config": {"similarity_threshold": hits[0].score - 0.001}}}}
    result = await stocked.run("search", query="connections to the database")
    assert [hit.document_id for hit in result.results["retrieval"]["chunks"]] == ["pool"]
    stocked.document = {"shops": {"rag": {"config": {"similarity_threshold": 0.999}}}}
    result = await stocked.run("search", query="connections to the database")
    assert result.results["retrieval"] == {"chunks": [], "count": 0, "avg_score": 0.0, "top_score": 0.0}


@pytest.mark.parametrize(
    ("filters", "found"),
    [
        ({"team": "db"}, {"pool", "index"}),
        ({"team": "db", "year": 2025}, {"index"}),
        ({"team": "nobody"}, set()),
        ({"year": "2025"}, set()),
        ({}, {"pool", "cache", "index"}),
        ({"year": {"gt": 2024}}, {"cache", "index"}),
        ({"year": {"gte": 2024, "lt": 2025}, "team": "db"}, {"pool"}),
        ({"team": {"in": ["web", "ops"]}}, {"cache"}),
        ({"team": {"ne": "db"}, "year": {"exists": True}}, {"cache"}),
        ({"owner": {"exists": False}}, {"pool", "cache", "index"}),
    ],
)
async def test_filters_keep_what_matches(stocked: Parts, filters: dict[str, Any], found: set[str]) -> None:
    assert {hit.document_id for hit in await stocked.search("anything", filters=filters)} == found


async def test_a_caller_narrows_the_filters_of_the_workspace_and_never_widens_them(stocked: Parts) -> None:
    stocked.document = {"shops": {"rag": {"techniques": {"retrieval": {"filters": {"team": "db"}}}}}}
    assert {hit.document_id for hit in await stocked.search("anything")} == {"pool", "index"}
    narrowed = await stocked.search("anything", filters={"year": 2025})
    assert {hit.document_id for hit in narrowed} == {"index"}
    stocked.store.searches.clear()
    assert await stocked.search("anything", filters={"team": "web"}) == []
    assert stocked.store.searches == [], "a contradiction needs no search"


@pytest.mark.parametrize(
    ("configured", "given", "expected"),
    [
        ({"a": 1}, None, [("a", "eq", 1)]),
        ({"a": 1}, {"b": 2}, [("a", "eq", 1), ("b", "eq", 2)]),
        ({"a": 1}, {"a": 1}, [("a", "eq", 1)]),
        ({"a": 1}, {"a": {"gte": 0}}, [("a", "eq", 1), ("a", "gte", 0)]),
        ({"a": {"gte": 5}}, {"a": {"gte": 0}}, [("a", "gte", 5), ("a", "gte", 0)]),
        ({"a": {"in": [1, 2]}}, {"a": {"in": [2, 3]}}, [("a", "in", (1, 2)), ("a", "in", (2, 3))]),
        ({"a": 1}, {"a": 2}, None),
        ({"a": 1}, {"a": {"eq": 2}}, None),
        ({"a": 1}, {"a": True}, None),
        ({"a": True}, {"a": 1}, None),
    ],
)
def test_filters_are_merged(
    configured: dict[str, Any], given: object, expected: list[tuple[str, Operator, Any]] | None
) -> None:
    conditions = None if expected is None else tuple(Condition(*condition) for condition in expected)
    assert merged(configured, given) == conditions


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("team", "`filters` must be an object of names and values"),
        ({"team": ["db"]}, r"`filters\.team` must be text, a number, true or false"),
        ({"team": None}, r"`filters\.team` must be text, a number, true or false"),
        (
            {"year": {"$gte": 1}},
            r"`filters\.year\.\$gte` is no operator; allowed: eq, ne, gt, gte, lt, lte, in, not_in",
        ),
        ({"year": {"gte": True}}, r"`filters\.year\.gte` must be a number or text, which have an order, found true or"),
        ({"year": {"in": 2020}}, r"`filters\.year\.in` must be a list of values, found a number"),
    ],
)
def test_a_filter_that_cannot_be_applied_is_refused(given: object, message: str) -> None:
    with pytest.raises(InvalidParameters, match=message):
        merged({}, given)


@pytest.mark.parametrize(
    ("query", "message"),
    [
        (None, "`query` must be text that asks something, found nothing"),
        ("  \n", "`query` must be text that asks something, found an empty text"),
        (5, "`query` must be text that asks something, found something else"),
        ("a\0b", "`query` holds a character that is not valid Unicode text"),
        ("\ud800", "`query` holds a character that is not valid Unicode text"),
    ],
)
async def test_a_query_must_ask_something(parts: Parts, query: object, message: str) -> None:
    context = step_context(parts.services(), {"query": query})
    with pytest.raises(InvalidParameters, match=message):
        await Retrieval().run(context, RetrievalConfig())


async def test_another_vector_store_than_the_open_one_is_refused_by_name(parts: Parts) -> None:
    context = step_context(parts.services(), {"query": "x"})
    with pytest.raises(StepFailed, match='names the vector store provider "other"; this version uses one'):
        await Retrieval().run(context, RetrievalConfig(provider="other"))


async def test_an_empty_collection_is_an_empty_result(parts: Parts) -> None:
    assert await parts.search("anything") == []
