"""GET /config: told in any case, with or without the state of the index."""

from __future__ import annotations

import asyncio
import json
from typing import Any, cast

import pytest
from starlette.requests import Request

from sibyl_runtime.errors import DatabaseUnavailable
from sibyl_runtime.server.configuration import Configuration, IndexReader
from tests.server.served import scripted


async def known() -> dict[str, Any]:
    return {"kind": "hnsw", "rows": 7000}


async def away() -> None:
    raise DatabaseUnavailable("no connection")


async def hanging() -> None:
    await asyncio.Event().wait()


@pytest.mark.parametrize(
    ("index", "shown"),
    [(None, None), (known, {"kind": "hnsw", "rows": 7000}), (away, None), (hanging, None)],
    ids=["none", "known", "away", "hanging"],
)
async def test_the_index_is_shown_when_it_can_be_read(index: IndexReader | None, shown: Any) -> None:
    response = await Configuration(scripted(), index).show(cast("Request", None))
    assert json.loads(bytes(response.body)) == {
        "hash": "v1-0123456789ab", "version": "0.1.0", "embedder": "all-MiniLM-L6-v2@test/int8",
        "document": {"name": "docs"}, "warnings": [], "index": shown,
    }  # fmt: skip
