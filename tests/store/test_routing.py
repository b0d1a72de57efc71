from __future__ import annotations

import numpy as np
import pytest

from sibyl_runtime.store.collection import DISTANCE_METRICS, Collection
from sibyl_runtime.store.routing import (
    CollectionState,
    Override,
    Route,
    Row,
    SearchSettings,
    choose_route,
    hits,
    override_for,
)
from sibyl_runtime.store.statements import Shape, statement

AUTO = SearchSettings("auto", 40, None)
COLLECTION = Collection("documents", 8, "model-a", DISTANCE_METRICS["cosine"])


@pytest.mark.parametrize(
    ("state", "settings", "top_k", "filtered", "broad", "route"),
    [
        (CollectionState(1_000_000, "none"), AUTO, 5, False, False, Route.EXACT),
        (CollectionState(1_000_000, "none"), AUTO, 5, True, False, Route.EXACT),
        (CollectionState(4_999, "hnsw"), AUTO, 5, False, False, Route.EXACT),
        (CollectionState(5_000, "hnsw"), AUTO, 5, False, False, Route.APPROXIMATE),
        (CollectionState(100, "hnsw"), SearchSettings("hnsw", 40, None), 5, False, False, Route.APPROXIMATE),
        (CollectionState(50_000, "hnsw"), AUTO, 5, True, False, Route.SELECTIVE),
        (CollectionState(50_000, "hnsw"), AUTO, 5, True, True, Route.APPROXIMATE),
        (CollectionState(50_000, "hnsw"), AUTO, 500, False, False, Route.APPROXIMATE),
        (CollectionState(50_000, "hnsw"), AUTO, 501, False, False, Route.EXACT),
        (CollectionState(50_000, "hnsw"), AUTO, 501, True, True, Route.EXACT),
        (CollectionState(50_000, "ivfflat", 50), SearchSettings("ivfflat", 40, 7), 900, False, False,
         Route.APPROXIMATE),
    ],
)  # fmt: skip
def test_the_route_follows_index_size_and_filter(
    state: CollectionState, settings: SearchSettings, top_k: int, filtered: bool, broad: bool, route: Route
) -> None:
    assert choose_route(state, settings, top_k, filtered=filtered, broad=broad) is route


@pytest.mark.parametrize(
    ("state", "settings", "top_k", "override"),
    [
        (CollectionState(9_000, "hnsw"), AUTO, 20, None),
        (CollectionState(9_000, "hnsw"), AUTO, 21, Override("hnsw.ef_search", 42)),
        (CollectionState(9_000, "hnsw"), AUTO, 500, Override("hnsw.ef_search", 1000)),
        (CollectionState(9_000, "hnsw"), SearchSettings("hnsw", 200, None), 100, None),
        (CollectionState(9_000, "ivfflat", 81), SearchSettings("ivfflat", 40, None), 5, Override("ivfflat.probes", 9)),
        (CollectionState(9_000, "ivfflat", 1), SearchSettings("ivfflat", 40, None), 5, Override("ivfflat.probes", 1)),
        (CollectionState(9_000, "ivfflat", 81), SearchSettings("ivfflat", 40, 3), 5, None),
    ],
)
def test_settings_are_overridden_where_the_connections_own_do_not_do(
    state: CollectionState, settings: SearchSettings, top_k: int, override: Override | None
) -> None:
    assert override_for(state, settings, top_k) == override


def test_exact_and_approximate_are_worded_so_that_only_one_can_use_the_index() -> None:
    exact = statement(COLLECTION, Route.EXACT, Shape("vector", 5, 5, contains=True))
    approximate = statement(COLLECTION, Route.APPROXIMATE, Shape("vector", 5, 5, contains=True))
    assert b"(embedding <=> %(vector)b) + 0 AS place" in exact
    assert b"WHERE metadata @> %(contains)b " in exact
    assert b"ORDER BY embedding <=> %(vector)b LIMIT 5" in approximate
    assert b"(metadata @> %(contains)b) IS TRUE" in approximate


@pytest.mark.parametrize(
    ("metric", "distance", "score"),
    [("cosine", 0.25, 0.75), ("cosine", 2.0, -1.0), ("euclidean", 0.0, 1.0), ("euclidean", 3.0, 0.25),
     ("dot_product", -0.9, 0.9)],
)  # fmt: skip
def test_a_score_is_higher_the_nearer(metric: str, distance: float, score: float) -> None:
    assert DISTANCE_METRICS[metric].score(distance) == pytest.approx(score)


def test_hits_below_the_threshold_and_without_a_distance_are_dropped() -> None:
    rows = [Row(n, f"d{n}", "", "", "", distance, {}, 0) for n, distance in enumerate([0.1, 0.4, 0.6, np.nan])]
    assert [hit.chunk_id for hit in hits(rows, COLLECTION, None, 9)] == [0, 1, 2]
    assert [hit.chunk_id for hit in hits(rows, COLLECTION, 0.6, 9)] == [0, 1]
    assert [hit.chunk_id for hit in hits(rows, COLLECTION, None, 2)] == [0, 1]
