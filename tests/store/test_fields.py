from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from sibyl_runtime.errors import InvalidParameters
from sibyl_runtime.store.pgvector import PgVectorStore
from sibyl_runtime.workspace.filters import conditions
from tests.store.samples import axis, document


@pytest.mark.parametrize(
    ("filters", "message"),
    [
        ({"laguage": "en"}, "field 'laguage' in its metadata; did you mean language?"),
        ({"language": "en", "owner": {"in": ["a"]}}, "field 'owner' in its metadata; fields found: language, year"),
        ({"x' OR 1=1 --": 1}, 'field "x\' OR 1=1 --" in its metadata; fields found: language, year'),
    ],
)
async def test_a_field_that_no_document_has_is_refused(
    store: PgVectorStore, filters: dict[str, Any], message: str
) -> None:
    await store.replace([document("a", [axis(0)], metadata={"language": "de", "year": 2020})])
    with pytest.raises(InvalidParameters) as refusal:
        await store.search(axis(0), top_k=3, filters=filters)
    field = next(name for name in filters if name != "language")
    assert refusal.value.message == f"`filters.{field}`: no document of this collection has the {message}"
    assert refusal.value.details == {"field": f"filters.{field}"}


@pytest.mark.parametrize("filters", [{"language": "en"}, {"owner": {"exists": True}}, {"year": {"gt": 3000}}])
async def test_a_filter_that_only_matches_nothing_is_answered_with_nothing(
    store: PgVectorStore, filters: dict[str, Any]
) -> None:
    await store.replace([document("a", [axis(0)], metadata={"language": "de", "year": 2020})])
    assert await store.search(axis(0), top_k=3, filters=filters) == []


async def test_fields_of_documents_that_the_workspace_hides_are_nobodys_business(store: PgVectorStore) -> None:
    await store.replace(
        [
            document("a", [axis(0)], metadata={"team": "db"}),
            document("b", [axis(1)], metadata={"team": "ops", "merger": "secret"}),
        ]
    )
    own = replace(*conditions({"team": "db"}), own=True)
    for field, value in (("zz", 1), ("merger", "x")):
        with pytest.raises(InvalidParameters, match=rf"has the field '{field}' in its metadata; fields found: team$"):
            await store.search(axis(0), top_k=3, filters=(own, *conditions({field: value})))
    assert await store.search(axis(0), top_k=3, filters=(own, *conditions({"team": {"gt": "x"}}))) == []


async def test_a_filter_of_many_fields_is_the_callers_mistake(store: PgVectorStore) -> None:
    with pytest.raises(InvalidParameters, match="`filters` must name 100 fields at most, found 101"):
        await store.search(axis(0), top_k=3, filters={f"f{number}": {"ne": 0} for number in range(101)})
